import pytest
import torch

from autokd.core.rng import forked_rng


def test_random_numbers_go_on_as_if_the_block_had_not_been() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    with forked_rng("cpu"):
        torch.manual_seed(5)
        torch.rand(7)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize(
    ("devices", "gpus"), [(("cpu",), []), ((), []), (("cpu", torch.device("cuda:1"), "cuda:1"), ["cuda:1"])]
)
def test_only_the_gpus_in_use_are_touched(
    monkeypatch: pytest.MonkeyPatch, devices: tuple[torch.device | str, ...], gpus: list[str]
) -> None:
    touched = []
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "get_rng_state", lambda device: touched.append(str(device)))
        patch.setattr(torch.cuda, "set_rng_state", lambda state, device: None)
        patch.setattr(torch.cuda, "is_available", lambda: True)
        with forked_rng(*devices):
            pass
    assert touched == gpus

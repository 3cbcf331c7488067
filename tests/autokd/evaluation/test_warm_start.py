from pathlib import Path

import pytest
import torch
from torch import nn

from autokd.evaluation.warm_start import WarmStartGoneError, inherit, warm_start_weights
from autokd.training.checkpoint import save_weights


def network(width: int, seed: int) -> nn.Sequential:
    """A convolution, which depends on `width`, its batch norm, and a classifier, which does not."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.Linear(5, 2))
        made[1].running_mean.normal_()
        made[1].num_batches_tracked.fill_(seed)
        return made


def copied(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("share", [0.25, 0.8])
def test_tensors_are_mixed_by_their_share(share: float):
    fresh, old = network(3, 1), network(3, 2)
    before, inherited = copied(fresh), old.state_dict()
    assert inherit(fresh, inherited, share) == 8
    counts = "1.num_batches_tracked"
    for name, tensor in fresh.state_dict().items():
        mixed = before[name] if name == counts else share * inherited[name] + (1 - share) * before[name]
        torch.testing.assert_close(tensor, mixed)


@pytest.mark.parametrize(("share", "seed"), [(0.0, 1), (1.0, 2)])
def test_no_share_leaves_the_fresh_weights_and_a_whole_one_copies_bit_for_bit(share: float, seed: int):
    fresh = network(3, 1)
    inherit(fresh, network(3, 2).state_dict(), share)
    expected = network(3, seed).state_dict()
    assert all(torch.equal(expected[name], value) for name, value in fresh.named_parameters())


def test_what_has_no_counterpart_of_its_shape_stays_fresh():
    fresh, before = network(3, 1), copied(network(3, 1))
    assert inherit(fresh, network(4, 2).state_dict(), 1.0) == 2
    changed = {name for name, tensor in fresh.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"2.weight", "2.bias"}


def test_a_network_of_other_names_gives_nothing():
    fresh = network(3, 1)
    assert inherit(fresh, nn.Sequential(nn.Identity(), nn.Identity(), nn.ReLU()).state_dict(), 1.0) == 0


def test_weights_stay_trainable_in_place():
    fresh = network(3, 1)
    parameters = list(fresh.parameters())
    inherit(fresh, network(3, 2).state_dict(), 0.5)
    assert all(one is other and one.requires_grad for one, other in zip(parameters, fresh.parameters(), strict=True))


@pytest.mark.parametrize("content", [None, b"damaged"])
def test_weights_that_are_gone_or_damaged_are_told(tmp_path: Path, content: bytes | None):
    file = tmp_path / "weights.safetensors"
    save_weights(network(3, 1), file)
    assert len(warm_start_weights(file)) == 9
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(WarmStartGoneError, match=r"weights.safetensors cannot be read: .*must stay until the search"):
        warm_start_weights(file)

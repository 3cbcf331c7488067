import pytest
import torch

from autokd.core import device
from autokd.core.device import pick_device, pick_precision
from autokd.errors import InputError

CPU = torch.device("cpu")


def test_auto_is_the_gpu_where_there_is_one():
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_named_device_is_taken():
    assert pick_device("cpu") == CPU


@pytest.mark.parametrize("name", ["nonsense", "cuda:99"])
def test_an_unusable_device_is_an_input_error_of_one_line(name: str):
    with pytest.raises(InputError, match=f"workers.device '{name}' is not usable here: ") as caught:
        pick_device(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("native", "half_seconds", "expected"),
    [(True, 0.5, "bfloat16"), (True, 0.97, "float32"), (True, 1.2, "float32"), (False, 0.5, "float32")],
)
def test_auto_is_bfloat16_only_where_the_processor_computes_in_it_and_gains(
    native, half_seconds, expected, monkeypatch
):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(device, "_step_seconds", lambda network, images, half: half_seconds if half else 1.0)
    device._cpu_gains.cache_clear()
    try:
        assert pick_precision("auto", CPU) == expected
    finally:
        device._cpu_gains.cache_clear()


def test_timing_leaves_threads_and_random_numbers_alone():
    device._cpu_gains.cache_clear()
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    assert device._cpu_gains() in (True, False)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_a_named_precision_is_taken(name: str):
    assert pick_precision(name, CPU) == name

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import cycle
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from autokd.core.speed import (
    FEWEST,
    MOST,
    StepTime,
    measure_training,
    median_speed,
    possible_precisions,
    worker_threads,
)

CPU = torch.device("cpu")
BOTH = ("float32", "bfloat16")
IMAGES = torch.zeros(8, 2)

Timer = Callable[[nn.Module, Tensor, str], StepTime]


def timer(half: Iterator[float], clock: float = 1.0) -> Timer:
    """Steps that take a CPU second in float32 and the given ones in bfloat16, and `clock` times that by the clock."""

    def time_step(network: nn.Module, images: Tensor, precision: str) -> StepTime:
        seconds = next(half) if precision == "bfloat16" else 1.0
        return StepTime(clock * seconds, seconds)

    return time_step


@pytest.mark.parametrize(("half", "expected"), [(0.5, "bfloat16"), (0.97, "float32"), (1.2, "float32")])
def test_the_precision_is_bfloat16_where_steps_gain_from_it(half: float, expected: str) -> None:
    assert measure_training(nn.Linear(2, 2), IMAGES, BOTH, timer(cycle([half]))).precision == expected


def test_steps_that_were_disturbed_do_not_decide() -> None:
    disturbed = cycle([0.7, 0.7, 5.0, 0.7, 9.0])
    assert measure_training(nn.Linear(2, 2), IMAGES, BOTH, timer(disturbed)).precision == "bfloat16"


@pytest.mark.parametrize(("half", "expected"), [(0.5, FEWEST), (0.93, MOST)])
def test_more_steps_are_timed_near_the_threshold(half: float, expected: int) -> None:
    seen: list[float] = []

    def endless() -> Iterator[float]:
        while True:
            seen.append(half)
            yield half

    measure_training(nn.Linear(2, 2), IMAGES, BOTH, timer(endless()))
    assert len(seen) == 2 + expected  # two are not counted


@pytest.mark.parametrize(("clock", "seconds"), [(7.0, 0.05), (0.5, 0.025)])
def test_the_speed_is_that_of_the_chosen_precision_without_waiting_and_with_all_threads(
    clock: float, seconds: float
) -> None:
    speed = measure_training(nn.Linear(2, 2), IMAGES, BOTH, timer(cycle([0.05]), clock))
    assert speed.images_per_second == 8 / seconds


def test_a_precision_without_choice_is_only_timed() -> None:
    speed = measure_training(nn.Linear(2, 2), IMAGES, ("float32",))
    assert (speed.precision, speed.images_per_second > 0) == ("float32", True)


@pytest.mark.parametrize(("native", "expected"), [(True, BOTH), (False, ("float32",))])
def test_auto_has_a_choice_only_where_the_processor_computes_in_bfloat16(
    native: bool, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert possible_precisions("auto", CPU) == expected
    assert possible_precisions("bfloat16", CPU) == ("bfloat16",)


def test_timing_leaves_threads_and_random_numbers_alone() -> None:
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    with worker_threads(1):
        assert torch.get_num_threads() == 1
        torch.rand(1)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_median_speed_counts_images_not_calls() -> None:
    calls: list[int] = []
    assert median_speed(lambda: calls.append(1), 10, CPU) > 0
    assert len(calls) == 1 + FEWEST


@pytest.mark.parametrize(("capability", "expected"), [(7, "float32"), (8, "bfloat16")])
def test_a_gpu_trains_in_bfloat16_only_if_it_has_it_itself(
    monkeypatch: pytest.MonkeyPatch, capability: int, expected: str
) -> None:
    monkeypatch.setattr(torch.version, "hip", None)
    for name, value in {
        "is_available": lambda: True,
        "current_device": lambda: 0,
        "device": nullcontext,
        "get_device_properties": lambda device: SimpleNamespace(major=capability),
        "_check_bf16_tensor_supported": lambda device: True,  # as emulated
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    assert possible_precisions("auto", torch.device("cuda")) == (expected,)

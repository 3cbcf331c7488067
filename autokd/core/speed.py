"""Speed of training steps on the device at hand, and the precision in which they are faster."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter, process_time

import torch
from torch import Tensor, nn

from autokd.core.rng import forked_rng

__all__ = ["StepTime", "TrainingSpeed", "measure_training", "median_speed", "possible_precisions", "worker_threads"]

FEWEST, MOST = 5, 25  # timed steps in each precision
WARM_UP = 8  # images of the steps that are not counted: the first ones compile and allocate
STEP_SECONDS = 0.3  # about the longest step; fewer images are taken of a batch that would need more
CLEARLY_FASTER = 0.93  # time of a step in bfloat16, over that in float32, below which bfloat16 is taken
DOUBTFUL = 0.04  # distance from that ratio within which more steps are timed


@dataclass(frozen=True)
class StepTime:
    """Time of a computation.

    Attributes:
        seconds: By the clock.
        cpu_seconds: Of this process on all its threads, which other processes hardly disturb; by the clock on a GPU.
    """

    seconds: float
    cpu_seconds: float

    @property
    def undisturbed(self) -> float:
        """Seconds that it would take without other work on the machine, at most."""
        return min(self.seconds, self.cpu_seconds)


@dataclass(frozen=True)
class TrainingSpeed:
    """What was measured.

    Attributes:
        precision: The precision to train in, "float32" or "bfloat16".
        images_per_second: Forward and backward passes in this precision, as fast as they are without other work on the
            machine.
    """

    precision: str
    images_per_second: float


def possible_precisions(name: str, device: torch.device) -> Sequence[str]:
    """The precisions among which to choose by their speed; a single one if there is no choice.

    "auto" is bfloat16 on GPUs that have it and float32 on CPUs without instructions for bfloat16. Of the CPUs with such
    instructions only some train faster in it, and not every network.

    Args:
        name: "float32", "bfloat16" or "auto".
        device: Device of the training.
    """
    if name != "auto":
        return (name,)
    if device.type == "cuda":
        with torch.cuda.device(device):
            return ("bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32",)
    has_bfloat16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return ("float32", "bfloat16") if device.type == "cpu" and has_bfloat16 else ("float32",)


def measure_training(
    network: nn.Module,
    images: Tensor,
    precisions: Sequence[str],
    time_step: Callable[[nn.Module, Tensor, str], StepTime] | None = None,
) -> TrainingSpeed:
    """Speed of training a network, in bfloat16 if that is clearly faster and may be chosen.

    The precisions take turns, and what counts is the median ratio of their CPU times, so that a machine with other work
    decides as an idle one does. The nearer the ratio is to the threshold, the more steps are timed.

    Args:
        network: The network, in training mode and on its device; its statistics and gradients change.
        images: A batch of its inputs; a part of it is used if a step would take too long.
        precisions: One precision, or "float32" and "bfloat16" to choose from.
        time_step: Times a step of a network with a batch in a precision.
    """
    time_step = time_step or _step_time
    few = images[:WARM_UP]
    warm = [time_step(network, few, precision).undisturbed for _ in range(2) for precision in precisions]
    images = images[: max(len(few), int(STEP_SECONDS * len(few) / max(warm[-1], 1e-9)))]
    rounds: list[Mapping[str, StepTime]] = []
    while len(rounds) < FEWEST or (len(rounds) < MOST and abs(_ratio(rounds) - CLEARLY_FASTER) < DOUBTFUL):
        rounds.append({precision: time_step(network, images, precision) for precision in precisions})
    chosen = precisions[-1] if len(precisions) == 1 or _ratio(rounds) < CLEARLY_FASTER else "float32"
    seconds = statistics.median(times[chosen].undisturbed for times in rounds)
    return TrainingSpeed(chosen, round(len(images) / max(seconds, 1e-9), 1))


def median_speed(compute: Callable[[], object], n: int, device: torch.device) -> float:
    """Images per second of a computation, as fast as it is without other work on the machine; a first call warms it up.

    Args:
        compute: Computes something for `n` images.
        n: Number of images.
        device: Device of the computation.
    """
    compute()
    seconds = statistics.median(_timed(compute, device).undisturbed for _ in range(FEWEST))
    return round(n / max(seconds, 1e-9), 1)


@contextmanager
def worker_threads(threads: int = 1, device: torch.device | str = "cpu") -> Iterator[None]:
    """A block that computes on as many threads as workers would, and leaves the random numbers as they were.

    Args:
        threads: Number of threads.
        device: Device on which it computes.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with forked_rng(device):
            yield
    finally:
        torch.set_num_threads(before)


def _ratio(rounds: Sequence[Mapping[str, StepTime]]) -> float:
    """Median ratio of the CPU times in bfloat16 and float32; far from the threshold if there is one precision only."""
    if len(rounds[0]) == 1:
        return 0.0
    return statistics.median(times["bfloat16"].cpu_seconds / times["float32"].cpu_seconds for times in rounds)


def _step_time(network: nn.Module, images: Tensor, precision: str) -> StepTime:
    """Time of a forward and a backward pass."""

    def step() -> None:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            total = network(images).float().sum()
        network.zero_grad()
        total.backward()

    return _timed(step, images.device)


def _timed(compute: Callable[[], object], device: torch.device) -> StepTime:
    started, cpu_started = perf_counter(), process_time()
    compute()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
        return StepTime(seconds := perf_counter() - started, seconds)
    return StepTime(perf_counter() - started, process_time() - cpu_started)

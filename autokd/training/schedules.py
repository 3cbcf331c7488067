"""Learning-rate schedules: functions from a step, counted from 1, to a factor on the peak learning rate."""

import math
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Cooldown", "Cosine", "Schedule", "Trunk", "cosine"]

Schedule = Callable[[int], float]  # number of a step -> factor


@dataclass(frozen=True)
class Cosine:
    """Linear warm-up, then half a cosine down to 0 at the last step, see `cosine`.

    Attributes:
        total: Number of steps of the whole training.
        warmup: Share of the training for the warm-up, in `[0, 1)`.
    """

    total: int
    warmup: float = 0.05

    def __call__(self, step: int) -> float:
        """Factor of a step, `0 < step <= total`."""
        return cosine(step / self.total, self.warmup)


@dataclass(frozen=True)
class Trunk:
    """Linear warm-up, then the peak for any number of steps: the trunk from which cooldowns branch off.

    Warm-up and stable stage of the WSD schedule of Hu et al. 2024, "MiniCPM", https://arxiv.org/abs/2404.06395.

    Attributes:
        warmup: Number of steps of the warm-up.
    """

    warmup: int

    def __call__(self, step: int) -> float:
        """Factor of a step, `0 < step`."""
        return min(1.0, step / self.warmup) if self.warmup else 1.0


@dataclass(frozen=True)
class Cooldown:
    """Branch of a trunk down to 0 at its last step: the trunk times `1 - sqrt((step - start) / (end - start))`.

    Hägele et al. 2024, https://arxiv.org/abs/2405.18392, the form "(1-sqrt)" of section 3. If the trunk is still
    warming up at the start of the branch, the warm-up continues.

    Attributes:
        trunk: The trunk.
        start: Number of steps of the trunk before the branch.
        end: Last step.
    """

    trunk: Trunk
    start: int
    end: int

    def __call__(self, step: int) -> float:
        """Factor of a step, `start < step <= end`."""
        return self.trunk(step) * (1 - math.sqrt((step - self.start) / (self.end - self.start)))


def cosine(progress: float, warmup: float = 0.05) -> float:
    """Factor on the peak learning rate: linear warm-up, then half a cosine down to 0.

    Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983, equation 5 without restarts, after a linear warm-up.

    Args:
        progress: Share of the whole training done so far, in `[0, 1]`.
        warmup: Share of the training for the warm-up, in `[0, 1)`.
    """
    if progress < warmup:
        return progress / warmup
    return (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2

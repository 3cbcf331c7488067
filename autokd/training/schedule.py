"""Learning-rate schedules: pure functions of the progress of training."""

import math

__all__ = ["cosine"]


def cosine(progress: float, warmup: float = 0.05) -> float:
    """Factor on the peak learning rate: linear warm-up, then half a cosine down to 0.

    Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983, equation 5 without restarts, after a linear warm-up.

    Args:
        progress: Done part of the whole training, in `[0, 1]`.
        warmup: Part of the training that warms up, in `[0, 1)`.
    """
    if progress < warmup:
        return progress / warmup
    return (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2

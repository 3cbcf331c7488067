"""Expected improvement of a normally distributed value."""

import math

import numpy as np
from scipy.special import erfcx, ndtr

from autokd.optimizers.arrays import Array

__all__ = ["log_expected_improvement"]


def log_expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Logarithm of the expected improvement over `best`, in the shape of `mean`; accurate far below `best`, too.

    Ament et al. 2023, https://arxiv.org/abs/2310.20708, equation 9: with z = (mean - best) / deviation it is
    log(deviation) + log(phi(z) + z Phi(z)). For z well below 0 the second term suffers from cancellation unless phi is
    factored out.

    Args:
        mean: Means of the normal distributions.
        deviation: Their standard deviations, positive.
        best: The value to improve on.
    """
    z = (mean - best) / deviation
    low = np.minimum(z, -1.0)
    ratio = -low * erfcx(-low / math.sqrt(2)) * math.sqrt(math.pi / 2)  # 1 - 1 / z^2 for z far below 0
    factor = np.where(low < -1e5, 1 / (low * low), 1 - ratio)
    far = -low * low / 2 - math.log(2 * math.pi) / 2 + np.log(factor)
    high = np.maximum(z, -1.0)
    near = np.log(np.exp(-high * high / 2) / math.sqrt(2 * math.pi) + high * ndtr(high))
    scores: Array = np.log(deviation) + np.where(z > -1, near, far)
    return scores

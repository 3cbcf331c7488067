"""The benchmark is a script whose modules import each other by their plain names, as Python lets a script do."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from tasks import Task


@pytest.fixture
def small() -> Task:
    """24 points of mixed parameters; two training seeds, of which some points miss the second."""
    rng = np.random.default_rng(0)
    space = {
        "merge": CategoricalDistribution(("sum", "concat", None)),
        "width": IntDistribution(8, 32, step=8),
        "share": FloatDistribution(0.0, 0.3, step=0.3),
    }
    values = rng.normal(size=(24, 1)) + 0.1 * rng.normal(size=(24, 2))
    values[::3, 1] = np.nan
    return Task("small", space, values, rng.uniform(1.0, 9.0, size=(24, 2)))


@pytest.fixture
def limited(small: Task) -> Task:
    """The same with limits that every third point keeps."""
    violations = np.where(np.arange(24) % 3 == 0, 0.0, 0.5)
    return Task("limited", small.space, small.values, small.seconds, violations)

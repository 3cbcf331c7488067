"""The benchmark is a script whose modules import each other by their plain names, as Python lets a script do."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ladder import Rungs
from limits import Limit
from nearest import NearestTask
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
def continuum() -> NearestTask:
    """Thirty settings of two numbers and a choice."""
    rng = np.random.default_rng(0)
    space = {
        "rate": FloatDistribution(1e-4, 1.0, log=True),
        "share": FloatDistribution(0.0, 0.5),
        "merge": CategoricalDistribution(("sum", "concat")),
    }
    rows = zip(10 ** rng.uniform(-4, 0, 30), rng.uniform(0, 0.5, 30), rng.choice(["sum", "concat"], 30), strict=True)
    settings = [{"rate": float(rate), "share": float(share), "merge": str(merge)} for rate, share, merge in rows]
    return NearestTask("continuum", space, rng.normal(size=(30, 1)), np.ones((30, 1)), settings=settings)


@pytest.fixture
def limited(small: Task) -> Task:
    """The same with limits that every third point keeps; of the others, one half breaks the one, one half the other."""
    third = np.arange(24) % 3
    limits = {
        "params": Limit(np.where(third == 1, 0.5, -0.5), computable=True),
        "latency": Limit(np.where(third == 2, 0.25, -0.25), computable=False),
    }
    return replace(small, name="limited", limits=limits)


@pytest.fixture
def laddered(small: Task) -> Task:
    """The same with curves: row `n` has value `n` after 2 of 10 steps, `2 n` after 5, and its own in the end."""
    short = np.arange(24.0)[:, np.newaxis] * [[1.0, 2.0]]
    return replace(small, name="laddered", ladder=Rungs((2, 5, 10), short, continues=True))

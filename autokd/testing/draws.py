"""Draws of a search space in a process of their own, whose hashes of text are others."""

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence

import numpy as np

from search_spaces.architecture.format import Architecture
from search_spaces.architecture.layers import Shape
from search_spaces.design.budget import Budget
from search_spaces.design.space import Space

__all__ = ["digests_elsewhere", "draw"]

Limits = tuple[Budget, Shape, int]


def draw(space: Space, limits: Limits, seed: int) -> Architecture:
    """A random family that fits, and a draw of it.

    Args:
        space: What is drawn from.
        limits: Budget, shape of one sample and number of classes.
        seed: Seed of both.
    """
    rng = np.random.default_rng(seed)
    parameters = space.fit(space.random_parameters(rng), *limits, rng)
    return space.sample(parameters, *limits, np.random.default_rng([1, seed]))


def digests_elsewhere(space: Space, limits: Limits, seeds: Sequence[int]) -> list[str]:
    """Digests of draws in another process, in which sets of text have another order.

    Args:
        space: What is drawn from; it must be picklable, and its class importable.
        limits: Budget, shape of one sample and number of classes.
        seeds: Seed of each draw.

    Raises:
        RuntimeError: If the other process fails.
    """
    hashes = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    done = subprocess.run(
        [sys.executable, "-m", __spec__.name],
        input=pickle.dumps((space, limits, seeds)),
        capture_output=True,
        env={**os.environ, "PYTHONHASHSEED": hashes, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"Drawing in another process failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode().split()


if __name__ == "__main__":
    given = pickle.load(sys.stdin.buffer)
    print("\n".join(draw(given[0], given[1], seed).digest for seed in given[2]))

"""Shorter trainings than the full one: their lengths, what they give, and what they cost."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rungs"]


@dataclass(frozen=True)
class Rungs:
    """Rungs of training, numbered from 0; the top one is the full training, and a ladder may have no other.

    Attributes:
        steps: Length of the training at each rung, rising.
        values: Objective of all points below the top, `size x (rungs - 1)`.
        continues: Whether a training goes on from the rung below, as a curve does. If each rung's learning-rate
            schedule is its own, a training starts anew instead, and costs its whole length.
    """

    steps: tuple[int, ...] = (1,)
    values: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    continues: bool = False

    @property
    def top(self) -> int:
        """Number of the full training's rung."""
        return len(self.steps) - 1

    def share(self, rung: int, below: int | None) -> float:
        """What a training up to a rung costs, as a share of a full one from the beginning.

        Args:
            rung: Where it ends.
            below: The rung that the point has reached already, None if it has not been trained.
        """
        begun = self.steps[below] if self.continues and below is not None else 0
        return (self.steps[rung] - begun) / self.steps[-1]

"""Upper limits on what a point costs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Limit"]


@dataclass(frozen=True)
class Limit:
    """A limit on one cost of all points.

    Attributes:
        excesses: By how much each point exceeds the limit, as a share of it, `size`; negative if it keeps it.
        computable: Whether the cost is known of any point before it is trained, as the number of parameters is.
            Otherwise it is measured together with the training, as latency is.
    """

    excesses: NDArray[np.float64]
    computable: bool

    @classmethod
    def on(cls, costs: NDArray[np.floating], limit: float, computable: bool) -> "Limit":
        """The limit of so much on some costs, `size`."""
        return cls(np.asarray(costs, dtype=np.float64) / limit - 1.0, computable)

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Which points keep it, `size`."""
        return self.excesses <= 0

"""What the networks that learn beside a student are made from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor, nn

__all__ = ["Recruits"]


@dataclass(frozen=True)
class Recruits:
    """What the companions of a student are made from.

    Attributes:
        fresh: Makes a network of the student's architecture with other initial weights, which follow from a number.
        copied: Makes a copy of the teacher, in evaluation mode, all of whose weights can be trained.
        samples: At least two samples, as inputs of companions.
        layers: Names of the modules of such a copy whose outputs are its features; None selects the last module of each
            resolution.
    """

    fresh: Callable[[int], nn.Module]
    copied: Callable[[], nn.Module]
    samples: Tensor
    layers: Sequence[str] | None = None

    def after(self, n: int) -> Self:
        """The same for a method that shares a training with others, whose n networks have the first numbers."""
        return replace(self, fresh=lambda number: self.fresh(n + number))

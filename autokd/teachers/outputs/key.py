"""The key of stored outputs."""

from typing import NamedTuple

__all__ = ["OutputsKey"]


class OutputsKey(NamedTuple):
    """Key of one teacher's outputs for one view of the training samples, or for another split.

    Attributes:
        teacher: Number of the teacher among those of the search.
        view: Number of the augmented view of the training samples; None for another split.
        part: Name of the split.
        chunk: Number of a chunk of the view's samples; None for all samples.
    """

    teacher: int
    view: int | None = None
    part: str = "train"
    chunk: int | None = None

    @property
    def name(self) -> str:
        """First part of the names of their files."""
        return self.part if self.view is None else f"view-{self.view:04d}"

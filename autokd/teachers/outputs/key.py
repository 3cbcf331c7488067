"""The key of stored outputs: which teacher, which view or split, which chunk."""

from typing import NamedTuple

__all__ = ["OutputsKey"]


class OutputsKey(NamedTuple):
    """Which of the teachers' outputs: of one teacher, for one view of the training samples or a whole other split.

    Attributes:
        teacher: Number of the teacher among the plan's.
        view: Number of the augmented view; None for a split.
        part: Name of the split.
        chunk: Number of a chunk of the view's samples; None for all.
    """

    teacher: int
    view: int | None = None
    part: str = "train"
    chunk: int | None = None

    @property
    def name(self) -> str:
        """Of their files."""
        return self.part if self.view is None else f"view-{self.view:04d}"

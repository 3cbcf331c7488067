"""The disk policy of the teachers' outputs: what is stored, what runs in training instead, whether there is room."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from autokd.core.disk import check_space, size_text
from autokd.distillation import Need
from autokd.teachers.outputs.shapes import OUTPUT_KINDS, OutputKind, OutputShapes

__all__ = ["DiskBudget"]

NAMES: dict[OutputKind, str] = {"logits": "logits", "embedding": "embeddings", "features": "feature maps"}


@dataclass(frozen=True)
class DiskBudget:
    """How much of the teachers' outputs for training samples is stored.

    It follows from a search's settings and the shapes alone, so all workers and a resumed search decide alike.

    Attributes:
        shapes: Of one sample's outputs.
        needs: What the methods need of teachers beside logits.
        n_views: Views to store, those of each teacher counted.
        limit_bytes: Most that all of it may take.
    """

    shapes: OutputShapes
    needs: frozenset[Need]
    n_views: int
    limit_bytes: int

    @property
    def stored(self) -> frozenset[OutputKind]:
        """What is stored of each view: everything needed, or what the limit holds.

        Features are given up first, then embeddings, then logits.
        """
        kinds = [kind for kind in OUTPUT_KINDS if kind == "logits" or kind in self.needs]
        while kinds and self._bytes(kinds) > self.limit_bytes:
            kinds.pop()
        return frozenset(kinds)

    @property
    def fall_back(self) -> str | None:
        """One line: what is too large to be stored, and what happens instead; None if all fits."""
        left_out = [kind for kind in OUTPUT_KINDS if kind in {"logits", *self.needs} - self.stored]
        if not left_out:
            return None
        names = " and ".join(NAMES[kind] for kind in left_out)
        rest = " beside the rest" if self.stored else ""
        return (
            f"teacher: {names} of {self.n_views} views need {size_text(self._bytes(left_out))}, more than "
            f"teacher.disk_bytes = {size_text(self.limit_bytes)} allows{rest}: the teacher runs in every "
            "training that needs them instead."
        )

    def check_room(self, chunks: Iterable[int], folder: Path) -> None:
        """Raise `InputError` if the disk of `folder` has no room for these chunks of views."""
        n_samples = sum(len(self.shapes.chunks[chunk]) for chunk in chunks)
        needed = n_samples * self.shapes.sample_bytes(self.stored)
        advice = "make room, or set teacher.disk_bytes lower, so that the teacher runs in every training instead"
        check_space(folder, needed, "the teacher's outputs", advice)

    def _bytes(self, kinds: Iterable[OutputKind]) -> int:
        return self.n_views * self.shapes.samples * self.shapes.sample_bytes(list(kinds))

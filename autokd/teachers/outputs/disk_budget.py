"""The disk policy of the teachers' outputs: which of them are stored, and whether the disk has room for them."""

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
    """Decision which of the teachers' outputs for training samples are stored.

    It follows from the settings of a search and the shapes alone, so that all workers and a resumed search agree.

    Attributes:
        shapes: Shapes of the outputs for one sample.
        needs: Outputs that the methods need in addition to logits.
        n_views: Number of views to store, summed over the teachers.
        limit_bytes: Largest total size of the stored outputs.
    """

    shapes: OutputShapes
    needs: frozenset[Need]
    n_views: int
    limit_bytes: int

    @property
    def stored(self) -> frozenset[OutputKind]:
        """Kinds of outputs that are stored for each view: all that are needed, as far as the limit allows.

        If they are too large, features are dropped first, then embeddings, then logits.
        """
        kinds = [kind for kind in OUTPUT_KINDS if kind == "logits" or kind in self.needs]
        while kinds and self._bytes(kinds) > self.limit_bytes:
            kinds.pop()
        return frozenset(kinds)

    @property
    def fall_back(self) -> str | None:
        """Line for the user that names the outputs that are too large to be stored; None if there are none."""
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
        """Check that the disk has room for the outputs.

        Args:
            chunks: Numbers of the chunks that are to be stored, once for each view.
            folder: Folder on the disk.

        Raises:
            InputError: If there is not enough room.
        """
        n_samples = sum(len(self.shapes.chunks[chunk]) for chunk in chunks)
        needed = n_samples * self.shapes.sample_bytes(self.stored)
        advice = "make room, or set teacher.disk_bytes lower, so that the teacher runs in every training instead"
        check_space(folder, needed, "the teacher's outputs", advice)

    def _bytes(self, kinds: Iterable[OutputKind]) -> int:
        return self.n_views * self.shapes.samples * self.shapes.sample_bytes(list(kinds))

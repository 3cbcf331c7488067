"""The disk policy of the teachers' outputs: which of them are stored, and whether the disk has room for them."""

from collections.abc import Collection, Iterable
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
        n_logit_views: Number of further views of which only logits are stored, summed over the assistants.
    """

    shapes: OutputShapes
    needs: frozenset[Need]
    n_views: int
    limit_bytes: int
    n_logit_views: int = 0

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
        n_views = self.n_views + (self.n_logit_views if "logits" in left_out else 0)
        return (
            f"teacher: {names} of {n_views} views need {size_text(self._bytes(left_out))}, more than "
            f"teacher.disk_bytes = {size_text(self.limit_bytes)} allows{rest}: the teacher runs in every "
            "training that needs them instead."
        )

    def check_room(self, chunks: Iterable[tuple[int, Collection[OutputKind]]], folder: Path) -> None:
        """Check that the disk has room for the outputs.

        Args:
            chunks: Numbers of the chunks that are to be stored, once for each view, with what is stored of them.
            folder: Folder on the disk.

        Raises:
            InputError: If there is not enough room.
        """
        needed = sum(len(self.shapes.chunks[chunk]) * self.shapes.sample_bytes(kinds) for chunk, kinds in chunks)
        advice = "make room, or set teacher.disk_bytes lower, so that the teacher runs in every training instead"
        check_space(folder, needed, "the teacher's outputs", advice)

    def _bytes(self, kinds: Iterable[OutputKind]) -> int:
        chosen = list(kinds)
        logits = self.n_logit_views * self.shapes.sample_bytes([kind for kind in chosen if kind == "logits"])
        return self.shapes.samples * (self.n_views * self.shapes.sample_bytes(chosen) + logits)

"""What the teachers' outputs take of the disk, and what happens where that is too much."""

from collections.abc import Sequence

from autokd.disk import check_space, size_text
from autokd.lessons import Answers, LessonPlan, output_shapes
from autokd.teachers.shapes import PARTS, Part

__all__ = ["check_room", "fall_back"]

NAMES: dict[Part, str] = {"logits": "logits", "embedding": "embeddings", "features": "feature maps"}


def check_room(plan: LessonPlan, missing: Sequence[Answers]) -> None:
    """Nothing, if the disk has room for these chunks of views.

    Raises:
        InputError: Otherwise.
    """
    chunks = [answers.chunk for answers in missing if answers.chunk is not None]
    if not chunks:
        return
    shapes = output_shapes(plan)
    n_samples = sum(len(shapes.chunks[chunk]) for chunk in chunks)
    needed = n_samples * shapes.sample_bytes(plan.stored_parts(shapes))
    advice = "make room, or set teacher.disk_bytes lower, so that the teacher runs in every training instead"
    check_space(plan.cache, needed, "the teacher's outputs", advice)


def fall_back(plan: LessonPlan) -> str | None:
    """One line: what of the teachers' outputs is too large to be stored, and what happens instead; None if all fits."""
    shapes = output_shapes(plan)
    stored = plan.stored_parts(shapes)
    left_out = [part for part in PARTS if part in {"logits", *plan.needs} - stored]
    if not left_out:
        return None
    needed = size_text(plan.n_views * shapes.samples * shapes.sample_bytes(left_out))
    allowed = size_text(plan.teacher.disk_bytes)
    return (
        f"teacher: {' and '.join(NAMES[part] for part in left_out)} of {plan.n_views} views need {needed}, more than "
        f"teacher.disk_bytes = {allowed} allows{' beside the rest' if stored else ''}: the teacher runs in every "
        "training that needs them instead."
    )

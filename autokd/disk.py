"""What the teachers' outputs take of the disk, and what happens where that is too much."""

import shutil
from collections.abc import Sequence

from autokd.errors import InputError
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
    folder = next(folder for folder in (plan.cache, *plan.cache.parents) if folder.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"the teacher's outputs need {_size(needed)} in {plan.cache}, but the disk has {_size(free)} left: make "
            "room, or set teacher.disk_bytes lower, so that the teacher runs in every training instead."
        )


def fall_back(plan: LessonPlan) -> str | None:
    """One line: what of the teachers' outputs is too large to be stored, and what happens instead; None if all fits."""
    shapes = output_shapes(plan)
    stored = plan.stored_parts(shapes)
    left_out = [part for part in PARTS if part in {"logits", *plan.needs} - stored]
    if not left_out:
        return None
    needed = plan.n_views * shapes.samples * shapes.sample_bytes(left_out)
    return (
        f"teacher: {' and '.join(NAMES[part] for part in left_out)} of {plan.n_views} views need {_size(needed)}, more "
        f"than teacher.disk_bytes = {_size(plan.teacher.disk_bytes)} allows{' beside the rest' if stored else ''}: "
        "the teacher runs in every training that needs them instead."
    )


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:,.4g} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:,.3g} MB"

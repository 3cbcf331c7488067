from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from autokd import storage
from autokd.config import DataConfig, TeacherConfig, TrainingConfig
from autokd.errors import InputError
from autokd.lessons import Answers, LessonPlan
from autokd.storage import check_room, fall_back
from autokd.teachers import shapes
from autokd.teachers.shapes import OutputShapes

GB = 10**9
SHAPES = OutputShapes(100_000, 10, 190, ((16, 50),))  # 2, 38 and 160 MB a view


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LessonPlan:
    """Of five views; nothing of it is loaded."""
    monkeypatch.setattr(storage, "output_shapes", lambda plan: SHAPES)
    training = TrainingConfig(rungs=(5.0,), views=5)
    plan = LessonPlan(DataConfig(source="digits"), "data", TeacherConfig(), "teacher", training, 5, tmp_path, "cpu")
    return replace(plan, needs=frozenset({"embedding", "features"}))


def with_limit(plan: LessonPlan, limit: int) -> LessonPlan:
    return replace(plan, teacher=TeacherConfig(disk_bytes=limit))


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        (
            9 * GB // 10,
            "feature maps of 5 views need 800 MB, more than teacher.disk_bytes = 900 MB allows beside the rest: ",
        ),
        (GB // 10, "embeddings and feature maps of 5 views need 990 MB, more than teacher.disk_bytes = 100 MB allows"),
        (0, "logits and embeddings and feature maps of 5 views need 1 GB, more than teacher.disk_bytes = 0 MB allows:"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(plan: LessonPlan, limit: int, told: str):
    line = fall_back(with_limit(plan, limit))
    assert line is not None
    assert told in line
    assert line.endswith("the teacher runs in every training that needs them instead.")
    assert "\n" not in line


def test_nothing_is_told_where_all_fits(plan: LessonPlan):
    assert fall_back(with_limit(plan, GB)) is None


def test_a_disk_without_room_is_told_before_anything_is_written(plan: LessonPlan, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shapes, "CHUNK_SAMPLES", 40_000)
    missing = [Answers(0, 0, chunk=1), Answers(0, 0, chunk=2), Answers(0, part="validation")]
    needed = 60_000 * 2 * 1000
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=needed))
    check_room(plan, missing)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=needed - 1))
    with pytest.raises(InputError, match=r"the teacher's outputs need 120 MB in .*, but the disk has 120 MB left"):
        check_room(plan, missing)
    check_room(plan, missing[1:])


def test_a_folder_that_is_not_there_yet_is_on_its_parents_disk(plan: LessonPlan, tmp_path: Path):
    check_room(replace(plan, cache=tmp_path / "not" / "there"), [Answers(0, 0, chunk=0)])

from pathlib import Path
from types import SimpleNamespace

import pytest

from autokd.distillation.base import Need
from autokd.errors import InputError
from autokd.teachers.outputs import shapes
from autokd.teachers.outputs.disk_budget import DiskBudget
from autokd.teachers.outputs.shapes import OutputShapes

GB = 10**9
SMALL = OutputShapes(100, 10, 64, ((16, 8, 8), (32, 4, 4)))
LOGITS, EMBEDDING, FEATURES = 100 * 2 * 10, 100 * 2 * 64, 100 * 2 * (16 * 64 + 32 * 16)
SHAPES = OutputShapes(100_000, 10, 190, ((16, 50),))  # 2, 38 and 160 MB a view
NEEDS: frozenset[Need] = frozenset({"embedding", "features"})


def budget(limit: int) -> DiskBudget:
    """Of five views."""
    return DiskBudget(SHAPES, NEEDS, 5, limit)


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (
            9 * GB // 10,
            "feature maps of 5 views need 800 MB, more than teacher.disk_bytes = 900 MB allows beside the rest: ",
        ),
        (GB // 10, "embeddings and feature maps of 5 views need 990 MB, more than teacher.disk_bytes = 100 MB allows"),
        (0, "logits and embeddings and feature maps of 5 views need 1 GB, more than teacher.disk_bytes = 0 MB allows:"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(limit: int, words: str) -> None:
    line = budget(limit).fall_back
    assert line is not None
    assert words in line
    assert line.endswith("the teacher runs in every training that needs them instead.")
    assert "\n" not in line


def test_nothing_is_told_where_all_fits() -> None:
    assert budget(GB).fall_back is None


def test_a_disk_without_room_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "CHUNK_SAMPLES", 40_000)
    needed, kinds = 60_000 * 2 * 1000, budget(GB).stored
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=needed))
    budget(GB).check_room([(1, kinds), (2, kinds)], tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=needed - 1))
    with pytest.raises(InputError, match=r"the teacher's outputs need 120 MB in .*, but the disk has 120 MB left"):
        budget(GB).check_room([(1, kinds), (2, kinds)], tmp_path)
    budget(GB).check_room([(2, kinds)], tmp_path)
    budget(GB).check_room([(1, {"logits"}), (2, kinds)], tmp_path)


def test_a_folder_that_is_not_there_yet_is_on_its_parents_disk(tmp_path: Path) -> None:
    budget(GB).check_room([(0, {"logits"})], tmp_path / "not" / "there")


@pytest.mark.parametrize(
    ("limit", "parts"),
    [
        (3 * (LOGITS + EMBEDDING + FEATURES), {"logits", "embedding", "features"}),
        (3 * (LOGITS + EMBEDDING + FEATURES) - 1, {"logits", "embedding"}),
        (3 * (LOGITS + EMBEDDING) - 1, {"logits"}),
        (3 * LOGITS - 1, set()),
    ],
)
def test_features_are_given_up_first_then_embeddings_then_logits(limit: int, parts: set[str]) -> None:
    assert DiskBudget(SMALL, NEEDS, 3, limit).stored == parts


def test_of_the_assistants_logits_alone_count() -> None:
    limit = 3 * (LOGITS + EMBEDDING) + 2 * LOGITS
    assert DiskBudget(SMALL, frozenset({"embedding"}), 3, limit, 2).stored == {"logits", "embedding"}
    assert DiskBudget(SMALL, frozenset({"embedding"}), 3, limit - 1, 2).stored == {"logits"}
    assert DiskBudget(SMALL, frozenset(), 3, 5 * LOGITS - 1, 2).stored == set()


@pytest.mark.parametrize(("limit", "words"), [(5 * LOGITS, "embeddings of 3 views"), (0, "embeddings of 5 views")])
def test_views_of_assistants_are_told_where_their_logits_do_not_fit(limit: int, words: str) -> None:
    line = DiskBudget(SMALL, frozenset({"embedding"}), 3, limit, 2).fall_back
    assert line is not None
    assert words in line


def test_only_what_is_needed_counts() -> None:
    assert DiskBudget(SMALL, frozenset(), 3, 3 * LOGITS).stored == {"logits"}
    assert DiskBudget(SMALL, frozenset({"features"}), 1, LOGITS + FEATURES).stored == {"logits", "features"}

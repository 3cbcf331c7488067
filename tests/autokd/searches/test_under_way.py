import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from measured_progress import measure_progress
from safetensors.torch import save_file

from autokd.database.rows import SearchRow
from autokd.evaluation.task import checkpoints
from autokd.searches.progress import up_to_date
from autokd.searches.under_way import RunningEvaluation, with_how_far
from autokd.searches.workspace import Workspace

EVALUATION = RunningEvaluation(3, None, 0, 9.0, None, None, "aaaa-1")


@pytest.fixture
def search(make_store, make_problem) -> SearchRow:
    row = make_store(make_problem()).search("first")
    return replace(row, facts=row.facts | {"samples": {"train": 1000}})


def checkpoint(home: Path, name: str = "trunk", **progress: Any) -> None:
    """Write what a worker does after two epochs of five steps, at 10 steps a second."""
    file = getattr(checkpoints(Workspace(home).evaluations("first"), EVALUATION.key), name)
    file.parent.mkdir(parents=True, exist_ok=True)
    progress = {"format": 3, "step": 10, "epochs": 2.0, "steps_per_second": 10.0} | progress
    save_file({"x": torch.zeros(1)}, file, {"progress": json.dumps(progress)})
    os.utime(file, (100, 100))


def test_the_last_checkpoint_tells_epochs_speed_and_end(search: SearchRow, tmp_path: Path) -> None:
    checkpoint(tmp_path)
    found = with_how_far(EVALUATION, search, Workspace(tmp_path))
    assert (found.epochs_done, found.images_per_second) == (2.0, 2000.0)
    assert found.ends_at == datetime.fromtimestamp(100 + (9 - 2) / 2, UTC)
    assert found.seconds_left == 0  # it has passed
    assert replace(found, epochs_done=None, images_per_second=None, ends_at=None) == EVALUATION


def test_of_the_first_evaluations_alone_is_read_how_far_they_are(search: SearchRow, tmp_path: Path) -> None:
    checkpoint(tmp_path)
    several = replace(measure_progress(search, []), evaluations=(EVALUATION,) * 3)
    known, home = with_how_far(EVALUATION, search, Workspace(tmp_path)), Workspace(tmp_path)
    assert up_to_date(several, search, home, 2).evaluations == (known, known, EVALUATION)
    assert up_to_date(several, search, home, 0) == several
    assert up_to_date(several, search, home).evaluations == (known,) * 3


def test_a_cooldown_counts_and_no_more_than_all_epochs_are_done(search: SearchRow, tmp_path: Path) -> None:
    checkpoint(tmp_path)
    checkpoint(tmp_path, "branch", step=50, epochs=10.0)
    found = with_how_far(EVALUATION, search, Workspace(tmp_path))
    assert (found.epochs_done, found.ends_at) == (9.0, datetime.fromtimestamp(100, UTC))


def test_what_waits_for_a_worker_has_no_end(search: SearchRow, tmp_path: Path) -> None:
    checkpoint(tmp_path)
    waits = replace(EVALUATION, reason="no worker")
    assert with_how_far(waits, search, Workspace(tmp_path)) == replace(waits, epochs_done=2.0)


def test_what_is_not_known_is_none(search: SearchRow, tmp_path: Path) -> None:
    assert with_how_far(EVALUATION, search, Workspace(tmp_path)) == EVALUATION
    checkpoint(tmp_path, steps_per_second=None)
    assert with_how_far(EVALUATION, search, Workspace(tmp_path)) == replace(EVALUATION, epochs_done=2.0)
    checkpoint(tmp_path)
    earlier = replace(search, facts={name: value for name, value in search.facts.items() if name != "samples"})
    assert with_how_far(EVALUATION, earlier, Workspace(tmp_path)).images_per_second is None

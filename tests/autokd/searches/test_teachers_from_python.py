from pathlib import Path

import numpy as np
import pytest
import torch
from small_searches import Bands, Stopping

import autokd
from autokd.data.dataset import Dataset
from autokd.errors import InputError, InterruptedSearchError
from autokd.searches.reporter import Silent
from autokd.searches.workspace import Workspace
from autokd.teachers.teacher import Teacher


def test_an_interrupted_search_of_a_teacher_object_says_how_to_continue_in_python(search, home: Workspace) -> None:
    with pytest.raises(InterruptedSearchError) as caught:
        search(reporter=Stopping())
    call = f"autokd.find('search', home={str(home.folder)!r}, teacher=...).resume()"
    assert str(caught.value) == f"search 'search' was interrupted; `{call}` goes on."


def test_a_teacher_that_is_passed_again_computes_on_the_device_of_its_search(
    search, home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Bands()
    search(teacher=network)
    moved = []
    monkeypatch.setattr(Teacher, "to", lambda self, device: moved.append(device) or self)
    found = autokd.find("search", home, teacher=network)
    assert not moved  # to look at a search, its device need not be here
    found.resume()
    assert moved == [torch.device("cpu")]


def test_computing_the_outputs_of_a_teacher_object_is_recorded_and_heard(search) -> None:
    heard: list[tuple[int, int]] = []

    class Listening(Silent):
        def prepared(self, ready: int, needed: int) -> None:
            heard.append((ready, needed))

    result = search(reporter=Listening())
    events = result.last_events(1000)
    kinds, missing = (
        [each.kind for each in events],
        [each.payload["missing"] for each in events if each.kind == "teacher"],
    )
    assert missing == sorted(missing, reverse=True)
    assert missing[-1] == 0
    assert kinds.index("teacher") < kinds.index("trial_opened")
    assert heard[-1] == (heard[-1][1], len(result.problem.context.outputs_needed))


def test_a_search_goes_on_with_its_teacher_where_outputs_are_missing_and_with_no_other(search, home: Workspace):
    longer = {"final": {"epochs": 2, "views": 2}}
    search(**longer)
    with pytest.raises(InputError, match=r"go on from Python, where the teacher is given to autokd\.find"):
        autokd.find("search", home).train()
    other = Bands()
    other.scale.data.fill_(9.0)
    with pytest.raises(InputError, match="began with another teacher"):
        autokd.find("search", home, teacher=other)
    assert autokd.find("search", home, teacher=Bands()).train()


def test_a_teacher_may_be_its_outputs_and_no_network(search, dataset: Dataset, home: Workspace, tmp_path: Path):
    outputs = {part: 5 * torch.eye(3)[split.labels] for part, split in dataset.splits.items()}
    result = search(teacher=outputs)
    assert result.config.teacher.outputs is not None
    assert (result.problem.facts.teacher_metrics["accuracy"], result.problem.facts.teacher_params) == (1.0, None)
    np.savez(tmp_path / "o.npz", **{part: rows.numpy() for part, rows in outputs.items()})  # type: ignore[arg-type]
    again = search(teacher=str(tmp_path / "o.npz"), name="again")
    assert again.problem.facts.teacher_digest == result.problem.facts.teacher_digest
    assert again.train()
    assert again.row.facts["teacher_test_metrics"]["accuracy"] == 1.0


def test_a_teacher_that_is_gone_is_missed_before_anything_is_trained_at_full_length(
    search, dataset: Dataset, tmp_path: Path
) -> None:
    file = tmp_path / "outputs.npz"
    np.savez(file, **{part: 5 * np.eye(3)[split.labels.numpy()] for part, split in dataset.splits.items()})
    result = search(teacher=str(file))
    file.unlink()
    with pytest.raises(InputError, match=r"outputs\.npz"):
        result.train()
    assert result.students
    assert not any(student.is_final for student in result.students)
    assert result.progress.status == "finished"


def test_a_teacher_object_may_have_inputs_and_outputs_of_its_own(search, home: Workspace):
    def teacher(pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        assert 0 <= pixels.min() < pixels.max() <= 1 + 1e-5
        return {"bands": pixels[:, 0].unflatten(1, (3, 4)).mean((2, 3)).flip(1)}

    settings = {"output": "bands", "mean": [0], "deviation": [1], "resize": 12, "classes": [2, 1, 0]}
    result = search(teacher=teacher, teacher_settings=settings)
    assert result.problem.facts.teacher_metrics["accuracy"] == 1.0
    assert autokd.find("search", home, teacher=teacher).teacher is not None
    with pytest.raises(InputError, match="the teacher returns a dict of 'bands'"):
        search(teacher=teacher, teacher_settings={"mean": [0], "deviation": [1], "resize": 12})

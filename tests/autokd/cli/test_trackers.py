import io
import json
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from hub_models import package

from autokd.searches.api import find


@pytest.mark.slow  # two searches
def test_a_search_that_goes_on_is_tracked_from_its_beginning(invoke, tiny: tuple[str, ...], tmp_path: Path) -> None:
    package("tensorboard")
    home = ("--home", tmp_path / "home")
    assert invoke("search", "digits", *tiny, "--set", "trials=1", *home).code == 0
    tracking = ("--set", f"tracking.tensorboard={tmp_path / 'runs'}")
    assert invoke("resume", "digits", "--set", "trials=2", *tracking, *home).code == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert sorted(each.name for each in folder.glob("trial-*")) == ["trial-0000", "trial-0001"]
    newest = find("digits", tmp_path / "home").last_events(1)[0]
    assert json.loads((folder / "autokd.json").read_text())["event"] <= newest.id


def test_a_tracker_that_cannot_be_used_is_one_line_before_anything_is_recorded(
    invoke, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    tracking = ("--set", f"tracking.tensorboard={tmp_path / 'file'}/runs")
    outcome = invoke("search", "digits", *tiny, *tracking, "--home", tmp_path / "home")
    assert outcome.code == 2
    assert outcome.err.startswith("autokd: tracking.tensorboard: ")
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "home").exists()


def test_a_study_has_the_trials_of_the_search(invoke, finished: Path, tmp_path: Path) -> None:
    file, result = tmp_path / "study.db", find("digits", finished)
    outcome = invoke("study", "digits", file, "--home", finished, "-o", "json")
    assert json.loads(outcome.out) == {"file": str(file), "study": "digits", "trials": 3}
    study = optuna.load_study(study_name="digits", storage=f"sqlite:///{file}")
    for trial, record in zip(study.trials, result.trials, strict=True):
        assert trial.value == record.trial.value
        assert trial.params == record.trial.parameters
        assert trial.intermediate_values == {rung + 1: value for rung, value in record.values.items()}
        assert trial.datetime_start.timestamp() == pytest.approx(record.trial.created_at.timestamp(), abs=1e-3)
        assert trial.user_attrs["params"] == record.students[0].params
    assert study.best_value == result.progress.best_accuracy
    assert study.user_attrs["limits"] == dict(result.problem.budget.limits)


def test_a_path_may_hold_what_a_url_reads_otherwise(invoke, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "what?%41"
    folder.mkdir()
    outcome = invoke("study", "digits", folder / "is%20this?.db", "--home", finished)
    assert outcome.code == 0
    assert outcome.out.endswith("optuna-dashboard shows them if no name in the path has % or ?\n")
    assert [file.name for file in folder.iterdir()] == ["is%20this?.db"]
    (folder / "is%20this?.db").rename(tmp_path / "plain.db")
    assert len(optuna.load_study(study_name="digits", storage=f"sqlite:///{tmp_path}/plain.db").trials) == 3


def test_a_file_that_is_there_stays_unless_it_is_to_be_overwritten(invoke, finished: Path, tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    file.write_text("mine")
    outcome = invoke("study", "digits", file, "--home", finished)
    assert (outcome.code, file.read_text()) == (2, "mine")
    assert outcome.err == f"autokd: {file} exists: choose another name, or overwrite it with --force.\n"
    assert invoke("study", "digits", file, "--force", "--home", finished).code == 0
    assert len(optuna.load_study(study_name="digits", storage=f"sqlite:///{file}").trials) == 3


def test_the_dashboard_shows_a_study(invoke, finished: Path, tmp_path: Path) -> None:
    dashboard = package("optuna_dashboard")
    invoke("study", "digits", tmp_path / "study.db", "--home", finished)
    page = dashboard.wsgi(optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/study.db"))

    def get(path: str) -> Any:
        environment = {"PATH_INFO": path, "QUERY_STRING": "after=0", "wsgi.input": io.BytesIO()}
        setup_testing_defaults(environment)
        return json.loads(b"".join(page(environment, lambda *answer: None)))

    (summary,) = get("/api/studies")["study_summaries"]
    assert summary["study_name"] == "digits"
    shown = get(f"/api/studies/{summary['study_id']}")
    assert [trial["state"] for trial in shown["trials"]] == ["Complete"] * 3

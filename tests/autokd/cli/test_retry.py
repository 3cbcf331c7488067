import json
from pathlib import Path
from typing import Any

import pytest

from autokd.database.models import Evaluation, Trial
from autokd.searches.workspace import Workspace


@pytest.fixture
def failed(home: Path) -> Path:
    """A home whose search has a trial that a worker failed, and one that failed by its own fault."""
    with Workspace(home).open() as store, store.transaction() as session:
        for number, fault in ((1, "worker"), (2, "trial")):
            trial = session.query(Trial).filter_by(number=number).one()
            trial.state, trial.value, trial.reason = "failed", None, f"{fault} failed"
            last = session.query(Evaluation).filter_by(trial_id=trial.id).order_by(Evaluation.id.desc()).first()
            assert last is not None
            last.state, last.fault, last.reason, last.metrics = "failed", fault, f"{fault} failed", None
    return home


def test_a_failed_trial_is_opened_again_and_ends_with_the_next_resume(invoke: Any, failed: Path) -> None:
    assert "of a worker" in invoke("show", "digits", "1", "--home", failed).out
    assert "of its own" in invoke("show", "digits", "2", "--home", failed).out
    blamed = f"1 trial by a worker's fault: `autokd retry digits --home {failed}`"
    assert blamed in invoke("status", "digits", "--home", failed).out
    outcome = invoke("retry", "digits", "--home", failed)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "trial 1 is open again; it had failed: worker failed",
        f"`autokd resume digits --home {failed}` goes on",
        "1 trial failed by no worker's fault: --failed opens these, too",
    ]
    assert "trial 1 opened again; it had failed" in invoke("status", "digits", "--home", failed).out
    assert invoke("resume", "digits", "--home", failed).code == 0
    status = json.loads(invoke("status", "digits", "-o", "json", "--home", failed).out)
    assert (status["status"], status["failed"], status["retriable"]) == ("finished", 1, 0)
    assert status["complete"] + status["pruned"] == 2


def test_retry_answers_in_json(invoke: Any, failed: Path) -> None:
    said = json.loads(invoke("retry", "digits", "--failed", "-o", "json", "--home", failed).out)
    assert said["opened"] == [
        {"trial": 1, "reference": None, "reason": "worker failed"},
        {"trial": 2, "reference": None, "reason": "trial failed"},
    ]
    assert said["failed"] == 0


def test_where_nothing_failed_nothing_is_opened(invoke: Any, home: Path) -> None:
    outcome = invoke("retry", "digits", "--home", home)
    assert (outcome.code, outcome.out) == (0, "no trial of search 'digits' has failed by a worker's fault\n")
    outcome = invoke("retry", "digits", "--failed", "--home", home)
    assert outcome.out == "no trial of search 'digits' has failed\n"

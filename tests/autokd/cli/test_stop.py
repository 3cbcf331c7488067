import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from autokd.database.lease import acquire, request_stop
from autokd.database.models import Search
from autokd.database.rows import EvaluationRow
from autokd.searches.api import find
from autokd.searches.students import add_student
from autokd.searches.workspace import Workspace

LONG = ("--set", "workers.engine=local", "--set", "training.rungs=[1, 10_000]")


def evaluations(home: Path) -> list[EvaluationRow]:
    with Workspace(home).open(create=True) as store:
        return store.evaluations(1)


def wait_for_the_second_rung(home: Path, process: subprocess.Popen[str]) -> None:
    while process.poll() is None and len(evaluations(home)) < 2:
        time.sleep(0.1)


@pytest.mark.slow  # a search in a process of its own, which hears of it with its next heartbeat
def test_a_search_in_another_process_ends_its_evaluations_first_and_is_interrupted_now(
    invoke: Any, start: Any, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    process = start("search", "digits", *tiny, *LONG)
    wait_for_the_second_rung(home, process)
    outcome = invoke("stop", "digits", "--home", home)
    assert outcome.code == 0, outcome.err
    assert f"(process {process.pid} on " in outcome.out
    assert find("digits", home).progress.status == "stopping"
    assert invoke("stop", "digits", "--now", "--home", home).code == 0
    _, said = process.communicate()
    assert process.returncode == 4
    assert said == f"autokd: search 'digits' was interrupted; `autokd resume digits --home {home}` goes on.\n"
    assert find("digits", home).progress.status == "interrupted"
    assert [row.state for row in evaluations(home)] == ["complete", "running"]


def test_a_search_that_is_stopping_says_so_everywhere(invoke: Any, home: Path) -> None:
    with Workspace(home).open() as store:
        lease = acquire(store, "digits")
        store.set_status(lease, "running")
        answer = json.loads(invoke("stop", "digits", "-o", "json", "--home", home).out)
        assert (answer["stop"], answer["pid"]) == ("gracefully", os.getpid())
        text = invoke("status", "digits", "--home", home).out
        assert "digits (stopping)" in text
        assert "once the running evaluations have ended" in text
        assert "asked to stop gracefully" in text
        request_stop(store, "digits", "now")
        assert "within seconds" in invoke("status", "digits", "--home", home).out
    assert "stopping" in invoke("list", "--home", home).out


def test_only_a_search_that_runs_is_stopped(invoke: Any, home: Path) -> None:
    outcome = invoke("stop", "digits", "--home", home)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == ("autokd: Only a search that runs can be stopped, but nobody runs 'digits'.\n")


def test_a_search_whose_workers_never_came_stands_as_before(
    invoke: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("autokd.searches.session.check_files", interrupt)
    assert invoke("resume", "digits", "--set", "trials=4", "--home", home).code == 4
    with Workspace(home).open() as store:
        search = store.search("digits")
    assert (search.status, search.config["trials"]) == ("finished", 3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is there")
def test_a_search_whose_device_is_gone_trains_nothing(invoke: Any, home: Path) -> None:
    with Workspace(home).open() as store, store.transaction() as session:
        search = session.query(Search).one()
        search.facts = {**search.facts, "device": "cuda"}
    outcome = invoke("resume", "digits", "--set", "trials=4", "--home", home)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "workers.device 'cuda' is not usable here" in outcome.err
    with Workspace(home).open() as store:
        assert (store.search("digits").status, store.n_trials(1)) == ("finished", 3)


def test_what_goes_on_after_a_training_at_full_length_is_that_training(invoke: Any, home: Path) -> None:
    result = find("digits", home)
    best = result.best
    with Workspace(home).open() as store:
        lease = acquire(store, "digits")
        store.set_status(lease, "running")
        another = add_student(store, lease, best.trial, 1, "final", best.architecture, best.row.cost)
        task = result.problem.task(best.trial, another, rung=0)
        store.open_evaluation(lease, another.id, 0, task.epochs, task.key)
        text = invoke("stop", "digits", "--home", home).out
    assert f"`autokd train digits --home {home}` goes on" in text

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from autokd.database.lease import acquire, request_stop
from autokd.database.rows import EvaluationRow
from autokd.searches.api import find
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

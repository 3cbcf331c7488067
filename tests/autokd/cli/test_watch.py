"""A search seen from another terminal, by processes that really search, write and watch."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autokd.database.lease import acquire, release
from autokd.database.rows import SearchRow
from autokd.database.store import Store
from autokd.searches import watching
from autokd.searches.api import find
from autokd.searches.workspace import Workspace

SECONDS_EACH = ("--set", "training.rungs=[1, 8]")


WRITER = """
import sys
from autokd.database.lease import acquire, release
from autokd.database.store import Store
with Store(sys.argv[1]) as store:
    lease = acquire(store, "digits")
    store.set_status(lease, "running")
    print("running", flush=True)
    for number in range(400):
        store.record_event(lease, "test", {"number": number})
    store.set_status(lease, "finished")
    release(store, lease)
"""


@contextmanager
def owned(home: Path) -> Iterator[Store]:
    """The database while this process runs the search."""
    with Workspace(home).open() as store:
        lease = acquire(store, "digits")
        store.set_status(lease, "running")
        yield store
        release(store, lease)


def searches(home: Path) -> list[SearchRow]:
    with Workspace(home).open(create=True) as store:
        return store.searches()


def leave(home: Path, status: Any) -> None:
    """Let the search end so."""
    with Workspace(home).open() as store:
        lease = acquire(store, "digits")
        store.set_status(lease, status)
        release(store, lease)


@pytest.mark.slow  # a search in a process of its own
def test_a_search_in_another_process_is_watched_until_it_ends_as_it_does(
    invoke: Any, start: Callable[..., subprocess.Popen[str]], tiny: tuple[str, ...], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    process = start("search", "digits", *tiny, *SECONDS_EACH)
    while process.poll() is None and not searches(home):
        time.sleep(0.1)
    outcome = invoke("watch", "digits", "--home", home)
    assert (outcome.code, outcome.err) == (process.wait(), "")
    ended = re.findall(r"^[\d-]+ [\d:]+  trial (\d) (?:complete|pruned): [\d.]+ %$", outcome.out, re.MULTILINE)
    assert sorted(ended) == ["0", "1", "2"]
    assert "\nsearch digits ends after 3 of 3 trials\n" in outcome.out
    assert outcome.out.endswith(invoke("best", "digits", "--home", home).out)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("verb", [("watch",), ("status", "--watch", "1")], ids=lambda words: words[0])
@pytest.mark.slow  # a process of its own that watches
def test_ctrl_c_ends_the_watching_and_leaves_the_search_alone(
    start: Callable[..., subprocess.Popen[str]], home: Path, verb: tuple[str, ...]
) -> None:
    with owned(home):
        process = start(*verb, "digits", stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130
        assert said.startswith(f"search 'digits' is left alone; `autokd watch digits --home {home}` shows it again\n")
        progress = find("digits", home).progress
        assert (progress.status, find("digits", home).row.lease_pid) == ("running", os.getpid())


def test_a_finished_search_is_watched_to_its_result(invoke: Any, finished: Path) -> None:
    outcome = invoke("watch", "digits", "--home", finished)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("search digits ends after 3 of 3 trials\n")
    assert outcome.out.endswith(invoke("best", "digits", "--home", finished).out)


def test_the_json_of_a_watched_search_is_that_of_its_result(invoke: Any, finished: Path) -> None:
    watched = invoke("watch", "digits", "-o", "json", "--home", finished)
    assert json.loads(watched.out) == json.loads(invoke("best", "digits", "-o", "json", "--home", finished).out)
    assert "search digits ends after 3 of 3 trials" in watched.err


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [("interrupted", 4, "was interrupted; `autokd resume digits"), ("failed", 5, "failed: the process that ran it")],
)
def test_a_search_that_did_not_finish_has_the_exit_code_of_its_end(
    invoke: Any, home: Path, status: str, code: int, said: str
) -> None:
    leave(home, status)
    outcome = invoke("watch", "digits", "--home", home)
    assert outcome.code == code
    assert outcome.err.startswith(f"autokd: search 'digits' {said}")


@pytest.mark.parametrize(
    ("status", "ends", "code", "said"),
    [
        ("interrupted", [("running", 1), ("complete", 2)], 0, ""),
        ("interrupted", [("complete", 2), ("complete", 2)], 4, "`autokd resume digits"),
        ("finished", [("running", 1), ("complete", 2)], 0, ""),
        ("finished", [("running", 1), ("running", 2)], 4, "`autokd train digits"),
        ("finished", [("running", 1), ("running", 1)], 0, ""),
        ("finished", [("running", 1), ("failed", 1)], 5, "the full-length trainings of search 'digits' failed"),
    ],
    ids=["trained", "only searched", "trained when all was searched", "interrupted", "left by another", "failed"],
)
def test_what_is_watched_may_be_a_training_beside_the_search(
    invoke: Any,
    finished: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    ends: list[tuple[str, float]],
    code: int,
    said: str,
) -> None:
    result = find("digits", finished)
    (look,) = watching.watch(result, 0)
    now = replace(result.progress, status=status)
    looks = [
        replace(look, progress=now, trainings=[replace(each, state=state, epochs_done=done) for each in look.trainings])
        for state, done in ends
    ]
    monkeypatch.setattr("autokd.cli.watch.watch", lambda *_: looks)
    outcome = invoke("watch", "digits", "--home", finished)
    assert outcome.code == code, outcome.err
    assert said in outcome.err


def test_a_search_whose_process_was_killed_is_interrupted(invoke: Any, home: Path) -> None:
    with Workspace(home).open() as store:
        lease = acquire(store, "digits")
        store.set_status(lease, "running")
        release(store, lease)
    assert invoke("watch", "digits", "--home", home).code == 4


@pytest.mark.parametrize("output", ["text", "json"])
def test_the_status_of_a_search_that_has_ended_is_shown_once(invoke: Any, finished: Path, output: str) -> None:
    words = ("status", "digits", "-o", output, "--home", finished)
    assert invoke(*words, "--watch", "0.1").out == invoke(*words).out


@pytest.mark.slow  # a process of its own that writes without a pause
def test_the_status_is_shown_again_while_a_process_writes_as_fast_as_it_can(invoke: Any, home: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", WRITER, str(home / "autokd.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "running\n"
        outcome = invoke("status", "digits", "--watch", "0.1", "--home", home)
        assert (outcome.code, outcome.err, writer.wait()) == (0, "", 0)
    first, *_, last = outcome.out.split("\n\n")
    assert "digits (running)" in first
    assert "digits (finished)" in last

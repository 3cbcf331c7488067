"""A search killed again and again records what the unkilled one does: nothing lost, nothing twice, the same bits."""

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest

from autokd.database.store import Store

KILLS = 6  # with each recipe
TRIALS = 18
NAME = "killed"
SETTINGS = (
    "workers.count=1",
    f"trials={TRIALS}",
    "space.name=nago",
    "training.rungs=[2, 4]",
    "training.views=2",
    "training.precision=float32",  # "auto" measures, and may find otherwise in the second search
)
Start = Callable[[Path, str, str], subprocess.Popen[bytes]]
RECIPES = {
    "cosine": ('training.schedule="cosine"', "references.names=none"),
    "stable": (
        'training.schedule="stable"',
        "training.cooldown=0.6",
        "training.ema=0.9",
        'references.names=["resnet", "no-teacher"]',
    ),
}


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts controllers, which do not outlive the test, however that ends."""
    controllers: list[subprocess.Popen[bytes]] = []

    def start(home: Path, verb: str, recipe: str) -> subprocess.Popen[bytes]:
        settings = [word for setting in (*SETTINGS, *RECIPES[recipe]) for word in ("--set", setting)]
        words = ["search", "digits", "--name", NAME, *settings] if verb == "search" else ["resume", NAME]
        command = [sys.executable, "-m", "autokd", *words, "--home", str(home)]
        controllers.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        return controllers[-1]

    yield start
    for controller in controllers:
        if controller.poll() is None:
            _kill(controller)


@pytest.mark.slow  # eight starts of a controller with its worker
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("recipe", RECIPES)
def test_search_killed_again_and_again_records_the_same_rows_as_an_unkilled_one(
    tmp_path: Path, start: Start, recipe: str
) -> None:
    started = time.monotonic()
    controller = start(tmp_path / "whole", "search", recipe)
    _wait_for_first_trial(tmp_path / "whole", controller)
    begun = time.monotonic()
    assert controller.wait() == 0
    work = time.monotonic() - begun

    kills = _kill_and_resume(start, tmp_path / "killed", begun - started, work, recipe)

    assert kills == KILLS
    assert _rows(tmp_path / "killed") == _rows(tmp_path / "whole")


def _kill_and_resume(start: Start, home: Path, start_seconds: float, work_seconds: float, recipe: str) -> int:
    """Kill controller and workers at random moments and resume, then let the search end; how often it was killed."""
    moments = random.Random(0)
    kills = 0
    while True:
        controller = start(home, "resume" if _is_recorded(home) else "search", recipe)
        if kills == KILLS:
            assert controller.wait() == 0
            return kills
        _wait(
            home, controller, start_seconds * moments.uniform(0.4, 1.0) + work_seconds * moments.uniform(0, 1 / KILLS)
        )
        if controller.poll() is not None:
            return kills
        _kill(controller)
        kills += 1


def _wait(home: Path, controller: subprocess.Popen[bytes], seconds: float) -> None:
    """For so long, but not beyond the search's end or what it may do between two kills.

    On a machine that has become faster the time alone would let it end before the last kill.
    """
    end, most = time.monotonic() + seconds, _n_trials(home) + TRIALS // KILLS - 1
    while controller.poll() is None and (left := end - time.monotonic()) > 0 and _n_trials(home) < most:
        time.sleep(min(left, 0.1))


def _kill(controller: subprocess.Popen[bytes]) -> None:
    process = psutil.Process(controller.pid)
    for member in (process, *process.children(recursive=True)):
        member.kill()
    controller.wait()


def _wait_for_first_trial(home: Path, controller: subprocess.Popen[bytes]) -> None:
    while controller.poll() is None and not _n_trials(home):
        time.sleep(0.1)


def _is_recorded(home: Path) -> bool:
    if not (home / "autokd.db").exists():
        return False
    with Store(home / "autokd.db") as store:
        return any(search.name == NAME for search in store.searches())


def _n_trials(home: Path) -> int:
    return len(_rows(home)["trials"]) if _is_recorded(home) else 0


def _rows(home: Path) -> dict[str, list[dict[str, Any]]]:
    """Everything recorded of the search, but clocks."""
    with Store(home / "autokd.db") as store:
        search = store.search(NAME)
        tables: dict[str, list[Any]] = {
            "trials": store.trials(search.id),
            "references": store.references(search.id),
            "students": store.students(search.id),
            "evaluations": store.evaluations(search.id),
        }
    clocks = {"created_at", "finished_at", "seconds", "worker"}
    return {
        name: [{key: value for key, value in asdict(row).items() if key not in clocks} for row in rows]
        for name, rows in tables.items()
    }

"""The walk through `docs/howto/many-machines.md`, all on this machine, and a worker is killed on the way."""

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from clusters import running_cluster
from pages import PAGES, ROOT, block

from autokd.searches.api import find, find_all
from autokd.searches.workspace import Workspace
from autokd.testing.executors import wait_until

PAGE = PAGES["howto/many-machines.md"]
SHORT = ("trials=2", "training.rungs=[1, 6]", "training.views=1", "space.name=nago", "references.names=none")
Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a command of the page; it and what it starts do not outlive the test, however that ends."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, sys.path)]))
    started: list[subprocess.Popen[str]] = []

    def start(line: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", *shlex.split(line)]
        with (tmp_path / f"{len(started)}.log").open("w") as log:
            started.append(subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, text=True))
        return started[-1]

    yield start
    for process in reversed(started):
        if process.poll() is None:
            kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL to a process and all that descend from it, as if the power of its machine failed."""
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for each in family:
        each.kill()
    process.wait()


@pytest.mark.slow  # a database, a scheduler, two workers and a search, all of which load a lot
def test_a_search_on_dask_ends_well_though_a_worker_is_killed(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed: pip install 'autokd[dask]'")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    scheduler, worker = block("sh", "dask worker", PAGE).replace("10.0.0.1:8786", f"127.0.0.1:{port}").splitlines()[:2]
    search = block("sh", "workers.engine=dask", PAGE).replace("10.0.0.1:8786", f"127.0.0.1:{port}").strip()
    with running_cluster() as database:
        home = Workspace(tmp_path / "home", database.emptied())
        for name, value in {"AUTOKD_HOME": str(home.folder), "AUTOKD_DATABASE": str(home.url)}.items():
            assert f"export {name}=" in block("sh", "AUTOKD_HOME", PAGE)
            monkeypatch.setenv(name, value)
        start(scheduler.replace("8786", str(port)))
        machines = [start(worker.replace("--nworkers 4", "--nworkers 1")) for _ in range(2)]
        searching = start(" ".join([search, *(f"--set {shlex.quote(setting)}" for setting in SHORT)]))
        wait_until(lambda: searching.poll() is not None or is_training(home), 240)
        kill(machines[0])
        assert searching.wait(240) == 0, (tmp_path / "3.log").read_text()
        progress = find("digits", home).progress
        assert (progress.status, progress.finished, progress.failed) == ("finished", 2, 0)


def is_training(home: Workspace) -> bool:
    """Whether two evaluations are under way."""
    return len([each for search in find_all(home) for each in search.progress.evaluations]) == 2

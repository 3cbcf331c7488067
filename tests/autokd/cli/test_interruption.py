"""Signals to a search and to a training in processes of their own, as a terminal or a service manager sends them."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from autokd.cli.interruption import listen, raise_if_interrupted
from autokd.cli.reporting import reporter
from autokd.errors import InputError
from autokd.searches.api import find
from autokd.searches.result import SearchResult
from autokd.searches.workspace import Workspace

pytestmark = pytest.mark.usefixtures("interruptible")

INLINE = ("--set", "workers.engine=inline", "--set", "workers.count=1")
LONG = (
    "--set",
    "trials=500",
    "--set",
    "training.rungs=[1, 2]",
    "--set",
    "training.views=1",
    "--set",
    "data.subset=300",
    "--set",
    "workers.count=1",
    "--set",
    "references.names=none",
)


class Controller:
    """A command in a process group of its own."""

    def __init__(self, home: Path, *words: str) -> None:
        command = [sys.executable, "-m", "autokd", *words, "--home", str(home)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, text=True, start_new_session=True, env=environment, **pipes)
        self.home = Workspace(home)

    def wait_until(self, reached: Callable[[SearchResult], bool]) -> SearchResult:
        """The search, once it got there."""
        while self.process.poll() is None:
            try:
                result = find("digits", self.home)
                if reached(result):
                    return result
            except InputError:  # not recorded yet
                pass
            time.sleep(0.1)
        raise AssertionError(self.process.communicate())

    def stop(self, send: Callable[[int], None]) -> tuple[int, str]:
        """Exit code and last words after the signal; no worker outlives it."""
        workers = psutil.Process(self.process.pid).children(recursive=True)
        send(self.process.pid)
        _, err = self.process.communicate(timeout=60)
        _, alive = psutil.wait_procs(workers, timeout=10)
        assert alive == []
        return self.process.returncode, err


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Controller]]:
    controllers: list[Controller] = []

    def launch(*words: str) -> Controller:
        controllers.append(Controller(tmp_path / "home", *words))
        return controllers[-1]

    yield launch
    for controller in controllers:
        if controller.process.poll() is None:
            os.killpg(controller.process.pid, signal.SIGKILL)
            controller.process.communicate()


def control_c(pid: int) -> None:
    """What a terminal does: the signal reaches the workers, too."""
    os.killpg(pid, signal.SIGINT)


def terminate(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)


@pytest.mark.slow  # a controller and its worker must start: seconds of imports
def test_ctrl_c_leaves_a_search_that_resumes_and_until_then_it_has_one_controller(start, invoke, tmp_path: Path):
    controller, home = start("search", "digits", *LONG), tmp_path / "home"
    controller.wait_until(lambda result: result.progress.finished >= 1)
    running = json.loads(invoke("status", "digits", "--home", home, "-o", "json").out)
    assert running["controller"] == {"host": socket.gethostname(), "pid": controller.process.pid}
    second = invoke("resume", "digits", "--home", home)
    owner = rf"process {controller.process.pid} on {re.escape(socket.gethostname())} \(last heartbeat \d+ s ago\)"
    assert (second.code, second.out) == (2, "")
    assert re.search(
        rf"^autokd: .*'digits' is run by {owner}, and only one controller may run it: end it first\.\n$", second.err
    )

    code, err = controller.stop(control_c)
    message = f"autokd: search 'digits' was interrupted; `autokd resume digits --home {home}` goes on.\n"
    assert (code, err) == (4, message)
    status = json.loads(invoke("status", "digits", "--home", home, "-o", "json").out)
    assert (status["status"], status["controller"]) == ("interrupted", None)

    trials = status["complete"] + status["pruned"] + status["running"] + 1
    resumed = invoke("resume", "digits", "--set", f"trials={trials}", *INLINE, "--home", home)
    assert resumed.code == 0, resumed.err
    states = {record.trial.state for record in find("digits", Workspace(home)).trials}
    assert states <= {"complete", "pruned"}
    assert f"{trials}/{trials} trials" in resumed.out


@pytest.mark.slow  # a controller and its worker must start: seconds of imports
def test_sigterm_leaves_a_training_that_goes_on(start, invoke, tmp_path: Path, tiny):
    home = tmp_path / "home"
    assert invoke("search", "digits", *tiny, "--home", home).code == 0
    long = ("--set", "final.epochs=400", "--set", "workers.engine=local", "--set", "final.families=1")
    controller = start("train", "digits", *long)
    controller.wait_until(lambda result: any(training.epochs_done >= 2 for training in result.trainings))
    code, err = controller.stop(terminate)
    message = f"autokd: search 'digits' was interrupted; `autokd train digits --home {home}` goes on.\n"
    assert (code, err) == (4, message)
    text = invoke("status", "digits", "--home", home).out
    assert "digits (finished)" in text
    assert re.search(rf"go on with +autokd train digits --home {home}\n", text)
    assert re.search(r"student 0: epoch \d+ of 400", text)
    done = invoke("train", "digits", *INLINE, "--set", "final.epochs=2", "--home", home)
    assert done.code == 0, done.err


@pytest.mark.slow  # a controller must start: seconds of imports
def test_a_reader_that_leaves_stops_the_search_resumably(start, tiny):
    controller = start("search", "digits", *tiny, "--set", "trials=50")
    assert controller.process.stdout.readline().startswith("reading data, ")
    assert controller.process.stdout.readline().startswith("asking the teacher ")
    assert controller.process.stdout.readline().startswith("data ")
    controller.wait_until(lambda result: True)
    controller.process.stdout.close()
    controller.process.stdout = None
    _, err = controller.process.communicate(timeout=60)
    assert (controller.process.returncode, err.count("\n")) == (4, 1)
    assert "`autokd resume digits" in err


def test_an_interruption_that_python_drops_is_told_with_the_next_news(monkeypatch: pytest.MonkeyPatch):
    class Collected:
        pass

    monkeypatch.setattr("sys.unraisablehook", lambda unraisable: dropped.append(unraisable.exc_type))
    dropped: list[object] = []
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        listen()
        raise_if_interrupted()
        collected = Collected()
        reference = weakref.ref(collected, lambda reference: signal.raise_signal(signal.SIGTERM))
        del collected
        assert (reference(), dropped) == (None, [KeyboardInterrupt])
        with reporter(to_stderr=True) as news, pytest.raises(KeyboardInterrupt):
            news.prepared(1, 2)
        listen()
        raise_if_interrupted()
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)

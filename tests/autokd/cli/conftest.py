"""What tests of the command line share: a way to call it, and one small finished search to look at."""

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from autokd.cli import main

TINY = (
    *("--set", "trials=3", "--set", "training.rungs=[1, 2]", "--set", "training.views=1"),
    *("--set", "final.epochs=2", "--set", "workers.engine=inline", "--set", "workers.count=1"),
    *("--set", "references.names=none", "--set", "space.name=nago"),
    *("--set", "training.precision=float32"),  # "auto" measures, and may find otherwise in another search
)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT is not ignored, as it is in a shell's background jobs and in all processes that these start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str


Invoke = Callable[..., Outcome]


@pytest.fixture(scope="session")
def invoke() -> Invoke:
    """Runs a command in this process: `invoke("list", "-o", "json")`."""

    def run(*words: object, out: io.StringIO | None = None) -> Outcome:
        out, err = out or io.StringIO(), io.StringIO()
        before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
        arguments = mock.patch.object(sys, "argv", ["autokd", *map(str, words)])
        try:
            with arguments, redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
                main()
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)
        return Outcome(int(left.value.code or 0), out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    """Options that make the digits recipe take two seconds, in this process."""
    return TINY


@pytest.fixture(scope="session")
def finished(invoke: Invoke, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the search `digits`, finished, its winner trained and exported to `exported`; not to be changed."""
    home = tmp_path_factory.mktemp("finished")
    outcome = invoke("search", "digits", *TINY, "--home", home, "--export", home / "exported")
    assert (outcome.code, outcome.err) == (0, "")
    return home


@pytest.fixture
def home(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished home, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "home"))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts commands in processes of their own, which do not outlive the test; they use the folder of `home`."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "autokd", *words, "--home", str(tmp_path / "home")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        started.append(subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment))
        return started[-1]

    yield start
    for process in started:
        with process:
            process.kill()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty current folder, 80 columns, no variables of ours, and imports as they were afterwards."""
    for name in ("AUTOKD_HOME", "AUTOKD_DATABASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "path", [str(Path(entry).absolute()) if entry else os.getcwd() for entry in sys.path])
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    modules = set(sys.modules)
    yield
    for name in set(sys.modules) - modules:
        if name.startswith("my_"):
            del sys.modules[name]


@pytest.fixture
def refused(invoke: Invoke, tiny: tuple[str, ...], tmp_path: Path) -> Callable[..., str]:
    """Searches the digits recipe with changes; returns the one line that refused it, having written nothing."""

    def search(*changes: str, code: int = 2) -> str:
        settings = [word for change in changes for word in ("--set", change)]
        outcome = invoke("search", "digits", *tiny, *settings, "--home", tmp_path / "new")
        assert outcome.code == code, outcome.err
        assert outcome.err.startswith("autokd: ")
        assert outcome.err.count("\n") == 1
        assert not (tmp_path / "new").exists()
        return str(outcome.err)

    return search

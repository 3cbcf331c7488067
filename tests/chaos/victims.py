"""A search as a user runs it, by commands in processes of their own, which can be struck and goes on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import psutil
from evidence import Evidence, read_events, read_evidence
from invariants import marked_processes
from stages import Stage, stage_of

from autokd.database.errors import DatabaseGone
from autokd.searches.workspace import Workspace

__all__ = ["RECIPES", "Hung", "Recipe", "Victim"]

ROOT = Path(__file__).resolve().parents[2]
NAME = "victim"
LOOK_SECONDS = 0.2
MOST_LOOKS = 20  # for evidence
PATIENCE_SECONDS = 300.0
"""The longest that a search may do nothing that it records, on a busy machine, before it counts as hung."""


_LEASES = {"lease_acquired", "lease_released"}
_BOOKKEEPING = {*_LEASES, "status_changed"}


class Hung(Exception):  # noqa: N818 (it is what happened)
    """A search records nothing any more and does not end."""


@dataclass(frozen=True)
class Recipe:
    """A tiny search of digits that comes through every stage.

    Attributes:
        settings: What it changes.
        prunings: Number of rounds in which it prunes its teacher.
        assistants: Number of assistants that it trains.
    """

    settings: tuple[str, ...]
    prunings: int = 0
    assistants: int = 0


_ALL = (
    *("trials=4", "training.rungs=[1, 2]", "training.views=1", "space.name=nago", "final.epochs=2"),
    *("final.families=1", "workers.count=1", 'references.names=["no-teacher"]'),
    "training.precision=float32",  # "auto" measures, and may find otherwise in the second search
)
RECIPES = {
    "cosine": Recipe((*_ALL, 'training.schedule="cosine"')),
    "stable": Recipe(
        (
            *_ALL,
            *('training.schedule="stable"', "training.cooldown=0.6", "training.ema=0.9", "training.warm_start=0.5"),
            *("teacher.pruning.shares=[0.2]", "teacher.pruning.epochs=2"),
        ),
        prunings=1,
    ),
    "panel": Recipe(
        (
            *(*_ALL, 'training.schedule="cosine"', 'distillation.method="takd+kd"'),
            *('panel.assistants=[{name="middle", params=20000}]', "panel.epochs=3"),
        ),
        assistants=1,
    ),
}


@dataclass
class Victim:
    """One search with its controller, if that runs.

    Attributes:
        folder: An existing folder for the home of searches and the log of all commands.
        recipe: What is searched.
        engine: Settings that say where it trains.
        url: The database; None for SQLite in the home.
        mark: Stands in the environment of all its processes.
        worker_mark: The same of the workers of a cluster that is not its own; None if there is none.
        spoilt: See `Evidence`.
        complaints: What went wrong at once, one line each.
    """

    folder: Path
    recipe: Recipe
    engine: tuple[str, ...]
    url: str | None = None
    mark: str = field(default_factory=lambda: f"AUTOKD_CHAOS={uuid4().hex}")
    worker_mark: str | None = None
    spoilt: dict[Path, int] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    _controller: subprocess.Popen[bytes] | None = None

    @property
    def workspace(self) -> Workspace:
        """Where it is recorded."""
        return Workspace(self.folder / "home", self.url)

    @property
    def log(self) -> Path:
        """What its commands have printed."""
        return self.folder / "log.txt"

    @property
    def controller(self) -> psutil.Process | None:
        """The process of its controller, if it lives."""
        return psutil.Process(self._controller.pid) if self.is_running and self._controller else None

    @property
    def is_running(self) -> bool:
        """Whether its controller lives."""
        return self._controller is not None and self._controller.poll() is None

    @property
    def code(self) -> int | None:
        """Exit code of its last controller; None while that lives."""
        return None if self._controller is None else self._controller.poll()

    @property
    def stage(self) -> Stage:
        """The stage that it is in, as far as its database can be read."""
        return stage_of(read_events(self.workspace, NAME), self.recipe.prunings, self.recipe.assistants)

    @property
    def workers(self) -> list[psutil.Process]:
        """The processes that were spawned to work for it."""
        marked = marked_processes(self.worker_mark or self.mark)
        spawned = [process for process in marked if "spawn_main" in " ".join(_words(process))]
        return sorted(spawned, key=lambda process: process.pid)

    @property
    def words(self) -> list[str]:
        """The command that begins it, or goes on with it if it is recorded, through all its stages."""
        settings = [word for setting in (*self.recipe.settings, *self.engine) for word in ("--set", setting)]
        words = ["resume", NAME] if self.n_events else ["search", "digits", "--name", NAME, *settings]
        home = self.workspace.folder
        return [*words, "--home", str(home), "--export", str(home / "student")]

    def start(self, before: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> None:
        """Start its controller, or go on with the search if that is recorded.

        Args:
            before: A command that starts it, such as `unshare`.
            environment: Further variables.
        """
        command = [*before, sys.executable, "-m", "autokd", *self.words]
        name, _, value = self.mark.partition("=")
        ours = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", name: value}
        if self.url:
            ours["AUTOKD_DATABASE"] = self.url
        with self.log.open("ab") as log:
            self._controller = subprocess.Popen(
                command,
                env={**os.environ, **ours, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )

    def release(self) -> subprocess.Popen[bytes]:
        """Its controller, which is none of its own from now on."""
        assert self._controller is not None
        released, self._controller = self._controller, None
        return released

    @property
    def n_news(self) -> int:
        """Number of events that tell of progress."""
        return sum(event.kind not in _BOOKKEEPING for event in read_events(self.workspace, NAME))

    @property
    def owns_lease(self) -> bool:
        """Whether its controller has taken the search."""
        leases = [each for each in read_events(self.workspace, NAME) if each.kind == "lease_acquired"]
        return self._controller is not None and leases[-1:] != [] and leases[-1].payload["pid"] == self._controller.pid

    @property
    def is_owned(self) -> bool:
        """Whether a controller has taken it and not released it, dead or alive."""
        leases = [each.kind for each in read_events(self.workspace, NAME) if each.kind in _LEASES]
        return leases[-1:] == ["lease_acquired"]

    @property
    def n_leases(self) -> int:
        """How often a controller has taken it."""
        return [event.kind for event in read_events(self.workspace, NAME)].count("lease_acquired")

    @property
    def n_events(self) -> int:
        """Number of its events; 0 while its database cannot be read."""
        return len(read_events(self.workspace, NAME))

    def terminate(self) -> None:
        """SIGTERM to its controller, which leaves a search that can be resumed."""
        if self._controller is not None:
            self._controller.terminate()
            self._controller.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """SIGKILL to its controller alone; the workers must see to their end themselves."""
        if self._controller is not None:
            self._controller.kill()
            self._controller.wait()

    def kill_all(self) -> None:
        """SIGKILL to all its processes, as if the power failed."""
        for process in marked_processes(self.mark):
            process.kill()
        if self._controller is not None:
            self._controller.wait()

    def wait(self, reached: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> bool:
        """Wait until something is reached, and return whether it was before the controller ended.

        Args:
            reached: Whether it is.
            seconds: The longest time without a new event.

        Raises:
            Hung: If the search does nothing for too long.
        """
        seen, deadline = self.n_events, time.monotonic() + seconds
        while self.is_running:
            if reached():
                return True
            if (now := self.n_events) != seen:
                seen, deadline = now, time.monotonic() + seconds
            if time.monotonic() > deadline:
                raise Hung(f"nothing was recorded for {seconds:g} s")
            time.sleep(LOOK_SECONDS)
        return False

    def evidence(self) -> Evidence | None:
        """What it has left behind; its controller is stopped meanwhile.

        A controller that is stopped while it writes keeps all others from its database, so it is let go on then.

        Raises:
            DatabaseGone: If the database cannot be read even so.
        """
        for _ in range(MOST_LOOKS - 1):
            with suppress(DatabaseGone):
                return self._evidence()
            time.sleep(LOOK_SECONDS)
        return self._evidence()

    def _evidence(self) -> Evidence | None:
        with self.frozen():
            found = read_evidence(self.workspace, NAME)
        return found and replace(found, spoilt=dict(self.spoilt))

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """A block in which its controller does nothing, but may hold what it held."""
        controller = self.controller
        if controller is None:
            yield
            return
        controller.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            controller.send_signal(signal.SIGCONT)

    @property
    def last_words(self) -> str:
        """The last line that a command has printed, without the path of its folder."""
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        return lines[-1].replace(f"{self.folder}/", "") if lines else ""


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []

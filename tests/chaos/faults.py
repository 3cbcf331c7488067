"""What is done to a search: each fault is a function that strikes it once, and leaves its controller dead or alive."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import psutil
from clocks import SteppedClock, lacks_compiler
from stages import STAGES, Stage
from victims import LOOK_SECONDS, Victim

__all__ = ["FAULTS", "Arena", "Fault", "Missed"]

WITH_WORKERS: tuple[Stage, ...] = ("pruning", "panel", "outputs", "trials", "reference", "training")
LEASE_SECONDS = 60
BACK_SECONDS = 3600
LEAVING_SECONDS = 60


class Missed(Exception):  # noqa: N818 (it is what happened)
    """A fault had nothing to strike."""


@dataclass(frozen=True)
class Arena:
    """What surrounds a search and can fail.

    Attributes:
        cluster: The PostgreSQL server, `clusters.Cluster`; None with SQLite.
        disk: The small disk of the search's home; None if it is on a large one.
        link: Name of the network link to the one worker; None if that is on this machine.
        worker_mark: The mark of that worker's processes.
    """

    cluster: Any = None
    disk: Path | None = None
    link: str | None = None
    worker_mark: str | None = None

    @property
    def is_postgresql(self) -> bool:
        """Whether a server keeps the rows."""
        return self.cluster is not None


Strike = Callable[[Victim, Arena, Random], None]


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: Its name on the command line.
        strike: Does it.
        stages: The stages that it can hit.
        kills: Number of SIGKILLs that it counts as.
        lacks: What it needs and this machine or arena lacks, in words; None if it can be done.
        prepare: Starts the controller anew in a way that the fault needs, before its moment comes.
    """

    name: str
    strike: Strike
    stages: tuple[Stage, ...] = STAGES
    kills: int = 0
    lacks: Callable[[Arena], str | None] = lambda arena: None
    prepare: Strike | None = None


def _kill_controller(victim: Victim, arena: Arena, chance: Random) -> None:
    victim.kill()


def _kill_all(victim: Victim, arena: Arena, chance: Random) -> None:
    victim.kill_all()


def _kill_worker(victim: Victim, arena: Arena, chance: Random) -> None:
    _one(victim, chance).kill()


def _stop_worker(victim: Victim, arena: Arena, chance: Random) -> None:
    """SIGSTOP to a worker for a while."""
    _pause(_one(victim, chance), chance.uniform(1, 6))


def _stop_controller(victim: Victim, arena: Arena, chance: Random) -> None:
    """SIGSTOP to the controller for longer than a heartbeat; on its own machine it keeps its lease."""
    if victim.controller is not None:
        _pause(victim.controller, chance.uniform(6, 10))


def _elsewhere(victim: Victim, arena: Arena, chance: Random) -> None:
    """Start the controller in a namespace of processes, which to other controllers is another machine.

    The one before must take and release the lease: on another machine nobody sees that an owner is dead before it was
    silent for long.
    """
    victim.wait(lambda: victim.owns_lease)
    victim.terminate()
    victim.start(before=("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"))


def _outlive_lease(victim: Victim, arena: Arena, chance: Random) -> None:
    """SIGSTOP to a controller until another machine has taken its search over, then SIGCONT: it must leave at once.

    With SQLite the clock of the one that takes over is ahead, which spares a minute; a server's clock is its own.
    """
    processes = _stop_owner(victim)
    first = victim.release()
    if arena.is_postgresql:
        time.sleep(LEASE_SECONDS + 5)
    leases = victim.n_leases
    victim.start(environment={} if arena.is_postgresql else SteppedClock(victim.folder, LEASE_SECONDS + 30).environment)
    victim.wait(lambda: victim.n_leases > leases)
    time.sleep(chance.uniform(0, 5))
    _signal(processes, signal.SIGCONT)
    _see_it_leave(victim, first, processes)


def _stop_owner(victim: Victim) -> list[psutil.Process]:
    """SIGSTOP to a controller while it owns its search, which between trials and the winner's training nobody does.

    Returns the controller and its workers.

    Raises:
        Missed: If it ends, or an export begins, which needs no lease.
    """
    while victim.wait(lambda: victim.is_owned or victim.stage == "export") and victim.controller is not None:
        processes = [victim.controller, *victim.controller.children(recursive=True)]
        _signal(processes, signal.SIGSTOP)
        if victim.stage != "export" and victim.is_owned:
            return processes
        _signal(processes, signal.SIGCONT)
        if victim.stage == "export":
            break
    raise Missed("its controller needs no lease any more")


def _restart_database(victim: Victim, arena: Arena, chance: Random) -> None:
    if chance.random() < 0.5:
        arena.cluster.stop("immediate")
    else:
        arena.cluster.kill()
    time.sleep(chance.uniform(0, 4))
    arena.cluster.start()


def _fill_disk(victim: Victim, arena: Arena, chance: Random) -> None:
    """Leave no byte on the disk for some seconds."""
    assert arena.disk is not None
    filler = arena.disk / "filler"
    until = time.monotonic() + chance.uniform(3, 8)
    with filler.open("wb", buffering=0) as file:
        while time.monotonic() < until:
            with suppress(OSError):
                while file.write(b"\0" * 4096):
                    pass
            time.sleep(LOOK_SECONDS)
    filler.unlink()


def _cut_network(victim: Victim, arena: Arena, chance: Random) -> None:
    """Take the link to the worker down, for a moment or for longer than its connections last."""
    assert arena.link is not None
    _ip("link", "set", arena.link, "down")
    time.sleep(chance.choice((2, 10, 45)))
    _ip("link", "set", arena.link, "up")


def _corrupt_checkpoint(victim: Victim, arena: Arena, chance: Random) -> None:
    """Power fails, and the newest checkpoint loses its end, all its bytes, or a few in its middle."""
    victim.wait(lambda: bool(_checkpoints(victim)) or victim.stage == "export")
    victim.kill_all()
    whole = [file for file in _checkpoints(victim) if victim.spoilt.get(file) != file.stat().st_ino]
    newest = max(whole, key=lambda file: file.stat().st_mtime, default=None)
    if newest is None:
        return  # the kill has come between two trainings, or before the next checkpoint
    content = newest.read_bytes()
    middle = chance.randrange(len(content) // 2, len(content) - 8)
    damaged = (content[: chance.randrange(len(content))], b"", content[:middle] + bytes(8) + content[middle + 8 :])
    newest.write_bytes(chance.choice(damaged))
    victim.spoilt[newest] = newest.stat().st_ino


def _with_clock(victim: Victim, arena: Arena, chance: Random) -> None:
    """Start the controller with a clock that can be stepped."""
    victim.kill_all()
    victim.start(environment=SteppedClock(victim.folder).environment)


def _step_clock_back(victim: Victim, arena: Arena, chance: Random) -> None:
    """The clock of controller and workers goes an hour back."""
    SteppedClock(victim.folder, -BACK_SECONDS)
    time.sleep(2)


def _one(victim: Victim, chance: Random) -> psutil.Process:
    """A worker, waited for."""
    victim.wait(lambda: bool(victim.workers) or victim.stage == "export")
    if not (workers := victim.workers):
        raise Missed("the search needs no worker any more")
    return chance.choice(workers)


def _pause(process: psutil.Process, seconds: float) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        process.send_signal(signal.SIGCONT)


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _see_it_leave(victim: Victim, controller: subprocess.Popen[bytes], processes: list[psutil.Process]) -> None:
    """Complain of a controller that does not leave with an error though it has lost its lease, or of its workers."""
    try:
        if controller.wait(LEAVING_SECONDS) == 0:
            victim.complaints.append("a controller that had lost its lease ended as if nothing was")
    except subprocess.TimeoutExpired:
        victim.complaints.append(f"a controller that had lost its lease runs on after {LEAVING_SECONDS} s")
    _, alive = psutil.wait_procs(processes, LEAVING_SECONDS)
    for process in alive:
        victim.complaints.append(f"process {process.pid} of a controller that had lost its lease lives on")
        process.kill()


def _checkpoints(victim: Victim) -> list[Path]:
    home = victim.workspace.folder
    trained = (home.glob(f"searches/*/{folder}/*/checkpoint*.safetensors") for folder in ("evaluations", "panel"))
    return [*chain.from_iterable(trained), *home.glob("teachers/*/*checkpoint*")]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _without_root(arena: Arena) -> str | None:
    return None if os.geteuid() == 0 and shutil.which("unshare") else "only root may make namespaces"


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("kill-controller", _kill_controller, kills=1),
        Fault("kill-all", _kill_all, kills=1),
        Fault("kill-worker", _kill_worker, WITH_WORKERS, kills=1),
        Fault("stop-worker", _stop_worker, WITH_WORKERS),
        Fault("stop-controller", _stop_controller),
        Fault(
            "outlive-lease",
            _outlive_lease,
            ("trials", "reference", "training"),
            lacks=lambda arena: _without_root(arena) or (None if arena.is_postgresql else lacks_compiler()),
            prepare=_elsewhere,
        ),
        Fault(
            "restart-database",
            _restart_database,
            lacks=lambda arena: None if arena.is_postgresql else "SQLite has no server",
        ),
        Fault("fill-disk", _fill_disk, lacks=lambda arena: None if arena.disk else "only root may mount a small disk"),
        Fault(
            "cut-network", _cut_network, WITH_WORKERS, lacks=lambda arena: None if arena.link else "no worker is remote"
        ),
        Fault(
            "corrupt-checkpoint", _corrupt_checkpoint, ("pruning", "panel", "trials", "reference", "training"), kills=1
        ),
        Fault("step-clock-back", _step_clock_back, lacks=lambda arena: lacks_compiler(), prepare=_with_clock),
    )
}
"""All kinds of faults by name."""

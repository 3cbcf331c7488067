"""What surrounds a search in a chaos run: a database, a small disk, a worker behind a network link."""

import os
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import psutil
from clusters import running_cluster
from faults import Arena
from invariants import marked_processes
from victims import ROOT

__all__ = ["entered"]

DISK_MIB = 64
PORT = 8786
_LAUNCHER = ("sh", "-c", 'while :; do "$0" "$@"; sleep 1; done')
"""Starts a command again and again: a worker of Dask ends once it has not heard of its scheduler for 30 seconds."""


@contextmanager
def entered(
    folder: Path, database: str, engine: str, faults: Collection[str]
) -> Iterator[tuple[Arena, tuple[str, ...], str | None]]:
    """The surroundings of one search, gone afterwards, with the settings of its engine and the URL of its database.

    Args:
        folder: An existing folder; the search's home will be `home` in it.
        database: "sqlite" or "postgresql".
        engine: "local" or "dask".
        faults: Names of the faults that are wanted: a disk or a link is made only for those that need it.
    """
    with ExitStack() as stack:
        cluster = stack.enter_context(running_cluster()) if database == "postgresql" else None
        is_root = os.geteuid() == 0
        disk = stack.enter_context(_small_disk(folder / "home")) if is_root and "fill-disk" in faults else None
        settings: tuple[str, ...] = (f"workers.engine={engine}",)
        link = mark = None
        if engine == "dask" and is_root and "cut-network" in faults:
            link, mark = stack.enter_context(_remote_worker(folder, network := _own_network()))
            settings = (*settings, f"workers.address=tcp://{network}.1:{PORT}")
        yield Arena(cluster, disk, link, mark), settings, None if cluster is None else cluster.emptied()


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A disk in memory at a folder."""
    folder.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "chaos", str(folder))
    try:
        yield folder
    finally:
        _run("umount", "--lazy", str(folder))


def _own_network() -> str:
    """The first three numbers of the addresses of a link, by this process: another run hardly ever has the same."""
    return f"10.213.{os.getpid() % 256}"


@contextmanager
def _remote_worker(folder: Path, network: str) -> Iterator[tuple[str, str]]:
    """A scheduler of Dask here and its one worker in a network namespace.

    Yields the name of the link between them, and the mark of their processes.
    """
    name = f"chaos{os.getpid() % 10_000}"
    mark, link, far = f"AUTOKD_CHAOS_CLUSTER={uuid4().hex}", f"{name}a", f"{name}b"
    inside = ("ip", "netns", "exec", name)
    with ExitStack() as stack:
        _run("ip", "netns", "add", name)
        stack.callback(_run, "ip", "netns", "delete", name)
        _run("ip", "link", "add", link, "type", "veth", "peer", "name", far, "netns", name)
        stack.callback(_run, "ip", "link", "delete", link)  # with its namespace it would go some time later
        stack.callback(_kill, mark)
        _run("ip", "address", "add", f"{network}.1/24", "dev", link)
        _run("ip", "link", "set", link, "up")
        _run(*inside, "ip", "address", "add", f"{network}.2/24", "dev", far)
        _run(*inside, "ip", "link", "set", far, "up")
        _run(*inside, "ip", "link", "set", "lo", "up")
        scheduler = ("scheduler", "--host", f"{network}.1", "--port", str(PORT))
        worker = ("worker", f"{network}.1:{PORT}", "--nworkers", "1", "--nthreads", "1")
        _start(folder, mark, "dask", *scheduler, "--no-dashboard")
        _start(folder, mark, "dask", *worker, "--no-dashboard", before=(*inside, *_LAUNCHER))
        yield link, mark


def _kill(mark: str) -> None:
    while processes := marked_processes(mark):  # a launcher may have started another one meanwhile
        for process in processes:
            process.kill()
        psutil.wait_procs(processes)


def _start(folder: Path, mark: str, *words: str, before: tuple[str, ...] = ()) -> None:
    name, _, value = mark.partition("=")
    variables = {name: value, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with (folder / "cluster.txt").open("ab") as log:
        command = [*before, sys.executable, "-m", *words]
        subprocess.Popen(command, env={**os.environ, **variables}, stdout=log, stderr=log, cwd=folder)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)

"""The session of a run: the lease of its search, and its workers."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TypeVarTuple

from autokd.config.parsing import differences, may_change
from autokd.config.schema import RESUMABLE_CHANGES, SearchConfig
from autokd.core.device import pick_device
from autokd.core.references import is_interactive
from autokd.database.errors import DatabaseGone
from autokd.database.lease import Lease
from autokd.database.lease_keeper import StopRequest, owning
from autokd.database.outages import Patience
from autokd.database.rows import SearchStatus
from autokd.database.store import Store
from autokd.distillation.registry import components_of
from autokd.errors import AutoKDError, InputError, first_line
from autokd.evaluation.remote import depot_of, is_marked
from autokd.optimizers.errors import OptimizerError
from autokd.searches.bottleneck import Bottleneck
from autokd.searches.dispatcher import Dispatcher
from autokd.searches.reporter import Reporter
from autokd.searches.workspace import Workspace
from autokd.tracking.following import tracked
from search_spaces.errors import SpaceError
from workers.base import Executor, Limits
from workers.errors import WorkerError
from workers.registry import executor as executor_named

__all__ = ["changes", "check_files", "make_executor", "naming_search", "search_error", "session"]

Ts = TypeVarTuple("Ts")

LOOK_SECONDS = 2.0


@contextmanager
def session(
    workspace: Workspace,
    name: str,
    recorded: SearchConfig,
    config: SearchConfig,
    reporter: Reporter,
    executor: Executor | None = None,
    standing: SearchStatus = "interrupted",
) -> Iterator[tuple[Lease, Dispatcher]]:
    """A block that owns a search and has workers.

    An exception leaves the search as it stands, or "failed" if its space or its optimiser raised it. Outages of the
    database are waited out. Trackers hear of everything.

    Args:
        workspace: Where the search is recorded.
        name: The search.
        recorded: Its recorded configuration.
        config: The configuration from now on.
        reporter: Hears of the progress.
        executor: Its workers, which end with the block; by default those that the configuration asks for.
        standing: Its status if the block is interrupted.

    Raises:
        InputError: If the configurations differ in what may not change, another controller owns the search, or a
            tracker does not answer.
        AutoKDError: If its space or its optimiser fails.
        DatabaseGone: If an outage lasts too long.
    """
    stop = StopRequest()
    with (
        workspace.open(notify=reporter.notify) as store,
        owning(store, name, stop) as lease,
        tracked(config.tracking, lease.search_id, workspace.open, reporter.notify),  # to its end, whatever that is
    ):
        changed = changes(recorded, config)
        device: str | None = store.search(name).facts.get("device")
        pool = executor or make_executor(config, device)
        try:
            if executor is None:
                check_files(pool, config, workspace.folder, reporter, stop)
            if changed:
                store.set_config(lease, config.to_dict(), config.digest)
            dispatcher = Dispatcher(
                store,
                lease,
                pool,
                on_prepared=reporter.prepared,
                on_notify=reporter.notify,
                stop=stop,
                depot=depot_of(config.workers.files, workspace.folder),
            )
            with _running(store, lease, name, standing):
                yield lease, dispatcher
        finally:
            pool.shutdown(cancel=True)


@contextmanager
def _running(store: Store, lease: Lease, name: str, standing: SearchStatus) -> Iterator[None]:
    """A block in which a search is running, and after which, if it raises, it is as `session` says."""
    try:
        store.set_status(lease, "running")
        yield
    except (SpaceError, OptimizerError) as error:
        _end(store, lease, "failed")
        raise search_error(name, error) from error
    except BaseException:
        _end(store, lease, standing)
        raise


def _end(store: Store, lease: Lease, status: SearchStatus) -> None:
    """Record how a session ended; without a database at once, since a search without a live owner is interrupted."""
    store.patience = Patience()
    with suppress(DatabaseGone):
        store.set_status(lease, status)


@contextmanager
def naming_search(name: str) -> Iterator[None]:
    """A block in which an error of the space or the optimiser is one of the search; see `search_error`."""
    try:
        yield
    except (SpaceError, OptimizerError) as error:
        raise search_error(name, error) from error


def search_error(name: str, error: SpaceError | OptimizerError) -> AutoKDError:
    """The error of a search whose space or optimiser fails."""
    return AutoKDError(f"search {name!r} cannot go on: {type(error).__name__}: {first_line(error)}.")


def changes(recorded: SearchConfig, config: SearchConfig) -> Collection[str]:
    """The keys that differ from the recorded configuration.

    Raises:
        InputError: If one of them decides what the search found so far.
    """
    changed = differences(recorded, config)
    refused = {key: change for key, change in changed.items() if not may_change(key)}
    if refused:
        lines = [f"{key}: {before!r} -> {after!r}" for key, (before, after) in refused.items()]
        allowed = ", ".join(sorted(RESUMABLE_CHANGES))
        raise InputError(
            f"a resumed search may change only {allowed}, and of these not workers.device, but {'; '.join(lines)}."
        )
    return changed


def make_executor(config: SearchConfig, device: str | None = None) -> Executor:
    """The workers that a configuration asks for; no process starts before the first task.

    Args:
        config: The search.
        device: Where it trains, once that is recorded; by default what the configuration says.

    Raises:
        InputError: If there is no such engine, device or cluster, or the processes cannot import what the configuration
            names.
    """
    workers = config.workers
    if workers.engine != "inline" and is_interactive():
        _check_importable(config)
    gpus = int(pick_device(device or workers.device).type == "cuda")
    limits = Limits(workers.threads, workers.seconds, workers.memory_bytes, gpus)
    try:
        return executor_named(workers.engine, workers.count, limits, workers.address)
    except WorkerError as error:
        raise InputError(f"workers: {error}") from None


def check_files(
    pool: Executor, config: SearchConfig, folder: Path, reporter: Reporter, stop: StopRequest | None = None
) -> None:
    """See that the files of a search reach its workers: by a URL, or by a folder that another machine sees, too.

    Args:
        pool: The workers.
        config: The search.
        folder: Folder of all searches; it is made if it is missing.
        reporter: Hears why there is no worker yet.
        stop: Whether somebody wants the search to stop, for which no worker need be there.

    Raises:
        InputError: If they do not, or a worker cannot run a task of ours.
        KeyboardInterrupt: If the search is to stop.
    """
    address, depot = config.workers.address, depot_of(config.workers.files, folder)
    stop = stop or StopRequest()
    if depot is not None:
        with depot.mark() as name:
            if address is not None and not _answer(pool, address, reporter, stop, is_marked, depot.url, name):
                raise InputError(
                    f"workers: those of {address} do not find at {depot.url} what this machine puts there."
                )
    elif address is not None:
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=folder, prefix=".shared-") as mark:
            if not _answer(pool, address, reporter, stop, os.path.exists, mark.name):
                raise InputError(
                    f"workers: those of {address} do not see the folder of searches {folder}: put it on a disk that "
                    "all machines share under the same path, and name it by --home or AUTOKD_HOME; or set "
                    'workers.files = "s3://bucket/prefix".'
                )


def _answer(
    pool: Executor,
    address: str,
    reporter: Reporter,
    stop: StopRequest,
    question: Callable[[*Ts], bool],
    *arguments: *Ts,
) -> bool:
    """What a worker of a cluster answers, once there is one."""
    future, bottleneck = pool.submit(question, *arguments), Bottleneck()
    while not wait([future], LOOK_SECONDS).done:
        if stop.mode is not None:
            raise KeyboardInterrupt
        if line := bottleneck.line(pool.where([future]).values()):
            reporter.notify(line)
    try:
        return future.result()
    except Exception as error:
        raise InputError(f"workers: no task runs on those of {address}: {first_line(error)}.") from None


def _check_importable(config: SearchConfig) -> None:
    for key, name in _imported_by_workers(config):
        module, _, attribute = name.partition(":")
        if module == "__main__":
            raise InputError(
                f"{key}: worker processes cannot import {name!r} from a notebook or an interactive session: move it to "
                f"a file such as my_module.py and name it 'my_module:{attribute}', or search without worker processes: "
                "workers = {'engine': 'inline', 'count': 1}."
            )


def _imported_by_workers(config: SearchConfig) -> Iterable[tuple[str, str]]:
    yield "data.source", config.data.source
    for network in config.networks:
        yield "teacher.factory", network.factory or ""
        yield "teacher.preprocess", network.preprocess or ""
    key = "distillation.methods" if config.distillation.methods else "distillation.method"
    yield from ((key, part) for name in config.distillation.names for part in components_of(name))

"""The session of a run: the lease of its search, and its workers."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from autokd.config.parsing import differences
from autokd.config.schema import RESUMABLE_CHANGES, SearchConfig
from autokd.core.references import is_interactive
from autokd.database.lease import Lease
from autokd.database.lease_keeper import owning
from autokd.distillation.registry import components_of
from autokd.errors import AutoKDError, InputError, first_line
from autokd.optimizers.errors import OptimizerError
from autokd.searches.dispatcher import Dispatcher
from autokd.searches.reporter import Reporter
from autokd.searches.workspace import Workspace
from search_spaces.errors import SpaceError
from workers.base import Executor, Limits
from workers.errors import WorkerError
from workers.registry import executor

__all__ = ["changes", "make_executor", "search_error", "session"]


@contextmanager
def session(
    workspace: Workspace, name: str, recorded: SearchConfig, config: SearchConfig, reporter: Reporter
) -> Iterator[tuple[Lease, Dispatcher]]:
    """A block that owns a search and has workers.

    An exception leaves the search "interrupted", or "failed" if its space or its optimiser raised it.

    Args:
        workspace: Where the search is recorded.
        name: The search.
        recorded: Its recorded configuration.
        config: The configuration from now on.
        reporter: Hears of the progress.

    Raises:
        InputError: If the configurations differ in what may not change, or another controller owns the search.
        AutoKDError: If its space or its optimiser fails.
    """
    with workspace.open() as store, owning(store, name) as lease:
        changed = changes(recorded, config)
        pool = make_executor(config)
        try:
            if changed:
                store.set_config(lease, config.to_dict(), config.digest)
            store.set_status(lease, "running")
            yield lease, Dispatcher(store, lease, pool, on_prepared=reporter.prepared, on_notify=reporter.notify)
        except (SpaceError, OptimizerError) as error:
            store.set_status(lease, "failed")
            raise search_error(name, error) from error
        except BaseException:
            store.set_status(lease, "interrupted")
            raise
        finally:
            pool.shutdown(cancel=True)


def search_error(name: str, error: SpaceError | OptimizerError) -> AutoKDError:
    """The error of a search whose space or optimiser fails."""
    return AutoKDError(f"search {name!r} cannot go on: {type(error).__name__}: {first_line(error)}.")


def changes(recorded: SearchConfig, config: SearchConfig) -> Collection[str]:
    """The keys that differ from the recorded configuration.

    Raises:
        InputError: If one of them decides what the search found so far.
    """
    changed = differences(recorded, config)
    refused = {key: change for key, change in changed.items() if not _may_change(key)}
    if refused:
        lines = [f"{key}: {before!r} -> {after!r}" for key, (before, after) in refused.items()]
        allowed = ", ".join(sorted(RESUMABLE_CHANGES))
        raise InputError(f"a resumed search may change only {allowed}, but {'; '.join(lines)}.")
    return changed


def make_executor(config: SearchConfig) -> Executor:
    """The workers that a configuration asks for; no process starts before the first task.

    Raises:
        InputError: If there is no such engine, or its processes cannot import what the configuration names.
    """
    workers = config.workers
    if workers.engine != "inline" and is_interactive():
        _check_importable(config)
    try:
        return executor(workers.engine, workers.count, Limits(workers.threads, workers.seconds, workers.memory_bytes))
    except WorkerError as error:
        raise InputError(f"workers: {error}") from None


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
    yield "teacher.factory", config.teacher.factory or ""
    yield "teacher.preprocess", config.teacher.preprocess or ""
    key = "distillation.methods" if config.distillation.methods else "distillation.method"
    yield from ((key, part) for name in config.distillation.names for part in components_of(name))


def _may_change(key: str) -> bool:
    return key.partition(".")[0] in RESUMABLE_CHANGES and key != "workers.device"  # the device decides results

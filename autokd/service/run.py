"""A job of the queue in a process of its own: `python -m autokd.service.run FOLDER JOB MOST`.

It runs the search by the very code of `autokd search` and `autokd resume`, and owns it by the same lease. The service
that started it may end meanwhile, and another one, or the command line, may go on with the search later.
"""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from autokd.config.parsing import recorded_config
from autokd.core.console import PlainConsole
from autokd.core.repeating import repeating
from autokd.database.errors import DatabaseError, LeaseHeld, UnknownSearch
from autokd.database.lease import stop_was_requested
from autokd.database.lease_keeper import PERIOD_SECONDS
from autokd.database.queue import beat, end, take
from autokd.database.rows import JobRow, JobState
from autokd.database.store import Store
from autokd.errors import AutoKDError, InterruptedSearchError
from autokd.searches.api import begin, find
from autokd.searches.printer import Printer
from autokd.searches.result import SearchResult
from autokd.searches.workspace import Workspace, default_workspace

__all__ = ["main", "run_job"]


def main(folder: str, job_id: int, most: int) -> None:
    """Run a job, unless another process has it or so many run already.

    Args:
        folder: Folder of all searches.
        job_id: The job.
        most: Largest number of jobs that run at the same time.
    """
    ended_by = _listen()
    workspace = default_workspace(folder)
    with workspace.open(notify=print) as store:
        job = take(store, job_id, most)
        if job is None:
            return
        with repeating(_beating(store, job), PERIOD_SECONDS, "job"):
            state, reason = run_job(job, workspace)
        if state == "stopped" and ended_by and not stop_was_requested(store, job.search):  # the machine shuts down
            state, reason = "waiting", None
        end(store, job.id, state, reason)


def run_job(job: JobRow, workspace: Workspace) -> tuple[JobState, str | None]:
    """Run the search of a job until it ends, and return how the job ended, and why.

    Args:
        job: The job, which this process owns.
        workspace: Where the search is recorded.
    """
    try:
        search = _search(job, workspace)
        if job.trains:
            search.train()
        else:
            search.resume()
    except (InterruptedSearchError, LeaseHeld) as error:
        return "stopped", str(error)
    except KeyboardInterrupt:
        return "stopped", "interrupted before it began"
    except AutoKDError as error:
        return "failed", str(error)
    except Exception as error:
        print(f"failed unexpectedly: {type(error).__name__}: {error}", file=sys.stderr)
        return "failed", f"failed unexpectedly: {type(error).__name__}"
    return "done", None


def _search(job: JobRow, workspace: Workspace) -> SearchResult:
    """The search of a job, begun unless an earlier process of the job has begun it."""
    reporter, command = Printer(PlainConsole()), ("service", f"job {job.id}")
    if job.config is None:
        return find(job.search, workspace, reporter)
    with suppress(UnknownSearch):
        found = find(job.search, workspace, reporter)
        if found.row.facts.get("command") == list(command):
            return found
    config = recorded_config(dict(job.config), f"job {job.id}")
    return begin(config, workspace, reporter=reporter, command=command, renames=False)


def _listen() -> list[int]:
    """Let SIGTERM and SIGINT interrupt the search; returns those that came."""
    received: list[int] = []

    def interrupt(signum: int, frame: FrameType | None) -> None:
        received.append(signum)
        raise KeyboardInterrupt

    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, interrupt)
    return received


def _beating(store: Store, job: JobRow) -> Callable[[], None]:
    """What records that this process lives, and once its job is cancelled interrupts it."""
    is_cancelled = False

    def act() -> None:
        nonlocal is_cancelled
        if is_cancelled:
            return
        with suppress(DatabaseError):  # the search meets it, in the open
            is_cancelled = beat(store, job.id)
        if is_cancelled:
            os.kill(os.getpid(), signal.SIGINT)

    return act


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

"""Starts a process for each job whose turn it is. What runs, and what waits, is in the database alone.

Processes outlive the service: it may be killed at any instant, and the next one finds in the rows what runs, what was
left and what waits. Which process gets a job is decided by `queue.take`, so it does not matter who else starts some.
"""

import os
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from autokd.core.repeating import repeating
from autokd.database.queue import next_jobs
from autokd.errors import AutoKDError
from autokd.service.quota import check_quota
from autokd.service.settings import Settings

__all__ = ["Supervisor", "supervising"]

LOOK_SECONDS = 1.0
REST_SECONDS = 10.0  # after an error
RESTART_SECONDS = 10.0  # between two processes of one job, which may end at once


@dataclass(frozen=True)
class Supervisor:
    """Starts the processes of jobs.

    Attributes:
        settings: Of the service.
        started: Processes that this service has started, by job, each with the time.
    """

    settings: Settings
    started: dict[int, tuple["subprocess.Popen[bytes]", float]] = field(default_factory=dict)

    def tend(self) -> None:
        """Start a process for each job whose turn it is.

        Raises:
            AutoKDError: If the database cannot be read, or the quota is used up.
        """
        n_running = sum(process.poll() is None for process, _ in self.started.values())
        for job_id, (process, at) in list(self.started.items()):
            if process.poll() is not None and time.monotonic() > at + RESTART_SECONDS:
                del self.started[job_id]
        home = self.settings.home
        if not home.exists:
            return
        with home.open() as store:
            due = [job.id for job in next_jobs(store, self.settings.most_running)]
        if due := [job_id for job_id in due if job_id not in self.started]:
            check_quota(self.settings)
        for job_id in due[: max(0, self.settings.most_running - n_running)]:
            self.started[job_id] = self._start(job_id), time.monotonic()

    def _start(self, job_id: int) -> "subprocess.Popen[bytes]":
        home, most = self.settings.home, self.settings.most_running
        words = (str(home.folder), str(job_id), str(most))
        environment = {**os.environ, **({} if home.url is None else {"AUTOKD_DATABASE": home.url})}
        file = self.settings.job_log(job_id)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "autokd.service.run", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C ends the service alone
            )


@contextmanager
def supervising(settings: Settings) -> Iterator[None]:
    """A block during which a thread starts the processes of jobs; those that run go on afterwards."""
    supervisor, resting_until = Supervisor(settings), 0.0

    def tend() -> None:
        nonlocal resting_until
        if time.monotonic() < resting_until:
            return
        try:
            supervisor.tend()
        except Exception as error:  # an outage, or no room, perhaps: it may be over at the next look
            if not isinstance(error, AutoKDError | OSError):
                traceback.print_exc()
            resting_until = time.monotonic() + REST_SECONDS

    with repeating(tend, LOOK_SECONDS, "supervisor"):
        yield

"""What holds of tasks that run in processes of their own, here or on a cluster."""

import os
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, wait
from pathlib import Path
from typing import Any

import pytest
from processes import gone, read

from autokd.testing import tasks
from autokd.testing.executors import wait_until
from workers.base import Executor, Limits
from workers.errors import TaskOutOfMemory, TaskTimeout, WorkerLost

__all__ = ["CancelledTasks", "HostedTasks"]

MIB = 2**20


class CancelledTasks:
    """Tests of an executor. A subclass has the fixture `make`: an executor of one worker with these limits."""

    def test_cancelling_a_running_task_kills_it_and_the_next_one_runs(
        self, make: Callable[[Limits], Executor], tmp_path: Path
    ) -> None:
        with make(Limits()) as executor:
            future = executor.submit(tasks.sleep, tmp_path / "mark")
            process_id = read(tmp_path / "mark")
            assert future.cancel()
            with pytest.raises(CancelledError):
                future.result()
            wait_until(lambda: gone(process_id))
            assert not wait([future], timeout=60).not_done
            assert executor.submit(tasks.add, 1, 1).result() == 2


class HostedTasks(CancelledTasks):
    """Tests of a cluster's executor, whose worker lets a process of its own run a task."""

    @pytest.mark.parametrize(
        ("limits", "function", "argument", "error"),
        [
            (Limits(seconds=0.5), time.sleep, 600.0, TaskTimeout),
            (Limits(memory_bytes=150 * MIB), tasks.allocate, 200 * MIB, TaskOutOfMemory),
            (Limits(), tasks.leave, 3, WorkerLost),
        ],
        ids=["time", "memory", "death"],
    )
    def test_what_ends_a_task_is_told_and_the_worker_lives_on(
        self,
        make: Callable[[Limits], Executor],
        limits: Limits,
        function: Callable[[Any], Any],
        argument: Any,
        error: type[Exception],
    ) -> None:
        with make(limits) as executor:
            before = executor.submit(os.getppid).result()
            assert isinstance(executor.submit(function, argument).exception(), error)
            assert not gone(before)

import os
import sys
from collections.abc import Iterator

import pytest
import torch

from autokd.testing import tasks
from autokd.testing.executors import ExecutorConformance
from workers.base import Executor, Limits
from workers.errors import TaskExited, WorkerError
from workers.inline import InlineExecutor


class TestConformance(ExecutorConformance):
    @pytest.fixture
    def executor(self) -> Iterator[Executor]:
        executor = InlineExecutor()
        yield executor
        executor.shutdown(cancel=True)


def test_a_task_runs_in_this_process() -> None:
    assert InlineExecutor().submit(tasks.process_id).result() == os.getpid()


def test_the_thread_limit_applies_to_the_task_only() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert InlineExecutor(Limits(threads=2)).submit(torch.get_num_threads).result() == 2
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("limits", [Limits(seconds=1.0), Limits(memory_bytes=10**9)])
def test_limits_that_need_a_process_are_rejected(limits: Limits) -> None:
    with pytest.raises(WorkerError, match="cannot enforce"):
        InlineExecutor(limits)


def test_submit_raises_a_keyboard_interrupt() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        InlineExecutor().submit(interrupt)


def test_a_task_that_asks_python_to_exit_fails_and_ends_nothing_else() -> None:
    error = InlineExecutor().submit(sys.exit, 0).exception()
    assert isinstance(error, TaskExited)
    assert "asked Python to exit: SystemExit(0)" in str(error)

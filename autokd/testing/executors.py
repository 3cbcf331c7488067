"""Conformance suite of executors: subclass `ExecutorConformance` and override its fixture `executor`."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed, wait

import pytest

from autokd.testing import tasks
from workers.base import Executor
from workers.errors import ExecutorClosed

__all__ = ["ExecutorConformance", "wait_until"]


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until a condition holds.

    Args:
        condition: Function whose result is true once the condition holds.
        seconds: Longest time to wait; the default suffices for a worker that imports torch on a busy machine.

    Raises:
        TimeoutError: If the condition does not hold within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"The condition must hold within {seconds} seconds, but it does not.")
        time.sleep(0.01)


class ExecutorConformance:
    """Tests of the guarantees of `workers.base.Executor`, except for limits and killing, which not all support."""

    @pytest.fixture
    def executor(self) -> Iterator[Executor]:
        """The executor under test, shut down at the end."""
        raise NotImplementedError("Override the fixture `executor`.")

    def test_a_future_holds_the_result(self, executor: Executor) -> None:
        """`result` returns what the function returned."""
        assert executor.submit(tasks.add, 2, 3).result() == 5

    def test_capacity_is_positive(self, executor: Executor) -> None:
        """At least one task can run."""
        assert executor.capacity >= 1

    def test_more_tasks_than_capacity_all_run(self, executor: Executor) -> None:
        """Tasks wait until a worker is free."""
        futures = [executor.submit(tasks.add, number, 0) for number in range(3 * executor.capacity + 1)]
        assert [future.result() for future in futures] == list(range(len(futures)))

    def test_futures_work_with_the_standard_library(self, executor: Executor) -> None:
        """`wait` and `as_completed` accept the futures."""
        futures = [executor.submit(tasks.add, number, 1) for number in range(3)]
        assert sorted(future.result() for future in as_completed(futures)) == [1, 2, 3]
        assert not wait(futures).not_done

    def test_an_exception_comes_back_unchanged(self, executor: Executor) -> None:
        """Type and arguments are those of the task's exception."""
        error = executor.submit(tasks.fail, "the reason").exception()
        assert type(error) is KeyError
        assert error.args == ("the reason",)

    def test_a_failure_leaves_the_next_task_alone(self, executor: Executor) -> None:
        """A failed task does not affect others."""
        executor.submit(tasks.fail, "first").exception()
        assert executor.submit(tasks.add, 1, 1).result() == 2

    def test_an_exception_that_cannot_be_read_back_still_ends_its_task(self, executor: Executor) -> None:
        """The future has the exception, or another one that names it."""
        error = executor.submit(tasks.fail_fussily).exception()
        assert error is not None
        assert "not travel" in str(error)
        assert executor.submit(tasks.add, 1, 1).result() == 2

    def test_a_done_callback_is_called(self, executor: Executor) -> None:
        """A callback gets the finished future."""
        seen: list[int] = []
        executor.submit(tasks.add, 4, 4).add_done_callback(lambda future: seen.append(future.result()))
        wait_until(lambda: seen == [8])

    def test_shutdown_waits_for_the_tasks(self, executor: Executor) -> None:
        """With `cancel=False` all submitted tasks run."""
        futures = [executor.submit(tasks.add, number, 0) for number in range(3)]
        executor.shutdown(cancel=False)
        assert [future.done() and future.result() for future in futures] == [0, 1, 2]

    def test_shutdown_twice_is_harmless(self, executor: Executor) -> None:
        """The second call has no effect."""
        executor.shutdown(cancel=False)
        executor.shutdown(cancel=True)

    def test_submit_after_shutdown_is_refused(self, executor: Executor) -> None:
        """`ExecutorClosed` is raised."""
        executor.shutdown(cancel=True)
        with pytest.raises(ExecutorClosed, match="make a new one"):
            executor.submit(tasks.add, 1, 1)

    def test_an_executor_is_a_context_manager(self, executor: Executor) -> None:
        """Leaving the block waits for the tasks, then shuts the executor down."""
        with executor as entered:
            future = entered.submit(tasks.add, 1, 1)
        assert future.done()
        with pytest.raises(ExecutorClosed):
            executor.submit(tasks.add, 1, 1)

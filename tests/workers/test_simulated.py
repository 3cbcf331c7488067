import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autokd.testing import tasks
from workers.base import Executor
from workers.errors import WorkerError
from workers.registry import executor_names
from workers.simulated import SimulatedCluster

DURATIONS = st.lists(st.integers(1, 6), max_size=20)


def cluster_of(workers: int) -> SimulatedCluster[int]:
    """Cluster on which the result of a task is its duration."""
    return SimulatedCluster(workers, float)


def train(seconds: int) -> int:
    return seconds


def ends(cluster: SimulatedCluster[int], futures: Sequence[Future[int]]) -> list[tuple[int, float]]:
    """Pairs of task and simulated end, in the order in which the cluster returns them."""
    return [(futures.index(cluster.advance()), cluster.now) for _ in futures]


def ticked(workers: int, durations: Sequence[int]) -> list[tuple[int, float]]:
    """The same by brute force: in each tick of a clock, workers count down the rest of their tasks."""
    queue = list(enumerate(durations))
    left: dict[int, int] = {}  # by task, in the order of their starts
    found: list[tuple[int, float]] = []
    clock = 0
    while queue or left:
        while queue and len(left) < workers:
            task, seconds = queue.pop(0)
            left[task] = seconds
        clock += 1
        left = {task: seconds - 1 for task, seconds in left.items()}
        found += [(task, clock) for task, seconds in left.items() if not seconds]
        left = {task: seconds for task, seconds in left.items() if seconds}
    return found


def test_two_workers_follow_a_schedule_computed_by_hand() -> None:
    # first:  00000333
    # second: 112222244
    cluster = cluster_of(2)
    futures = [cluster.submit(train, seconds) for seconds in (5, 2, 5, 3, 2)]
    assert ends(cluster, futures) == [(1, 2.0), (0, 5.0), (2, 7.0), (3, 8.0), (4, 9.0)]


@given(workers=st.integers(1, 4), durations=DURATIONS)
def test_the_order_and_the_clock_agree_with_a_ticking_simulation(workers: int, durations: list[int]) -> None:
    cluster = cluster_of(workers)
    futures = [cluster.submit(train, seconds) for seconds in durations]
    assert ends(cluster, futures) == ticked(workers, durations)


@given(durations=DURATIONS, pauses=st.lists(st.integers(1, 7), max_size=20))
def test_tasks_end_while_time_elapses(durations: list[int], pauses: list[int]) -> None:
    cluster = cluster_of(2)
    futures = [cluster.submit(train, seconds) for seconds in durations]
    for pause in pauses:
        cluster.elapse(pause)
    ended = {task for task, end in ticked(2, durations) if end <= sum(pauses)}
    assert {task for task, future in enumerate(futures) if future.done()} == ended
    assert cluster.now == sum(pauses)


@given(workers=st.integers(1, 4), durations=DURATIONS)
def test_submitting_when_a_worker_is_free_equals_submitting_all_at_once(workers: int, durations: list[int]) -> None:
    cluster = cluster_of(workers)
    futures: list[Future[int]] = []
    found: list[tuple[int, float]] = []
    while len(found) < len(durations):
        while cluster.has_free_worker and len(futures) < len(durations):
            futures.append(cluster.submit(train, durations[len(futures)]))
        found.append((futures.index(cluster.advance()), cluster.now))
    assert found == ticked(workers, durations)


def test_one_worker_runs_one_task_after_the_other() -> None:
    cluster = cluster_of(1)
    futures = [cluster.submit(train, seconds) for seconds in (4, 1, 0)]
    assert ends(cluster, futures) == [(0, 4.0), (1, 5.0), (2, 5.0)]


def test_a_task_is_called_when_a_worker_takes_it_and_not_before() -> None:
    called: list[int] = []

    def record(seconds: int) -> int:
        called.append(seconds)
        return seconds

    cluster = cluster_of(1)
    for seconds in (3, 2):
        cluster.submit(record, seconds)
    assert called == [3]
    cluster.advance()
    assert called == [3, 2]


def test_a_future_is_not_done_before_its_simulated_end() -> None:
    cluster = cluster_of(2)
    long, short = cluster.submit(train, 2), cluster.submit(train, 1)
    assert (long.running(), short.running()) == (True, True)
    assert cluster.advance() is short
    assert (long.done(), short.done()) == (False, True)


def test_waiting_for_a_result_advances_the_clock_to_its_end() -> None:
    cluster = cluster_of(2)
    first, second, third = (cluster.submit(train, seconds) for seconds in (5, 2, 7))
    assert third.result() == 7
    assert cluster.now == 9.0
    assert first.done()
    assert second.done()


def test_an_exception_comes_back_unchanged_and_takes_no_time() -> None:
    cluster: SimulatedCluster[None] = SimulatedCluster(1, lambda result: 1.0)
    error = cluster.submit(tasks.fail, "the reason").exception()
    assert type(error) is KeyError
    assert error.args == ("the reason",)
    assert cluster.now == 0.0
    cluster.submit(lambda: None).result()
    assert cluster.now == 1.0


def test_a_cancelled_task_never_starts_and_the_next_takes_its_place() -> None:
    cluster = cluster_of(1)
    running, waiting, last = (cluster.submit(train, seconds) for seconds in (1, 100, 2))
    assert waiting.cancel()
    assert not running.cancel()
    assert last.result() == 2
    assert cluster.now == 3.0


def test_a_task_submitted_by_a_callback_runs_after_waiting_tasks() -> None:
    cluster = cluster_of(1)
    order: list[str] = []

    def note(name: str) -> Callable[[Future[int]], None]:
        return lambda future: order.append(name)

    first = cluster.submit(train, 1)
    first.add_done_callback(
        lambda future: cluster.submit(train, 1).add_done_callback(note("submitted by the callback"))
    )
    cluster.submit(train, 1).add_done_callback(note("waited"))
    for _ in range(3):
        cluster.advance()
    assert order == ["waited", "submitted by the callback"]
    assert cluster.now == 3.0


def test_the_clock_cannot_advance_without_a_running_task() -> None:
    with pytest.raises(WorkerError, match="submit one first"):
        cluster_of(1).advance()


def test_a_cluster_without_workers_is_rejected() -> None:
    with pytest.raises(WorkerError, match="workers=0"):
        cluster_of(0)


@pytest.mark.parametrize("seconds", [-1.0, math.inf, math.nan])
def test_a_duration_must_be_finite_and_not_negative(seconds: float) -> None:
    cluster: SimulatedCluster[float] = SimulatedCluster(1, float)
    with pytest.raises(WorkerError, match="seconds="):
        cluster.submit(lambda: seconds)


def test_a_simulated_cluster_is_not_an_executor_and_is_not_registered() -> None:
    assert not issubclass(SimulatedCluster, Executor)
    assert "simulated" not in executor_names()

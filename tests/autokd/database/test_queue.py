"""The queue of searches: whose turn it is, and that no job is lost or run twice."""

import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import text

from autokd.database.errors import SearchExists, UnknownJob
from autokd.database.lease import acquire, release
from autokd.database.queue import (
    MOST_STARTS,
    beat,
    cancel,
    end,
    enqueue,
    is_past,
    jobs,
    newest_job,
    next_jobs,
    queued_jobs,
    take,
)
from autokd.database.removal import delete_rows
from autokd.database.store import Store

TAKER = """
import sys
from autokd.database.queue import take
from autokd.database.store import Store
with Store(sys.argv[1]) as store:
    print(take(store, int(sys.argv[2]), 9) is not None)
"""


@pytest.fixture
def queue(store: Store) -> Store:
    return store


@pytest.fixture
def killed(where: str, environment: Callable[[], dict[str, str]]) -> Callable[[int], bool]:
    """Lets a process take a job and end without a word, and tells whether it got it."""

    def take_and_end(job: int) -> bool:
        command = [sys.executable, "-c", TAKER, where, str(job)]
        return subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout == "True\n"

    return take_and_end


def due(queue: Store, most: int) -> list[str]:
    return [job.search for job in next_jobs(queue, most)]


def test_the_most_urgent_is_next_then_the_oldest(queue: Store) -> None:
    for search, priority in [("a", 0), ("b", 5), ("c", 0), ("d", 5)]:
        enqueue(queue, search, {}, priority)
    assert due(queue, 9) == ["b", "d", "a", "c"]
    assert due(queue, 1) == ["b"]
    assert [job.search for job in jobs(queue, 2)] == ["d", "c"]


def test_all_jobs_that_live_are_listed_beside_the_newest_others(queue: Store) -> None:
    of_a, of_b, *ended = (enqueue(queue, search, {}) for search in "abcd")
    for job in ended:
        cancel(queue, job.id)
    assert [job.search for job in queued_jobs(queue, 1)] == ["d", "b", "a"]
    assert [newest_job(queue, search) for search in "abx"] == [of_a, of_b, None]
    cancel(queue, of_a.id)
    again = enqueue(queue, "a", {})
    assert newest_job(queue, "a") == again


def test_no_more_jobs_run_than_allowed(queue: Store) -> None:
    first, second = (enqueue(queue, search, {}) for search in "ab")
    assert take(queue, first.id, 1) is not None
    assert (take(queue, second.id, 1), due(queue, 1), due(queue, 2)) == (None, [], ["b"])
    end(queue, first.id, "done")
    assert due(queue, 1) == ["b"]
    assert [job.search for job in jobs(queue, 9, "done")] == ["a"]


def test_of_many_that_want_a_job_one_gets_it(queue: Store, where: str) -> None:
    job, found = enqueue(queue, "a", {}), []

    def want() -> None:
        with Store(where) as store:
            found.append(take(store, job.id, 9))

    threads = [threading.Thread(target=want) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(each is not None for each in found) == 1


@pytest.mark.slow  # processes of their own
def test_a_job_whose_process_was_killed_is_next_again_but_not_for_ever(
    queue: Store, killed: Callable[[int], bool]
) -> None:
    job = enqueue(queue, "a", {}, priority=-1)
    enqueue(queue, "b", {}, priority=1)
    for _ in range(MOST_STARTS):
        assert due(queue, 1)[0] in ("a", "b")
        assert killed(job.id)
    assert due(queue, 1) == ["a"]
    assert not killed(job.id)
    assert [(row.state, row.reason) for row in jobs(queue, 9) if row.id == job.id] == [
        ("failed", f"{MOST_STARTS} processes that ran it were killed")
    ]
    assert due(queue, 9) == ["b"]


def test_a_job_that_is_given_back_waits_as_if_it_had_not_begun(queue: Store) -> None:
    job = enqueue(queue, "a", {})
    assert take(queue, job.id, 1) is not None
    beat(queue, job.id)
    end(queue, job.id, "waiting")
    (row,) = jobs(queue, 9)
    assert (row.state, row.starts, row.lease_pid) == ("waiting", 0, None)


def test_only_its_owner_ends_a_job(queue: Store) -> None:
    job = enqueue(queue, "a", {})
    assert take(queue, job.id, 1) is not None
    with queue.transaction() as session:
        session.execute(text("UPDATE jobs SET lease_machine = 'elsewhere'"))
    beat(queue, job.id)
    end(queue, job.id, "done")
    assert [(row.state, row.starts) for row in jobs(queue, 9)] == [("running", 1)]


def test_jobs_of_a_search_that_is_deleted_are_cancelled(queue: Store) -> None:
    queue.create_search("gone", 0, {}, "digest", {})
    of_gone, other = enqueue(queue, "gone", None), enqueue(queue, "other", {})
    delete_rows(queue, acquire(queue, "gone"), [])
    assert {job.id: job.state for job in jobs(queue, 9)} == {of_gone.id: "cancelled", other.id: "waiting"}


def test_a_name_is_in_the_queue_once_and_another_one_is_found_on_request(queue: Store) -> None:
    queue.create_search("a", 0, {}, "", {})
    assert [enqueue(queue, "a", {}, renames=True).search for _ in range(2)] == ["a-2", "a-3"]
    assert enqueue(queue, "a", None).search == "a"
    configs: list[dict[str, int] | None] = [{}, None]
    for config in configs:
        with pytest.raises(SearchExists, match="'a'"):
            enqueue(queue, "a", config)


def test_a_job_whose_process_was_killed_can_be_cancelled(queue: Store) -> None:
    job = enqueue(queue, "a", {})
    assert take(queue, job.id, 9) is not None
    with queue.transaction() as session:
        session.execute(text("UPDATE jobs SET lease_process_started = 0"))
    assert cancel(queue, job.id)
    (row,) = jobs(queue, 9)
    assert (row.state, row.lease_pid, due(queue, 9)) == ("cancelled", None, [])
    assert take(queue, job.id, 9) is None


def test_a_job_is_cancelled_until_its_search_runs_and_its_process_hears_of_it(queue: Store) -> None:
    starting, searching = enqueue(queue, "a", {}), enqueue(queue, "b", {})
    assert take(queue, starting.id, 9) is not None
    assert take(queue, searching.id, 9) is not None
    queue.create_search("b", 0, {}, "", {})
    lease = acquire(queue, "b")
    assert [beat(queue, job.id) for job in (starting, searching)] == [False, False]
    assert [cancel(queue, job.id) for job in (starting, searching)] == [True, False]
    assert [beat(queue, job.id) for job in (starting, searching)] == [True, False]
    end(queue, starting.id, "stopped")
    release(queue, lease)  # as between the search and the end of its job
    assert {job.search: job.state for job in jobs(queue, 9)} == {"a": "cancelled", "b": "running"}


def test_a_job_is_past_once_it_has_ended_and_its_search_is_taken_up_again(queue: Store) -> None:
    queue.create_search("a", 0, {}, "", {})
    job = enqueue(queue, "a", None)
    assert take(queue, job.id, 9) is not None
    release(queue, acquire(queue, "a"))  # by the job itself
    seen = [is_past(queue, job.id)]
    end(queue, job.id, "failed", "no data")
    seen.append(is_past(queue, job.id))
    release(queue, acquire(queue, "a"))
    assert [*seen, is_past(queue, job.id)] == [False, False, True]


def test_a_job_that_has_ended_is_not_cancelled(queue: Store) -> None:
    job = enqueue(queue, "a", {})
    assert (cancel(queue, job.id), cancel(queue, job.id), due(queue, 9)) == (True, False, [])
    assert take(queue, job.id, 9) is None
    with pytest.raises(UnknownJob, match="no job 77"):
        cancel(queue, 77)

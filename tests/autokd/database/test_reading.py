"""Reading while another process writes as fast as it can, and what the database is asked, compared with all rows."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import func, select

from autokd.database.models import Event
from autokd.database.reading import Reader
from autokd.database.store import Store

EVENTS = 200
WRITER = f"""
import sys
from autokd.database.lease import acquire
from autokd.database.store import Store
with Store(sys.argv[1]) as store:
    lease = acquire(store, "first")
    for number in range({EVENTS}):
        store.record_event(lease, "test", {{"number": number}})
"""


@pytest.fixture
def writer(where: str, store: Store, environment: Callable[[], dict[str, str]]) -> Iterator[subprocess.Popen[str]]:
    """A process that writes event after event to the search `first`."""
    store.create_search("first", 7, {}, "c0", {})
    command = [sys.executable, "-c", WRITER, where]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        yield process
        process.kill()


@pytest.mark.slow  # a process of its own
def test_who_reads_again_and_again_meets_no_lock_and_every_event_once(
    where: str, writer: subprocess.Popen[str]
) -> None:
    seen, numbers = 0, list[int]()
    while len(numbers) < EVENTS:
        ended = writer.poll() is not None
        with Reader(where) as reader:  # which is what each command does
            events = reader.events(1, after=seen)
        seen = max((event.id for event in events), default=seen)
        numbers += [event.payload["number"] for event in events if event.kind == "test"]
        assert events or not ended, writer.stderr and writer.stderr.read()
    assert numbers == list(range(EVENTS))


@pytest.mark.slow  # a process of its own
def test_who_reads_for_long_keeps_no_writer_waiting(where: str, writer: subprocess.Popen[str]) -> None:
    with Reader(where) as reader, reader.session() as session:
        session.scalar(select(func.count()).select_from(Event))  # the transaction lasts until the writer is done
        _, said = writer.communicate()  # one that waits for a lock fails after a minute
        assert (writer.returncode, said) == (0, "")
        assert len(reader.events(1)) > EVENTS


def test_trials_are_found_by_number_and_state(store: Store, searches: list[int]) -> None:
    for search in searches:
        trials = store.trials(search)
        assert store.n_trials(search) == len(trials) == 12
        assert [row.number for row in trials] == list(range(12))
        ended = [row.id for row in trials if row.state in ("complete", "failed")]
        assert store.trial_ids(search, "complete", "failed") == ended
        assert store.trial_ids(search, "complete", "failed", most=2) == ended[:2]
        assert store.trial_ids(search, numbers=[7, 2, 99]) == [trials[2].id, trials[7].id]


def test_rows_of_a_purpose_and_of_some_trials_are_those_among_all(store: Store, searches: list[int]) -> None:
    for search in searches:
        students, evaluations = store.students(search), store.evaluations(search)
        final = {row.id for row in students if row.purpose == "final"}
        some = store.trial_ids(search)[3:9]
        assert final
        assert store.students(search, "final") == [row for row in students if row.id in final]
        assert store.evaluations(search, "final") == [row for row in evaluations if row.student_id in final]
        assert store.students(search, "search", some) == [
            row for row in students if row.id not in final and row.trial_id in some
        ]
        assert store.evaluations(search, trials=some) == [row for row in evaluations if row.trial_id in some]

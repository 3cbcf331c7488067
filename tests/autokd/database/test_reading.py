"""Reading while another process writes as fast as it can."""

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

import asyncio
from itertools import pairwise
from pathlib import Path

from sqlalchemy import update

from autokd.database.lease import acquire, heartbeat, release
from autokd.database.models import Search
from autokd.searches.api import find
from autokd.searches.result import SearchResult
from autokd.service.remembered import Remembered, as_of_events, as_of_process


def test_many_who_ask_at_once_share_an_answer_until_something_happens(home: Path) -> None:
    found, computed = find("digits", home), list[int]()

    def compute(search: SearchResult) -> int:
        computed.append(search.last_events(1)[0].id)
        return computed[-1]

    async def ask() -> tuple[list[int], int, list[int]]:
        remembered = Remembered(compute, as_of_events)
        first = await asyncio.gather(*(remembered.of(found) for _ in range(5)))
        with found.home.open() as store:
            newest = store.record_event(acquire(store, "digits"), "test", {}).id
        return first, newest, await asyncio.gather(*(remembered.of(found) for _ in range(5)))

    first, newest, second = asyncio.run(ask())
    assert first == [computed[0]] * 5
    assert second == [newest] * 5
    assert computed == [first[0], newest]


def test_a_moment_passes_with_each_event_heartbeat_and_end_of_a_process(home: Path) -> None:
    found, moments = find("digits", home), []
    with found.home.open() as store:

        def look() -> None:
            moments.append(as_of_process(found))

        look()
        lease = acquire(store, "digits")
        store.set_status(lease, "running")
        look()
        heartbeat(store, lease)
        look()
        with store.transaction() as session:  # as of a process of this machine that was killed
            session.execute(update(Search).values(lease_process_started=0.0))
        look()
        release(store, lease)
        look()
    assert all(later != earlier and not earlier.is_as_new_as(later) for earlier, later in pairwise(moments))
    assert moments[-1].is_as_new_as(moments[0])

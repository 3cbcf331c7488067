import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import update

from autokd.database.lease import acquire, heartbeat, release
from autokd.database.models import Search
from autokd.errors import InputError
from autokd.searches.api import find
from autokd.searches.result import SearchResult
from autokd.service.remembered import Remembered, as_of_events, as_of_process


@dataclass
class NewestEvent:
    """A function of a search, its newest event, that takes until `may_end` is set.

    Attributes:
        may_end: Whether it may end.
        began: The event at each call.
        under_way: Calls that have not ended.
        most_under_way: The most there were at the same time.
        fails: Whether it raises.
    """

    may_end: Event = field(default_factory=Event)
    began: list[int] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    fails: bool = False

    def __call__(self, found: SearchResult) -> int:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self.began.append(found.last_events(1)[0].id)
        newest = self.began[-1]
        assert self.may_end.wait(60)
        self.under_way -= 1
        if self.fails:
            raise InputError("the space is gone")
        return newest


@pytest.fixture
def found(home: Path) -> SearchResult:
    return find("digits", home)


@pytest.fixture
def slow() -> NewestEvent:
    return NewestEvent()


def happen(found: SearchResult) -> int:
    """Let something happen to a search, and return the id of the event."""
    with found.home.open() as store:
        lease = acquire(store, found.name)
        release(store, lease)
        return store.last_events(lease.search_id, 1)[0].id


async def first_answer(remembered: Remembered[int], slow: NewestEvent, found: SearchResult) -> int:
    slow.may_end.set()
    answer, as_of = await remembered.last(found)
    assert (as_of.event, as_of.is_newest) == (answer, True)
    return answer


async def newest_answer(remembered: Remembered[int], found: SearchResult) -> int:
    """What is answered once that is the newest."""
    while True:
        answer, as_of = await remembered.last(found)
        if as_of.is_newest:
            return answer


def test_many_who_ask_at_once_share_an_answer_until_something_happens(found: SearchResult, slow: NewestEvent) -> None:
    slow.may_end.set()

    async def ask() -> tuple[list[int], int, list[int]]:
        remembered = Remembered(slow, as_of_events)
        first = await asyncio.gather(*(remembered.of(found) for _ in range(5)))
        return first, happen(found), await asyncio.gather(*(remembered.of(found) for _ in range(5)))

    first, newest, second = asyncio.run(ask())
    assert first == [slow.began[0]] * 5
    assert second == [newest] * 5
    assert slow.began == [first[0], newest]


def test_the_last_answer_comes_at_once_while_one_newer_is_computed_and_then_that(
    found: SearchResult, slow: NewestEvent
) -> None:
    async def ask() -> None:
        remembered = Remembered(slow, as_of_events, rest=0)
        first = await first_answer(remembered, slow, found)
        slow.may_end.clear()
        newest = happen(found)
        while len(slow.began) < 2:
            assert (await remembered.last(found))[0] == first
        for _ in range(5):
            answer, as_of = await remembered.last(found)
            assert (answer, as_of.event, as_of.is_newest) == (first, first, False)
        slow.may_end.set()
        assert await newest_answer(remembered, found) == newest
        assert slow.began == [first, newest]

    asyncio.run(ask())


def test_a_search_that_runs_is_left_alone_during_a_rest_and_one_that_has_ended_is_not(
    found: SearchResult, slow: NewestEvent
) -> None:
    async def ask() -> None:
        remembered = Remembered(slow, as_of_events, rest=1e9)
        first = await first_answer(remembered, slow, found)
        with found.home.open() as store:
            lease = acquire(store, found.name)
            store.set_status(lease, "running")
            assert [(await remembered.last(found))[0] for _ in range(20)] == [first] * 20
            assert slow.began == [first]
            release(store, lease)
            newest = store.last_events(lease.search_id, 1)[0].id
        assert await newest_answer(remembered, found) == newest

    asyncio.run(ask())


def test_functions_that_share_what_is_held_are_computed_one_after_the_other(
    found: SearchResult, slow: NewestEvent
) -> None:
    async def ask() -> None:
        computing = asyncio.Lock()
        both = [Remembered(slow, as_of_events, computing) for _ in range(2)]
        asked = [asyncio.create_task(each.last(found)) for each in both]
        for _ in range(20):
            await Remembered(lambda found: found.name, as_of_events).of(found)
        slow.may_end.set()
        await asyncio.gather(*asked)

    asyncio.run(ask())
    assert (slow.most_under_way, len(slow.began)) == (1, 2)


def test_whoever_asks_after_a_failure_in_the_background_hears_of_it(found: SearchResult, slow: NewestEvent) -> None:
    async def ask() -> None:
        remembered = Remembered(slow, as_of_events, rest=0)
        await first_answer(remembered, slow, found)
        newest, slow.fails = happen(found), True
        with pytest.raises(InputError, match="the space is gone"):
            await newest_answer(remembered, found)
        slow.fails = False
        assert await newest_answer(remembered, found) == newest

    asyncio.run(ask())


def test_a_search_of_the_same_name_gets_no_answer_of_an_earlier_one(found: SearchResult, slow: NewestEvent) -> None:
    async def ask() -> None:
        remembered = Remembered(slow, as_of_events)
        await first_answer(remembered, slow, found)
        with found.home.open() as store, store.transaction() as session:
            session.execute(update(Search).values(created_at=datetime.now(UTC)))
        await first_answer(remembered, slow, found)

    asyncio.run(ask())
    assert len(slow.began) == 2


def test_nothing_is_remembered_of_a_database_that_was_replaced_by_an_earlier_one(
    found: SearchResult, slow: NewestEvent
) -> None:
    async def ask() -> None:
        remembered = Remembered(slow, as_of_events)
        earlier = found.home.file.read_bytes()
        before = await first_answer(remembered, slow, found)
        happen(found)
        assert await newest_answer(remembered, found) > before
        found.home.file.write_bytes(earlier)
        assert (await remembered.of(found), await first_answer(remembered, slow, found)) == (before, before)

    asyncio.run(ask())


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

import asyncio
from pathlib import Path

from autokd.database.lease import acquire
from autokd.searches.api import find
from autokd.searches.result import SearchResult
from autokd.service.remembered import Remembered


def test_many_who_ask_at_once_share_an_answer_until_something_happens(home: Path) -> None:
    found, computed = find("digits", home), list[int]()

    def compute(search: SearchResult) -> int:
        computed.append(search.last_events(1)[0].id)
        return computed[-1]

    async def ask() -> tuple[list[int], int, list[int]]:
        remembered = Remembered(compute)
        first = await asyncio.gather(*(remembered.of(found) for _ in range(5)))
        with found.home.open() as store:
            newest = store.record_event(acquire(store, "digits"), "test", {}).id
        return first, newest, await asyncio.gather(*(remembered.of(found) for _ in range(5)))

    first, newest, second = asyncio.run(ask())
    assert first == [computed[0]] * 5
    assert second == [newest] * 5
    assert computed == [first[0], newest]

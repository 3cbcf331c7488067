"""What takes long to compute of a search: computed by one thread at a time, and kept until something happens to it."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Generic, TypeVar

from anyio.to_thread import run_sync

from autokd.searches.result import SearchResult
from autokd.searches.watching import newest_event

__all__ = ["Remembered"]

T = TypeVar("T")


class Remembered(Generic[T]):
    """Answers of a function of searches, each as new as the newest event when it was asked for.

    Whoever asks while it is computed waits, without a thread, for that answer or the next, which all those share.

    Args:
        compute: The function, which reads what events tell of, and nothing else.
    """

    def __init__(self, compute: Callable[[SearchResult], T]) -> None:
        self._compute, self._computing = compute, asyncio.Lock()
        self._known: dict[str, tuple[tuple[datetime, int], T]] = {}

    async def of(self, found: SearchResult) -> T:
        """The answer for a search."""
        asked = await run_sync(_moment, found)
        async with self._computing:
            known = self._known.get(found.name)
            if known is None or known[0] < asked:
                now = await run_sync(_moment, found)  # first: what happens meanwhile may be missing in the answer
                known = self._known[found.name] = now, await run_sync(self._compute, found)
            return known[1]


def _moment(found: SearchResult) -> tuple[datetime, int]:
    """When a search was created, since its name may be used again, and its newest event."""
    with found.home.open() as store:
        search = store.search(found.name)
        return search.created_at, newest_event(store, search)

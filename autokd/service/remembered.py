"""What takes long to compute of a search: computed by one thread at a time, and kept until something happens to it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from anyio.to_thread import run_sync

from autokd.searches.progress import is_running
from autokd.searches.result import SearchResult
from autokd.searches.watching import newest_event

__all__ = ["Remembered", "as_of_events", "as_of_process"]

T = TypeVar("T")


@dataclass(frozen=True)
class Moment:
    """A moment in the life of a search.

    Attributes:
        created_at: When the search was created, since its name may be used again.
        event: Id of its newest event.
        process: What else can change, and needs no event for it: the last heartbeat of the process that runs it, and
            whether it runs.
    """

    created_at: datetime
    event: int
    process: tuple[datetime | None, bool] | None = None

    def is_as_new_as(self, other: "Moment") -> bool:
        """Whether nothing that had happened at the other moment was still to happen at this one."""
        return self == other or (self.created_at, self.event) > (other.created_at, other.event)


class Remembered(Generic[T]):
    """Answers of a function of searches, each as new as the search was when it was asked for.

    Whoever asks while it is computed waits, without a thread, for that answer or the next, which all those share.

    Args:
        compute: The function, which reads what is the same as long as the moment is.
        moment: Tells the moment of a search; far cheaper than the function.
    """

    def __init__(self, compute: Callable[[SearchResult], T], moment: Callable[[SearchResult], Moment]) -> None:
        self._compute, self._moment, self._computing = compute, moment, asyncio.Lock()
        self._known: dict[str, tuple[Moment, T]] = {}

    async def of(self, found: SearchResult) -> T:
        """The answer for a search.

        Raises:
            UnknownSearch: If there is none of its name.
        """
        asked = now = await run_sync(self._moment, found)
        has_waited = self._computing.locked()
        async with self._computing:
            known = self._known.get(found.name)
            if known is None or not known[0].is_as_new_as(asked):
                if has_waited:  # the answer will do for those who have asked meanwhile, too
                    now = await run_sync(self._moment, found)
                known = self._known[found.name] = now, await run_sync(self._compute, found)
            return known[1]


def as_of_events(found: SearchResult) -> Moment:
    """The moment of a search for what its events tell."""
    with found.home.open() as store:
        search = store.search(found.name)
        return Moment(search.created_at, newest_event(store, search))


def as_of_process(found: SearchResult) -> Moment:
    """The same, also for whether a process runs it.

    What is recorded without an event, as which worker has what, is thus at most as old as a heartbeat.
    """
    with found.home.open() as store:
        search = store.search(found.name)
        process = search.lease_heartbeat_at, is_running(store, search)
        return Moment(search.created_at, newest_event(store, search), process)

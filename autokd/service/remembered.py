"""What takes long to compute of a search: computed by one thread at a time, and kept until something happens to it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Generic, TypeVar

from anyio.to_thread import run_sync

from autokd.database.reading import Reader
from autokd.database.rows import SearchRow
from autokd.searches.progress import is_running
from autokd.searches.result import SearchResult

__all__ = ["AsOf", "Remembered", "as_of_events", "as_of_process"]

REST = 9.0  # times as long as it took to compute an answer: so a search that runs loses a tenth of a core at most

T = TypeVar("T")


@dataclass(frozen=True)
class Moment:
    """A moment in the life of a search.

    Attributes:
        created_at: When the search was created, since its name may be used again.
        event: Id of its newest event.
        at: When that happened.
        is_running: Whether a process runs the search.
        process: What else can change, and needs no event for it: the last heartbeat of the process that runs it, and
            whether it runs.
    """

    created_at: datetime
    event: int
    at: datetime
    is_running: bool = field(compare=False)
    process: tuple[datetime | None, bool] | None = None

    def is_as_new_as(self, other: "Moment") -> bool:
        """Whether nothing that had happened at the other moment was still to happen at this one."""
        return self == other or (self.created_at, self.event) > (other.created_at, other.event)


@dataclass(frozen=True)
class AsOf:
    """Up to where an answer knows what happened to a search.

    Attributes:
        event: Id of the newest event that it knows of.
        at: When that happened.
        is_newest: Whether nothing has happened since. Otherwise a newer answer is computed: ask again later.
    """

    event: int
    at: datetime
    is_newest: bool


class Remembered(Generic[T]):
    """Answers of a function of searches: `of` as new as the search was when it was asked for, `last` at once.

    Whoever asks for one that is computed waits, without a thread, for that answer or the next, which all those share.

    Args:
        compute: The function, which reads what is the same as long as the moment is.
        moment: Tells the moment of a search; far cheaper than the function.
        computing: What is held while something is computed, where several functions share it.
        rest: Times as long as it took to compute an answer, during which none is computed in the background if the
            search runs.
    """

    def __init__(
        self,
        compute: Callable[[SearchResult], T],
        moment: Callable[[SearchResult], Moment],
        computing: asyncio.Lock | None = None,
        rest: float = REST,
    ) -> None:
        self._compute, self._moment, self._rest = compute, moment, rest
        self._computing = computing or asyncio.Lock()
        self._known: dict[str, tuple[Moment, T]] = {}
        self._rests_until: dict[str, float] = {}
        self._renewals: dict[str, asyncio.Task[None]] = {}

    async def of(self, found: SearchResult) -> T:
        """The answer for a search.

        Raises:
            UnknownSearch: If there is none of its name.
        """
        _, answer = await self._as_new_as(await self._now(found), found)
        return answer

    async def last(self, found: SearchResult) -> tuple[T, AsOf]:
        """The last answer for a search, for which only the first who ask wait, and how new it is.

        If it is not the newest, that is computed in the background, unless the search runs and the last one was
        computed just before; then it is once somebody asks again.

        Raises:
            UnknownSearch: If there is none of its name.
        """
        now = await self._now(found)
        known = self._known.get(found.name)
        if known is None or known[0].created_at < now.created_at:
            known = await self._as_new_as(now, found)
        moment, answer = known
        is_newest = moment.is_as_new_as(now)
        if not is_newest:
            self._renew(found, rests=now.is_running)
        return answer, AsOf(moment.event, moment.at, is_newest)

    async def _now(self, found: SearchResult) -> Moment:
        """The moment of a search; what is known of a later one is forgotten, since the database was replaced since."""
        known = self._known.get(found.name)
        now = await run_sync(self._moment, found)
        if known is not None and (now.created_at, now.event) < (known[0].created_at, known[0].event):
            self._known.pop(found.name, None)
        return now

    async def _as_new_as(self, asked: Moment, found: SearchResult) -> tuple[Moment, T]:
        now, has_waited = asked, self._computing.locked()
        async with self._computing:
            known = self._known.get(found.name)
            if known is None or not known[0].is_as_new_as(asked):
                if has_waited:  # the answer will do for those who have asked meanwhile, too
                    now = await run_sync(self._moment, found)
                began = time.monotonic()
                try:
                    known = self._known[found.name] = now, await run_sync(self._compute, found)
                finally:
                    ended = time.monotonic()
                    self._rests_until[found.name] = ended + self._rest * (ended - began)
            return known

    def _renew(self, found: SearchResult, rests: bool) -> None:
        """Let the newest answer for a search be computed, unless it is already, or there is a rest."""
        renewal = self._renewals.get(found.name)
        is_computed = renewal is not None and not renewal.done()
        if not is_computed and not (rests and time.monotonic() < self._rests_until[found.name]):
            self._renewals[found.name] = asyncio.create_task(self._compute_newest(found))

    async def _compute_newest(self, found: SearchResult) -> None:
        try:
            await self.of(found)
        except Exception:
            self._known.pop(found.name, None)  # whoever asks next waits for it, and hears why it fails


def as_of_events(found: SearchResult) -> Moment:
    """The moment of a search for what its events tell."""
    with found.home.open() as store:
        search = store.search(found.name)
        return _moment(store, search)


def as_of_process(found: SearchResult) -> Moment:
    """The same, also for whether a process runs it.

    What is recorded without an event, as which worker has what, is thus at most as old as a heartbeat.
    """
    with found.home.open() as store:
        search = store.search(found.name)
        moment = _moment(store, search)
        return replace(moment, process=(search.lease_heartbeat_at, moment.is_running))


def _moment(store: Reader, search: SearchRow) -> Moment:
    newest = next(iter(store.last_events(search.id, 1)), None)
    event, at = (newest.id, newest.at) if newest else (0, search.created_at)
    return Moment(search.created_at, event, at, is_running(store, search))

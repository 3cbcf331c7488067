"""A search as seen by another process than the one that runs it, looked at again and again until it ends."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from autokd.database.reading import Reader
from autokd.database.rows import EventRow, SearchRow
from autokd.searches.progress import Progress, Training, current_progress
from autokd.searches.result import SearchResult
from autokd.searches.retraining import trainings
from autokd.searches.workspace import Workspace

__all__ = ["Look", "newest_event", "watch"]

BEGINNING = timedelta(seconds=30)
"""Time after its creation within which a search is expected to begin; its process reads data and teacher meanwhile."""


@dataclass(frozen=True)
class Look:
    """What was seen at one moment.

    Attributes:
        progress: How far the search is.
        events: What happened since the look before.
        seen: Id of the newest event that was seen.
        trainings: How far its full-length trainings are, which `watch` alone reads.
    """

    progress: Progress
    events: Sequence[EventRow]
    seen: int
    trainings: Sequence[Training] = ()

    @property
    def is_training(self) -> bool:
        """Whether students are being trained at full length, rather than searched."""
        return not self.progress.evaluations and any(each.state == "running" for each in self.trainings)


def watch(result: SearchResult, seconds: float) -> Iterator[Look]:
    """Look at a search until no process runs it any more, at least once; outages of the database are waited out.

    One that was recorded just now and has not begun is waited for.

    Nothing is written and no transaction stays open between two looks, so the search does not notice.

    Args:
        result: The search; its reporter hears of outages.
        seconds: Time between two looks.

    Raises:
        DatabaseGone: If an outage lasts too long.
    """
    with result.home.open(notify=result.reporter.notify) as store:
        seen = newest_event(store, store.search(result.name))
        while True:
            search = store.search(result.name)
            now = _look(store, search, result.home, seen)
            seen = now.seen
            yield replace(now, trainings=trainings(result.problem_of(search), store, search.id))
            if not (now.progress.is_running or _is_beginning(search)):
                return
            time.sleep(seconds)


def newest_event(store: Reader, search: SearchRow) -> int:
    """Id of the newest event of a search; 0 if it has none."""
    return max((event.id for event in store.last_events(search.id, 1)), default=0)


def _look(store: Reader, search: SearchRow, home: Workspace, seen: int) -> Look:
    """Look at a search once, where `seen` is the newest event that was seen before."""
    progress = current_progress(store, search, home)  # first: events of its end are then among what follows
    events = store.events(search.id, seen)
    newest = max((event.id for event in events), default=seen)
    return Look(progress, events, newest)


def _is_beginning(search: SearchRow) -> bool:
    """Whether a search was recorded just now, by a clock that is about right, and has not begun."""
    return search.status == "created" and abs(datetime.now(UTC) - search.created_at) < BEGINNING

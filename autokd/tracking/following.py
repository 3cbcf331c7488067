"""Feeds trackers from the events of a search while it runs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from autokd.config.tracking import TrackingConfig
from autokd.core.repeating import repeating
from autokd.database.errors import DatabaseGone
from autokd.database.reading import Reader
from autokd.database.rows import EventRow, SearchRow, TrialRow
from autokd.database.store import Store
from autokd.errors import InputError, first_line
from autokd.tracking import mlflow, tensorboard, wandb
from autokd.tracking.tracker import Measurement, Tracker

__all__ = ["check_trackers", "follow", "tracked"]

PERIOD_SECONDS = 2.0
AT_ONCE = 500  # events
_CONNECT: dict[str, Callable[[str], object]] = {
    "mlflow": mlflow.connect,
    "tensorboard": tensorboard.connect,
    "wandb": wandb.connect,
}
_TRACKERS: dict[str, Callable[[str, SearchRow], Tracker]] = {
    "mlflow": mlflow.MLflow,
    "tensorboard": tensorboard.TensorBoard,
    "wandb": wandb.WandB,
}


def check_trackers(config: TrackingConfig) -> None:
    """Check that the trackers of a configuration can be used.

    Raises:
        InputError: If one is not installed, or does not answer.
    """
    for name, place in _places(config):
        with _naming(name, place):
            _CONNECT[name](place)


@contextmanager
def tracked(
    config: TrackingConfig, search_id: int, open_store: Callable[[], Store], notify: Callable[[str], None]
) -> Iterator[None]:
    """A block during which a thread feeds the trackers of a configuration; what came last is told after it.

    What earlier sessions did not track is told first. A tracker that fails is left alone from then on, and the search
    goes on without it.

    Args:
        config: Which trackers.
        search_id: Id of the search.
        open_store: Opens its database, for the thread.
        notify: Hears, after the block, that a tracker failed.

    Raises:
        InputError: If a tracker is not installed, or does not answer when the block begins.
    """
    places = list(_places(config))
    if not places:
        yield
        return
    with open_store() as store:
        feeds = [_Feed(name, place, store, search_id) for name, place in places]

        def catch_up() -> None:
            for feed in feeds:
                feed.catch_up()

        try:
            with repeating(catch_up, PERIOD_SECONDS, "tracking"):
                yield
        finally:
            for feed in feeds:
                feed.end()
                if feed.failure:
                    notify(f"tracking.{feed.name} failed and was left alone from then on: {feed.failure}")


def _places(config: TrackingConfig) -> Iterator[tuple[str, str]]:
    """The trackers of a configuration, each with its place."""
    yield from ((name, place) for name in _CONNECT if (place := getattr(config, name)) is not None)


@contextmanager
def _naming(name: str, place: str) -> Iterator[None]:
    """A block whose failure is one of the configuration."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"tracking.{name}: {place!r} cannot be used: {first_line(error)}.") from None


class _Feed:
    """One tracker, and how far it is."""

    def __init__(self, name: str, place: str, store: Reader, search_id: int) -> None:
        self.name, self.failure = name, ""
        self._store, self._search_id = store, search_id
        with _naming(name, place):
            self._tracker = _TRACKERS[name](place, store.search(search_id))
            self._seen = self._tracker.seen

    def catch_up(self) -> None:
        """Tell what happened since the last time, unless the tracker has failed."""
        if self.failure:
            return
        try:
            self._seen = follow(self._tracker, self._store, self._search_id, self._seen)
        except DatabaseGone:
            pass  # the search waits for it, in the open
        except Exception as error:
            self.failure = first_line(error)

    def end(self) -> None:
        """Tell what is left, and let the tracker write it."""
        self.catch_up()
        try:
            self._tracker.close()
        except Exception as error:
            self.failure = self.failure or first_line(error)


def follow(tracker: Tracker, store: Reader, search_id: int, seen: int) -> int:
    """Tell a tracker everything that happened since an event, and return the id of the newest.

    Args:
        tracker: The tracker.
        store: The database.
        search_id: Id of the search.
        seen: Id of the newest event that was told.
    """
    while events := store.events(search_id, seen, AT_ONCE):
        _tell(tracker, store, search_id, events)
        seen = events[-1].id
        tracker.saw(seen)
    return seen


def _tell(tracker: Tracker, store: Reader, search_id: int, events: Sequence[EventRow]) -> None:
    trials = _trials_of(store, search_id, events)
    ids = [trial.id for trial in trials.values()]
    students = {student.id: student for student in store.students(search_id, trials=ids, architectures=False)}
    evaluations = {row.id: row for row in store.evaluations(search_id, trials=ids)}
    for event in events:
        trial = trials.get(event.payload.get("trial", ""))
        if event.kind == "status_changed":
            tracker.changed(store.search(search_id))
        elif trial is None:
            continue
        elif event.kind == "trial_opened":
            tracker.opened(trial)
        elif event.kind == "evaluation_finished":
            row = evaluations[event.payload["evaluation"]]
            tracker.measured(Measurement(trial, students[row.student_id], row))
        elif event.kind == "trial_finished":
            its = [student for student in students.values() if student.trial_id == trial.id]
            tracker.ended(trial, [student for student in its if student.purpose == "search"])


def _trials_of(store: Reader, search_id: int, events: Sequence[EventRow]) -> dict[int, TrialRow]:
    """The trials and references that events are about, by number."""
    numbers = {event.payload["trial"] for event in events if "trial" in event.payload}
    if not numbers:  # as while the teacher's outputs are computed
        return {}
    found = store.trials(search_id, store.trial_ids(search_id, numbers=numbers))
    return {trial.number: trial for trial in [*found, *store.references(search_id)]}

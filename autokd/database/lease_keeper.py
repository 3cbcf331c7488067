"""A thread that keeps a lease alive while its controller works or waits, and hears who wants it to stop."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from autokd.core.repeating import repeating
from autokd.database.errors import DatabaseError, DatabaseGone, LeaseLost, UnknownSearch
from autokd.database.lease import Lease, acquire, heartbeat, release
from autokd.database.outages import Patience
from autokd.database.rows import StopMode
from autokd.database.store import Store

__all__ = ["PERIOD_SECONDS", "StopRequest", "owning"]

PERIOD_SECONDS = 5.0


@dataclass
class StopRequest:
    """How the owner of a search is to stop, as its heartbeat last heard; None if it is not."""

    mode: StopMode | None = None


@contextmanager
def owning(store: Store, name: str, stop: StopRequest) -> Iterator[Lease]:
    """A block with the lease of a search, renewed by a thread and released at the end.

    While the database is gone the lease cannot be renewed: another machine may take it over as soon as the database is
    back, and then the next heartbeat stops this owner, whose workers write the same files as those of the new one. If
    it is gone at the end, a thread releases the lease later; the end of the process does so, too.

    Args:
        store: The database.
        name: Name of the search.
        stop: Set by the thread.

    Raises:
        LeaseHeld: If another controller owns the search.
    """
    lease = acquire(store, name)
    try:
        with repeating(lambda: _beat(store, lease, stop), PERIOD_SECONDS, "heartbeat"):
            yield lease
    finally:
        try:
            release(store, lease)
        except DatabaseGone:
            threading.Thread(target=_release_later, args=(store, lease), name="release", daemon=True).start()


def _beat(store: Store, lease: Lease, stop: StopRequest) -> None:
    try:
        stop.mode = heartbeat(store, lease)
    except (LeaseLost, UnknownSearch):  # which the controller says when it records its end
        stop.mode = "now"
    except DatabaseError:
        pass  # the controller meets it at its next write, in the open


def _release_later(store: Store, lease: Lease) -> None:
    store.patience = Patience()  # nobody is told of it any more
    gone = True
    while gone:
        time.sleep(PERIOD_SECONDS)
        try:
            release(store, lease)
            gone = False
        except DatabaseError as error:  # another one than the outage: the lease or the database is no longer ours
            gone = isinstance(error, DatabaseGone)
    store.close()

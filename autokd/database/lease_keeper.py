"""A thread that keeps a lease alive while its controller works or waits."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from autokd.database.errors import DatabaseError
from autokd.database.lease import Lease, acquire, heartbeat, release
from autokd.database.store import Store

__all__ = ["owning"]

PERIOD_SECONDS = 5.0


@contextmanager
def owning(store: Store, name: str) -> Iterator[Lease]:
    """A block with the lease of a search, renewed by a thread and released at the end.

    Raises:
        LeaseHeld: If another controller owns the search.
    """
    lease = acquire(store, name)
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(store, lease, ended), name="heartbeat", daemon=True)
    beating.start()
    try:
        yield lease
    finally:
        ended.set()
        beating.join()
        release(store, lease)


def _beat(store: Store, lease: Lease, ended: threading.Event) -> None:
    while not ended.wait(PERIOD_SECONDS):
        try:
            heartbeat(store, lease)
        except DatabaseError:
            continue  # a lost lease or database stops the controller at its next write, in the open

"""The lease of a search: its row names the one controller that owns it, and a token fences off all earlier owners.

A lease is free if it was released, if its owner's process on this machine no longer exists, or if an owner on another
machine has sent no heartbeat for some time. A process on this machine that exists but sends no heartbeat is stopped or
busy, and keeps its lease until it is ended.
"""

import os
from datetime import datetime

from sqlalchemy import select, update

from autokd.database.errors import LeaseHeld, LeaseLost, NotRunning, UnknownSearch
from autokd.database.models import Event, Job, Search
from autokd.database.outages import patient
from autokd.database.owner import NOBODY, TTL_SECONDS, Owner, machine, now_of, occupy, vacate
from autokd.database.reading import Reader, find_search
from autokd.database.row_checks import row_of
from autokd.database.rows import SearchRow, StopMode
from autokd.database.store import Store
from autokd.database.writing import Lease, Writing, fenced

__all__ = [
    "TTL_SECONDS",
    "Lease",
    "acquire",
    "heartbeat",
    "is_owned",
    "release",
    "request_stop",
    "stop_was_requested",
    "void_all",
]


@patient
def acquire(store: Store, search: str | int, ttl_seconds: float = TTL_SECONDS) -> Lease:
    """Acquire the lease of a search for this process; all earlier leases of the search become void.

    Args:
        store: The database.
        search: Name or id.
        ttl_seconds: Time after which an owner on another machine that sends no heartbeat counts as dead.

    Raises:
        UnknownSearch: If there is no such search.
        LeaseHeld: If another process owns it; the message says which, where, and since when it is silent.
    """
    with store.transaction() as session:
        row = find_search(session, search, lock=True)
        now = now_of(session)
        before = Owner.of(row)
        if before is not None and before.is_alive(now, ttl_seconds):
            raise LeaseHeld(_held(row.name, before, now, ttl_seconds))
        occupy(row, Owner.this(now))
        row.stop = None
        row.lease_token += 1
        payload = {"token": row.lease_token, "host": row.lease_host, "pid": row.lease_pid}
        payload |= {"before": None if before is None else before.label}
        Writing(session, row.id).record("lease_acquired", payload)
        return Lease(row.id, row.lease_token)


@patient
def is_owned(store: Reader, search: str | int, ttl_seconds: float = TTL_SECONDS) -> bool:
    """Whether a live controller owns the search; one that was killed did not release its lease.

    Args:
        store: The database.
        search: Name or id of the search.
        ttl_seconds: Silence, in seconds, after which an owner on another machine counts as dead.

    Raises:
        UnknownSearch: If there is no such search.
    """
    with store.session() as session:
        owner = Owner.of(find_search(session, search))
        return owner is not None and owner.is_alive(now_of(session), ttl_seconds)


def heartbeat(store: Store, lease: Lease) -> StopMode | None:
    """Record that the owner is alive, and return how it was asked to stop; to be called about every five seconds.

    Raises:
        LeaseLost: If the lease changed hands.
    """
    with store.transaction() as session:
        search = fenced(session, lease)
        search.lease_heartbeat_at = now_of(session)
        return search.stop  # type: ignore[return-value]


def request_stop(store: Store, search: str | int, mode: StopMode, ttl_seconds: float = TTL_SECONDS) -> SearchRow:
    """Ask the owner of a search to stop, and return the row that names it; it hears of that at its next heartbeat.

    Args:
        store: The database.
        search: Name or id of the search.
        mode: "gracefully", once the running evaluations have ended, or "now".
        ttl_seconds: Silence, in seconds, after which an owner on another machine counts as dead.

    Raises:
        UnknownSearch: If there is no such search.
        NotRunning: If nobody owns it.
    """
    with store.transaction() as session:
        row = find_search(session, search, lock=True)
        owner = Owner.of(row)
        if owner is None or not owner.is_alive(now_of(session), ttl_seconds):
            raise NotRunning(f"Only a search that runs can be stopped, but nobody runs {row.name!r}.")
        row.stop = mode
        Writing(session, row.id).record("stop_requested", {"mode": mode})
        return row_of(SearchRow, row)


@patient
def release(store: Store, lease: Lease) -> bool:
    """Release the lease, and return whether it was still held; a lost lease, or a deleted search, is no error here."""
    try:
        with store.transaction() as session:
            search = fenced(session, lease)
            vacate(search)
            search.stop = None
            search.lease_token += 1  # so that this lease is void, too
            Writing(session, search.id).record("lease_released", {"token": lease.token})
    except (LeaseLost, UnknownSearch):
        return False
    return True


def void_all(store: Store) -> None:
    """Let nobody own any search or job, as in a copy of a database, whose owners write the original."""
    void = {**NOBODY, "stop": None, "lease_token": Search.lease_token + 1}
    with store.transaction() as session:
        session.execute(update(Search).where(Search.lease_host.is_not(None)).values(void))
        session.execute(update(Job).where(Job.lease_host.is_not(None)).values(NOBODY))


@patient
def stop_was_requested(store: Reader, search: str) -> bool:
    """Whether anybody asked the process that owned a search last to stop.

    Args:
        store: The database.
        search: Name of the search; False if there is none of it yet.
    """
    begun_or_stopped = Event.kind.in_(("lease_acquired", "stop_requested"))
    of_search = Event.search_id == select(Search.id).where(Search.name == search).scalar_subquery()
    with store.session() as session:
        last = session.scalar(select(Event.kind).where(of_search, begun_or_stopped).order_by(Event.id.desc()).limit(1))
    return last == "stop_requested"


def _held(name: str, owner: Owner, now: datetime, ttl_seconds: float) -> str:
    way_out = f"wait until it was silent for {ttl_seconds:.0f} s"
    if owner.machine == machine():
        way_out = "release it first: it is this very process" if owner.pid == os.getpid() else "end it first"
    return (
        f"Search {name!r} is run by {owner.label} (last heartbeat {owner.silent_seconds(now):.0f} s ago), and only one "
        f"controller may run it: {way_out}."
    )

"""The queue: searches that are to be run, as rows that every service and every process that runs one of them shares.

A job is taken by the very process that runs it, in one transaction, so two processes never have the same one, whoever
started them. A process that was killed leaves its job "running" without a live owner; then another one may take it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from autokd.core.spelling import free_name
from autokd.database.errors import SearchExists, UnknownJob
from autokd.database.models import Event, Job, Search
from autokd.database.owner import Owner, now_of, occupy, vacate
from autokd.database.reading import Reader
from autokd.database.row_checks import row_of
from autokd.database.rows import JobRow, JobState
from autokd.database.store import Store

__all__ = [
    "LIVE",
    "MOST_STARTS",
    "beat",
    "cancel",
    "end",
    "enqueue",
    "is_past",
    "jobs",
    "newest_job",
    "next_jobs",
    "queued_jobs",
    "take",
]

MOST_STARTS = 3
"""Processes that may take a job: whatever kills so many of them would kill the next one, too."""

LIVE = ("waiting", "running")  # states of jobs that have not ended
_BEST_FIRST = Job.priority.desc(), Job.id


def enqueue(
    store: Store,
    search: str,
    config: Mapping[str, Any] | None,
    priority: int = 0,
    renames: bool = False,
    trains: bool = False,
) -> JobRow:
    """Add a job to the queue.

    Args:
        store: The database.
        search: Name of the search.
        config: Configuration of a new search; None for one that goes on.
        priority: See `JobRow`.
        renames: Whether a number is appended to a new search's name that is taken.
        trains: See `JobRow`.

    Raises:
        SearchExists: If a new search's name is taken, or the search is in the queue already.
    """
    with store.transaction() as session:
        _lock(session)
        queued = set(session.scalars(select(Job.search).where(Job.state.in_(LIVE))))
        taken = queued | set(session.scalars(select(Search.name))) if config is not None else queued
        if renames:
            search = free_name(search, taken)
        if search in taken:
            if config is None:
                raise SearchExists(f"Search {search!r} is in the queue already.")
            raise SearchExists(f"There is a search {search!r} already, or it is in the queue: choose another name.")
        job = Job(
            search=search,
            config=None if config is None else {**config, "name": search},
            trains=trains,
            priority=priority,
            state="waiting",
            starts=0,
            created_at=datetime.now(UTC),
        )
        session.add(job)
        session.flush()
        return row_of(JobRow, job)


def jobs(store: Reader, most: int, *states: JobState) -> list[JobRow]:
    """The newest jobs, of some states or all, the newest first.

    Args:
        store: The database.
        most: Largest number of jobs.
        states: Their states; none for all.
    """
    query = select(Job).order_by(Job.id.desc()).limit(most)
    with store.session() as session:
        return [row_of(JobRow, job) for job in session.scalars(query.where(Job.state.in_(states)) if states else query)]


def queued_jobs(store: Reader, most_ended: int) -> list[JobRow]:
    """All jobs that have not ended, and the newest others, the newest first.

    Args:
        store: The database.
        most_ended: Largest number of those that have ended.
    """
    newest, is_live = select(Job).order_by(Job.id.desc()), Job.state.in_(LIVE)
    with store.session() as session:
        found = [*session.scalars(newest.where(is_live)), *session.scalars(newest.where(~is_live).limit(most_ended))]
        return [row_of(JobRow, job) for job in sorted(found, key=lambda job: -job.id)]


def newest_job(store: Reader, search: str) -> JobRow | None:
    """The newest job of a search, if it has any."""
    with store.session() as session:
        job = session.scalar(select(Job).where(Job.search == search).order_by(Job.id.desc()).limit(1))
        return None if job is None else row_of(JobRow, job)


def is_past(store: Reader, job_id: int) -> bool:
    """Whether a job has ended, and somebody has taken its search up since; false for ends of earlier versions.

    Raises:
        UnknownJob: If there is none.
    """
    with store.session() as session:
        job = _find(session, job_id)
        if job.state in LIVE or job.lease_heartbeat_at is None:
            return False
        of_search = Event.search_id == select(Search.id).where(Search.name == job.search).scalar_subquery()
        taken_up = select(Event.id).where(of_search, Event.kind == "lease_acquired", Event.at > job.lease_heartbeat_at)
        return session.scalar(taken_up.limit(1)) is not None


def next_jobs(store: Reader, most: int) -> list[JobRow]:
    """The jobs for which processes are to be started now, so that at most so many run.

    Jobs that a process has left come first: they have begun.
    """
    with store.session() as session:
        begun = session.scalars(select(Job).where(Job.state == "running").order_by(*_BEST_FIRST)).all()
        left = [job for job in begun if not _is_owned(job, session)]
        waiting = session.scalars(select(Job).where(Job.state == "waiting").order_by(*_BEST_FIRST).limit(most))
        free = max(0, most - len(begun) + len(left))
        return [row_of(JobRow, job) for job in [*left, *waiting][:free]]


def take(store: Store, job_id: int, most: int) -> JobRow | None:
    """Let this process own a job; None if it may not: another one owns it, it has ended, or so many run already.

    Args:
        store: The database.
        job_id: The job.
        most: Largest number of jobs that run at the same time.
    """
    with store.transaction() as session:
        _lock(session)
        job = _find(session, job_id)
        running = session.scalars(select(Job).where(Job.state == "running", Job.id != job_id)).all()
        if job.state not in LIVE or _is_owned(job, session):
            return None
        if sum(_is_owned(other, session) for other in running) >= most:
            return None
        if job.starts >= MOST_STARTS:
            job.reason = f"{job.starts} processes that ran it were killed"
            _end(job, "failed")
            return None
        occupy(job, Owner.this(now_of(session)))
        job.state, job.reason, job.starts = "running", None, job.starts + 1
        return row_of(JobRow, job)


def beat(store: Store, job_id: int) -> bool:
    """Record that this process, which owns a job, lives, and return whether the job was cancelled meanwhile.

    To be called about every five seconds.
    """
    with store.transaction() as session:
        if job := _own(session, job_id):
            job.lease_heartbeat_at = now_of(session)
        return _find(session, job_id).state == "cancelled"


def end(store: Store, job_id: int, state: JobState, reason: str | None = None) -> None:
    """Record how a job ended, if this process still owns it; "waiting" gives it back to the queue.

    Args:
        store: The database.
        job_id: The job.
        state: Its state from now on.
        reason: Why.
    """
    with store.transaction() as session:
        if job := _own(session, job_id):
            job.reason = reason
            job.starts -= state == "waiting"  # it was no fault of the job
            _end(job, state)


def cancel(store: Store, job_id: int) -> bool:
    """Cancel a job whose search nobody runs, and return whether it was one.

    A process that is about to begin the search hears of it at its next beat.

    Raises:
        UnknownJob: If there is none.
    """
    with store.transaction() as session:
        _lock(session)
        job = _find(session, job_id)
        if job.state not in LIVE or (_is_owned(job, session) and _is_searching(job, session)):
            return False
        _end(job, "cancelled")
        return True


def _lock(session: Session) -> None:
    """Keep others from changing the queue until the transaction ends; with SQLite it has all of the database."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("LOCK TABLE jobs IN SHARE ROW EXCLUSIVE MODE"))


def _find(session: Session, job_id: int) -> Job:
    job = session.get(Job, job_id)
    if job is None:
        raise UnknownJob(f"There is no job {job_id} in the queue.")
    return job


def _end(job: Job, state: JobState) -> None:
    """Give a job up, with the moment at which that was; by the clock of the events of the process that ran it."""
    vacate(job)
    job.state, job.lease_heartbeat_at = state, datetime.now(UTC)


def _own(session: Session, job_id: int) -> Job | None:
    """The job, if this process owns it: one that was silent for long may have lost it."""
    job = _find(session, job_id)
    owner = Owner.of(job)
    return job if owner is not None and owner.is_this else None


def _is_owned(row: Job | Search, session: Session) -> bool:
    owner = Owner.of(row)
    return owner is not None and owner.is_alive(now_of(session))


def _is_searching(job: Job, session: Session) -> bool:
    search = session.scalar(select(Search).where(Search.name == job.search))
    return search is not None and _is_owned(search, session)

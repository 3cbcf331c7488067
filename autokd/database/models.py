"""The tables. A change here comes with a migration in `migrations/versions` and a new `REVISION`."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Double, ForeignKey, Index, MetaData, String, UniqueConstraint, false, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from autokd.database.types import BigInt, Json, UtcDateTime

__all__ = ["REVISION", "Base", "Evaluation", "Event", "Job", "Leased", "Leftover", "Search", "Student", "Trial"]

# The newest migration, kept here so that opening an up-to-date database need not load alembic.
REVISION = "0013"

_BEGINS_SESSION = text("kind = 'lease_acquired'")
_IS_FINAL = text("purpose = 'final'")


class Base(DeclarativeBase):
    """Base of all tables: column types by annotation, and constraint names on which migrations rely."""

    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy reads a plain dict)
        int: BigInt,
        float: Double(),
        str: String(),
        datetime: UtcDateTime(),
        dict[str, Any]: Json(),
        list[float]: Json(),
    }
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Leased:
    """Columns of a table whose rows a process may own.

    `lease_machine` tells apart machines, boots and containers that share a host name.
    """

    lease_host: Mapped[str | None]
    lease_machine: Mapped[str | None]
    lease_pid: Mapped[int | None]
    lease_process_started: Mapped[float | None]
    lease_heartbeat_at: Mapped[datetime | None]


class Search(Leased, Base):
    """See `rows.SearchRow`; the process that runs the search owns it."""

    __tablename__ = "searches"
    __table_args__ = (
        CheckConstraint("status IN ('created', 'running', 'interrupted', 'finished', 'failed')", name="status"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str]
    seed: Mapped[int]
    config: Mapped[dict[str, Any]]
    config_digest: Mapped[str]
    facts: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    lease_token: Mapped[int] = mapped_column(default=0)
    stop: Mapped[str | None] = mapped_column(sort_order=1)  # the last column, as migrations left it


class Trial(Base):
    """See `rows.TrialRow`."""

    __tablename__ = "trials"
    __table_args__ = (
        UniqueConstraint("search_id", "number"),
        UniqueConstraint("search_id", "finish_order"),
        CheckConstraint("state IN ('running', 'complete', 'pruned', 'failed')", name="state"),
        CheckConstraint("(state = 'running') = (finish_order IS NULL)", name="finish_order"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    search_id: Mapped[int] = mapped_column(ForeignKey("searches.id"))
    number: Mapped[int]
    parameters: Mapped[dict[str, Any]]
    state: Mapped[str]
    value: Mapped[float | None]
    reason: Mapped[str | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    finish_order: Mapped[int | None]
    opened_after: Mapped[int] = mapped_column(server_default="0")
    reference: Mapped[str | None]
    costs: Mapped[list[float] | None]
    rung: Mapped[int | None]
    seconds: Mapped[float | None]
    at_chance: Mapped[bool | None]


class Student(Base):
    """See `rows.StudentRow`."""

    __tablename__ = "students"
    __table_args__ = (
        UniqueConstraint("trial_id", "purpose", "replicate"),
        CheckConstraint("purpose IN ('search', 'final')", name="purpose"),
        Index("ix_students_final", "search_id", "id", sqlite_where=_IS_FINAL, postgresql_where=_IS_FINAL),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    search_id: Mapped[int] = mapped_column(ForeignKey("searches.id"), index=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"))
    replicate: Mapped[int]
    purpose: Mapped[str]
    digest: Mapped[str]
    architecture: Mapped[dict[str, Any]]
    params: Mapped[int]
    macs: Mapped[int]
    activation_bytes: Mapped[int]
    model_bytes: Mapped[int]
    warm_from: Mapped[str | None]


class Evaluation(Base):
    """See `rows.EvaluationRow`."""

    __tablename__ = "evaluations"
    __table_args__ = (
        UniqueConstraint("student_id", "rung"),
        CheckConstraint("state IN ('running', 'complete', 'failed')", name="state"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    search_id: Mapped[int] = mapped_column(ForeignKey("searches.id"), index=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), index=True)
    student_id: Mapped[int] = mapped_column(ForeignKey("students.id"))
    rung: Mapped[int]
    epochs: Mapped[float]
    key: Mapped[str]
    state: Mapped[str]
    metrics: Mapped[dict[str, Any] | None]
    seconds: Mapped[float | None]
    reason: Mapped[str | None]
    worker: Mapped[str | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    fault: Mapped[str | None]
    epoch_seconds: Mapped[float | None]


class Event(Base):
    """See `rows.EventRow`; append-only, and an id is never used twice."""

    __tablename__ = "events"
    __table_args__ = (
        Index(None, "search_id", "id"),
        Index("ix_events_sessions", "search_id", "id", sqlite_where=_BEGINS_SESSION, postgresql_where=_BEGINS_SESSION),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    search_id: Mapped[int] = mapped_column(ForeignKey("searches.id"))
    at: Mapped[datetime]
    kind: Mapped[str]
    payload: Mapped[dict[str, Any]]


class Job(Leased, Base):
    """See `rows.JobRow`; the process that runs the job owns it."""

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'running', 'done', 'stopped', 'failed', 'cancelled')", name="state"),
        Index(None, "state", "priority", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    search: Mapped[str]
    config: Mapped[dict[str, Any] | None]
    priority: Mapped[int]
    state: Mapped[str]
    reason: Mapped[str | None]
    starts: Mapped[int]
    created_at: Mapped[datetime]
    trains: Mapped[bool] = mapped_column(server_default=false(), sort_order=1)  # as for `Search.stop`


class Leftover(Base):
    """A folder of a deleted search that is still to be removed, relative to the folder of all searches."""

    __tablename__ = "leftovers"

    folder: Mapped[str] = mapped_column(primary_key=True)

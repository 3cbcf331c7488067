"""The service has a queue of searches that are to be run."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_STATES = "state IN ('waiting', 'running', 'done', 'stopped', 'failed', 'cancelled')"


def upgrade() -> None:
    """Make the table; nothing waits yet."""
    op.create_table(
        "jobs",
        sa.Column("id", _int(), nullable=False),
        sa.Column("search", sa.String(), nullable=False),
        sa.Column("config", sa.JSON()),
        sa.Column("priority", _int(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String()),
        sa.Column("starts", _int(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_host", sa.String()),
        sa.Column("lease_machine", sa.String()),
        sa.Column("lease_pid", _int()),
        sa.Column("lease_process_started", sa.Double()),
        sa.Column("lease_heartbeat_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.CheckConstraint(_STATES, name=op.f("ck_jobs_state")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_jobs_state_priority_id", "jobs", ["state", "priority", "id"])


def _int() -> sa.BigInteger:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")

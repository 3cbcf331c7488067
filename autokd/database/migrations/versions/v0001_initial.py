"""The first tables: searches, trials, students, evaluations, events."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "searches",
        sa.Column("id", _int(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("seed", _int(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("config_digest", sa.String(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("created_at", _moment(), nullable=False),
        sa.Column("updated_at", _moment(), nullable=False),
        sa.Column("lease_token", _int(), nullable=False),
        sa.Column("lease_host", sa.String()),
        sa.Column("lease_machine", sa.String()),
        sa.Column("lease_pid", _int()),
        sa.Column("lease_process_started", sa.Double()),
        sa.Column("lease_heartbeat_at", _moment()),
        sa.PrimaryKeyConstraint("id", name="pk_searches"),
        sa.UniqueConstraint("name", name="uq_searches_name"),
        sa.CheckConstraint(
            "status IN ('created', 'running', 'interrupted', 'finished', 'failed')", name=op.f("ck_searches_status")
        ),
    )
    op.create_table(
        "trials",
        sa.Column("id", _int(), nullable=False),
        sa.Column("search_id", _int(), nullable=False),
        sa.Column("number", _int(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("value", sa.Double()),
        sa.Column("reason", sa.String()),
        sa.Column("created_at", _moment(), nullable=False),
        sa.Column("finished_at", _moment()),
        sa.Column("finish_order", _int()),
        sa.PrimaryKeyConstraint("id", name="pk_trials"),
        sa.ForeignKeyConstraint(["search_id"], ["searches.id"], name="fk_trials_search_id"),
        sa.UniqueConstraint("search_id", "number", name="uq_trials_search_id_number"),
        sa.UniqueConstraint("search_id", "finish_order", name="uq_trials_search_id_finish_order"),
        sa.CheckConstraint("state IN ('running', 'complete', 'pruned', 'failed')", name=op.f("ck_trials_state")),
        sa.CheckConstraint("(state = 'running') = (finish_order IS NULL)", name=op.f("ck_trials_finish_order")),
    )
    op.create_table(
        "students",
        sa.Column("id", _int(), nullable=False),
        sa.Column("search_id", _int(), nullable=False),
        sa.Column("trial_id", _int(), nullable=False),
        sa.Column("replicate", _int(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("architecture", sa.JSON(), nullable=False),
        sa.Column("params", _int(), nullable=False),
        sa.Column("macs", _int(), nullable=False),
        sa.Column("activation_bytes", _int(), nullable=False),
        sa.Column("model_bytes", _int(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_students"),
        sa.ForeignKeyConstraint(["search_id"], ["searches.id"], name="fk_students_search_id"),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name="fk_students_trial_id"),
        sa.UniqueConstraint("trial_id", "purpose", "replicate", name="uq_students_trial_id_purpose_replicate"),
        sa.CheckConstraint("purpose IN ('search', 'final')", name=op.f("ck_students_purpose")),
    )
    op.create_index("ix_students_search_id", "students", ["search_id"])
    op.create_table(
        "evaluations",
        sa.Column("id", _int(), nullable=False),
        sa.Column("search_id", _int(), nullable=False),
        sa.Column("trial_id", _int(), nullable=False),
        sa.Column("student_id", _int(), nullable=False),
        sa.Column("rung", _int(), nullable=False),
        sa.Column("epochs", sa.Double(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("metrics", sa.JSON()),
        sa.Column("seconds", sa.Double()),
        sa.Column("reason", sa.String()),
        sa.Column("worker", sa.String()),
        sa.Column("created_at", _moment(), nullable=False),
        sa.Column("finished_at", _moment()),
        sa.PrimaryKeyConstraint("id", name="pk_evaluations"),
        sa.ForeignKeyConstraint(["search_id"], ["searches.id"], name="fk_evaluations_search_id"),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name="fk_evaluations_trial_id"),
        sa.ForeignKeyConstraint(["student_id"], ["students.id"], name="fk_evaluations_student_id"),
        sa.UniqueConstraint("student_id", "rung", name="uq_evaluations_student_id_rung"),
        sa.CheckConstraint("state IN ('running', 'complete', 'failed')", name=op.f("ck_evaluations_state")),
    )
    op.create_index("ix_evaluations_search_id", "evaluations", ["search_id"])
    op.create_index("ix_evaluations_trial_id", "evaluations", ["trial_id"])
    op.create_table(
        "events",
        sa.Column("id", _int(), nullable=False),
        sa.Column("search_id", _int(), nullable=False),
        sa.Column("at", _moment(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.ForeignKeyConstraint(["search_id"], ["searches.id"], name="fk_events_search_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_search_id_id", "events", ["search_id", "id"])


def _int() -> sa.BigInteger:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _moment() -> sa.DateTime:
    return sa.DateTime(timezone=True)

"""Trials that ended say what their evaluations came to, and sessions are found without reading all events."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_SEARCHED = "FROM students WHERE students.trial_id = trials.id AND students.purpose = 'search'"
_EVALUATIONS = (
    "FROM evaluations JOIN students ON students.id = evaluations.student_id "
    "WHERE evaluations.trial_id = trials.id AND students.purpose = 'search'"
)


def upgrade() -> None:
    """Add columns and index, and fill the columns of the trials that are there.

    How many ended at chance is not known of these.
    """
    op.add_column("trials", sa.Column("rung", sa.BigInteger().with_variant(sa.Integer(), "sqlite")))
    op.add_column("trials", sa.Column("seconds", sa.Double()))
    op.add_column("trials", sa.Column("at_chance", sa.Boolean()))
    op.execute(
        f"UPDATE trials SET seconds = (SELECT coalesce(sum(evaluations.seconds), 0) {_EVALUATIONS}), "
        f"rung = (SELECT evaluations.rung {_EVALUATIONS} AND evaluations.state = 'complete' GROUP BY evaluations.rung "
        f"HAVING count(*) = (SELECT count(*) {_SEARCHED}) ORDER BY evaluations.rung DESC LIMIT 1) "
        "WHERE state <> 'running'"
    )
    began = sa.text("kind = 'lease_acquired'")
    op.create_index("ix_events_sessions", "events", ["search_id", "id"], sqlite_where=began, postgresql_where=began)

"""Students know whose weights they inherit."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds the column; students that are there began afresh."""
    op.add_column("students", sa.Column("warm_from", sa.String()))

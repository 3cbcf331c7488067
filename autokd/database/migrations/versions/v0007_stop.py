"""Whoever wants a search to stop says so in its row, and its controller reads it there."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column; nobody has asked yet."""
    op.add_column("searches", sa.Column("stop", sa.String()))

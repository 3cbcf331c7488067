"""Trials of a search of several objectives have a value of each: the accuracy, and the costs."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column; the trials that are there have one objective."""
    op.add_column("trials", sa.Column("costs", sa.JSON()))

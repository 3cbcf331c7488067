"""References are trials of their own kind, told by their name."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; the trials that are there are the search's own."""
    op.add_column("trials", sa.Column("reference", sa.String()))

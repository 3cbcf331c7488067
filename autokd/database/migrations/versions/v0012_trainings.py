"""A job of the queue may be the training of a search's winner at full length."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the column; what waits is a search."""
    op.add_column("jobs", sa.Column("trains", sa.Boolean(), server_default=sa.false(), nullable=False))

"""An evaluation tells the time of an epoch while it was trained, from which the length of the full training follows."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the column, which nobody knows of earlier evaluations."""
    op.add_column("evaluations", sa.Column("epoch_seconds", sa.Double()))

"""The folders of deleted searches are recorded until they are removed."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "leftovers",
        sa.Column("folder", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("folder", name=op.f("pk_leftovers")),
    )

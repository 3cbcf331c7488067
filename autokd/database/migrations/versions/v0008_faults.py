"""A failed evaluation tells whose fault that was: its worker's, or its own."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column, and fill it by the reasons that earlier versions gave for a lost worker."""
    op.add_column("evaluations", sa.Column("fault", sa.String()))
    op.execute(
        "UPDATE evaluations SET fault = CASE WHEN reason LIKE 'A worker must %' THEN 'worker' ELSE 'trial' END "
        "WHERE state = 'failed'"
    )

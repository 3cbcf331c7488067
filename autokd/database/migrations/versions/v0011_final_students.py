"""Students that are trained at full length, of which there are few, are found without reading all of a search."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Make the index."""
    final = sa.text("purpose = 'final'")
    op.create_index("ix_students_final", "students", ["search_id", "id"], sqlite_where=final, postgresql_where=final)

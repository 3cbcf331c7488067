"""Trials know how many others had ended when they were opened, so that no clock orders them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column, and fill it from the times of the trials that are there."""
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("trials", sa.Column("opened_after", whole, nullable=False, server_default="0"))
    op.execute(
        "UPDATE trials SET opened_after = (SELECT count(*) FROM trials AS other "
        "WHERE other.search_id = trials.search_id AND other.finished_at <= trials.created_at)"
    )

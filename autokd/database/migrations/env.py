"""Run by alembic for each upgrade, on the connection and in the transaction of `schema.prepare`."""

from alembic import context

from autokd.database.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,  # names checks by its convention, hence op.f(...) around final names
    render_as_batch=True,  # SQLite cannot alter a table in place
)
context.run_migrations()

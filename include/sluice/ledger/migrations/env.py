"""Alembic's entry: runs on the connection that Ledger.migrate hands over."""

from alembic import context

from sluice.ledger.database import VERSION_TABLE
from sluice.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()

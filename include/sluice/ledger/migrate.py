"""Brings the ledger's tables up to date with Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from sluice.ledger.database import VERSION_TABLE, LedgerError

MIGRATIONS = Path(__file__).parent / "migrations"
# Any number will do, so long as no other program on the database locks the same.
_LOCK = 0x51_01_CE


def script_directory() -> ScriptDirectory:
    """Return Alembic's view of the migrations."""
    return ScriptDirectory.from_config(_config())


def upgrade(connection: Connection) -> None:
    """Run the migrations that the database lacks, in the connection's transaction.

    Raises LedgerError if the tables are at a migration that this program does not have.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    current = context.get_current_revision()
    known = {script.revision for script in script_directory().walk_revisions()}
    if current is not None and current not in known:
        raise LedgerError(
            f"The ledger's tables are at {current}, which this version of Sluice does not know:"
            " run the newer version that migrated them."
        )
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config

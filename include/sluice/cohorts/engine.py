"""The embedded engine as a cohort's query finds it: the lake's tables by name, and nothing else.

The text comes from a configuration file, so it is not trusted: no files, no network, no extensions, no
settings. Memory is bounded; what does not fit spills to a folder of its own. Tables come through Arrow
(ADR 4): the engine asks for columns and rows, and whole files are left out.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import duckdb

from sluice.cohorts.errors import CohortQueryError
from sluice.cohorts.tables import EVENT_TABLE_COLUMNS, EVENTS_TABLE, Events
from sluice.config.cohorts import CohortConfig
from sluice.disk import DiskFull, disk_is_full
from sluice.event_filters import identifier, literal
from sluice.lake import sql

MEMORY_LIMIT = "1GB"

_SETTINGS = (
    "TimeZone = 'UTC'",
    "threads = 2",
    # Where the order matters the query says so; keeping the rows' own costs memory.
    "preserve_insertion_order = false",
)
_LOCKS = (
    "python_enable_replacements = false",
    "autoload_known_extensions = false",
    "autoinstall_known_extensions = false",
    "allow_community_extensions = false",
    "enable_external_access = false",
    "lock_configuration = true",
)
# Their messages quote values of rows; those of others quote the query.
_ABOUT_A_ROW = (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.OutOfRangeException)


@contextmanager
def connect() -> Iterator[duckdb.DuckDBPyConnection]:
    """Give an in-memory DuckDB in UTC with bounded memory, not locked yet."""
    with sql.connect(MEMORY_LIMIT) as connection:
        for setting in _SETTINGS:
            connection.execute(f"SET {setting}")
        yield connection


def lock(connection: duckdb.DuckDBPyConnection) -> None:
    """Take the world outside from a connection, for good; its folder for spilling stays."""
    for setting in _LOCKS:
        connection.execute(f"SET {setting}")


def offer(connection: duckdb.DuckDBPyConnection, events: Events, as_of: datetime) -> None:
    """Offer `events`: the rows before `as_of`, and of their columns those that mean something to a query."""
    # Nobody can name what lies below the view: it has more columns, and rows of later.
    below = f"rows_{secrets.token_hex(16)}"
    connection.register(below, events.files)
    before = literal(as_of.astimezone(UTC).isoformat())
    columns = ", ".join(identifier(name) for name in EVENT_TABLE_COLUMNS)
    connection.execute(
        f"CREATE TEMP VIEW {EVENTS_TABLE} AS SELECT {columns} FROM {below}"
        f" WHERE server_upload_time < TIMESTAMPTZ {before}"
    )


@contextmanager
def explained(cohort: CohortConfig) -> Iterator[None]:
    """Turn the engine's errors into one that names the cohort. Raises CohortQueryError or DiskFull."""
    try:
        yield
    except FileNotFoundError as error:
        raise CohortQueryError.of(cohort, _gone(error)) from error
    except (duckdb.Error, OSError) as error:
        text = str(error)
        if disk_is_full(error):
            raise DiskFull(
                f"The disk of this machine's temporary files is full ({text}). What a query cannot hold in"
                f" {MEMORY_LIMIT} is kept there: free some room, or set TMPDIR to a larger disk. Nothing"
                " was sent; the task is retried."
            ) from error
        if "No such file or directory" in text or "Path does not exist" in text:
            raise CohortQueryError.of(cohort, _gone(error)) from error
        if not isinstance(error, duckdb.Error):
            raise
        if isinstance(error, duckdb.OutOfMemoryException):
            raise CohortQueryError.of(
                cohort,
                f"the query does not fit in {MEMORY_LIMIT}, and what it does cannot spill: select fewer"
                f" columns, or group before joining ({text.splitlines()[0]})",
            ) from error
        if isinstance(error, _ABOUT_A_ROW):
            text = sql.without_values(text)
        raise CohortQueryError.of(cohort, f"the query fails: {text}") from error


def _gone(error: Exception) -> str:
    return (
        f"a data file of the lake is gone: {error}. Somebody removed it: restore it, or set the lake back to"
        " a version that has all its files"
    )

"""Who is in a cohort as of a time, as one local Parquet file."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from sluice.cohorts.columns import Column, casts, check_names
from sluice.cohorts.engine import connect, explained, lock, offer
from sluice.cohorts.members import ORDER_BY, write_members
from sluice.cohorts.portfolio import join_sources
from sluice.cohorts.query import query_of
from sluice.cohorts.statement import checked
from sluice.cohorts.tables import TABLES, Events, Reads
from sluice.config import Config
from sluice.config.cohorts import CohortConfig
from sluice.lake import Lake

if TYPE_CHECKING:
    from sluice.ledger import Ledger

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IdProblem:
    """A line of a file of ids that adds no member."""

    line: int
    id: str
    reason: str


@dataclass(frozen=True)
class Snapshot:
    """The members of a cohort as of a time, in the Parquet file `path`.

    Its columns are `amplitude_id` (never null), `user_id` and the properties; it is sorted by the two ids,
    nulls last, and has no pair of them twice. A property is text, true or false, an int64, a double, a date,
    an instant (UTC, microseconds), or JSON (`pa.json_()`), whose text is the value as it is stored.

    `sql` is the query that was run, empty for a file of ids; `version` that of the lake's events, None where
    they were not read; `reads` what of them was read. Of a file of ids, `unresolved` and `doubles` count the
    lines that name nobody known, and those that name a member again; `id_problems` has the first of them.
    """

    path: Path
    members: int
    properties: tuple[str, ...]
    sql: str
    version: int | None = None
    reads: Reads | None = None
    unresolved: int = 0
    doubles: int = 0
    id_problems: tuple[IdProblem, ...] = ()


def take_snapshot(
    cohort: CohortConfig,
    config: Config,
    lake: Lake,
    as_of: datetime,
    path: Path,
    *,
    ledger: Ledger | None = None,
    sql_cursor: Any = None,
) -> Snapshot:
    """Write who is in a cohort by what was uploaded before `as_of` to `path`; nobody is a fine answer.

    A cohort with a `connection` needs `sql_cursor`, an open DB-API cursor of it; one with an `ids_file` needs
    the ledger. Raises CohortQueryError where the query cannot be run or returns no list of members,
    DiskFull where this machine's disk is full.
    """
    began = time.monotonic()
    if cohort.connection is not None:
        from sluice.cohorts.external import snapshot_of_connection

        snapshot = snapshot_of_connection(cohort, config, as_of, path, sql_cursor)
    elif cohort.ids_file is not None:
        from sluice.cohorts.id_members import snapshot_of_file

        snapshot = snapshot_of_file(cohort, config, lake, ledger, path)
    else:
        snapshot = _snapshot_of_lake(cohort, config, lake, as_of, path)
    seconds = time.monotonic() - began
    log.info(
        "Cohort %s as of %s: %s members in %.1f s%s",
        cohort.id,
        as_of.isoformat(),
        f"{snapshot.members:,}",
        seconds,
        f", {snapshot.reads.files} of {snapshot.reads.of_files} files read" if snapshot.reads else "",
    )
    return snapshot


def _snapshot_of_lake(
    cohort: CohortConfig, config: Config, lake: Lake, as_of: datetime, path: Path
) -> Snapshot:
    sources = config.sources_of(cohort)
    sql = query_of(cohort, portfolio=bool(sources))
    statement = checked(cohort, sql, TABLES)
    events = Events.open(lake, [source.id for source in sources] or [cohort.project], as_of)
    with connect() as connection, explained(cohort):
        offer(connection, events, as_of)
        lock(connection)
        snapshot = snapshot_of_query(
            cohort, config, connection, statement.text, statement.parameters(as_of), path
        )
    return Snapshot(path, snapshot.members, snapshot.properties, sql, events.version, events.files.reads)


def snapshot_of_query(
    cohort: CohortConfig,
    config: Config,
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    parameters: dict[str, object],
    path: Path,
) -> Snapshot:
    """Write the members that a query of the embedded engine returns. Raises CohortQueryError."""
    sources = config.sources_of(cohort)
    columns = Column.of(connection, sql, parameters)
    check_names(cohort, [column.name for column in columns], portfolio=bool(sources))
    selected, schema = casts(cohort, columns, portfolio=bool(sources))
    typed = f"SELECT {selected} FROM (\n{sql}\n)"
    if sources:
        typed, schema = join_sources(cohort, connection, typed, parameters, schema, sources)
        parameters = {}
    schema = schema.set(0, schema.field(0).with_nullable(False))
    members = write_members(cohort, connection, f"{typed} {ORDER_BY}", parameters, schema, path)
    return Snapshot(path, members, tuple(schema.names[2:]), sql)

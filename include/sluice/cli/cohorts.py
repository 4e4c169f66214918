"""`sluice cohort …`: who is in a cohort, and by which query."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pyarrow.parquet as pq
from rich.table import Table
from rich.text import Text

from sluice.access.connections import EnvironmentAccess
from sluice.cli.options import AT, CONFIG, LEDGER
from sluice.cli.syncs import history, log, members, status
from sluice.cli.terminal import console
from sluice.cohorts.external import open_cursor
from sluice.cohorts.query import query_of
from sluice.cohorts.snapshot import Snapshot, take_snapshot
from sluice.config import CohortConfig

MEMBERS = 10
_PROBLEMS = 10


@click.group("cohort")
@CONFIG
@LEDGER
@click.pass_context
def cohorts(context: click.Context, directory: Path | None, ledger_url: str | None) -> None:
    """Preview cohorts; show who was in them, and what their syncs did.

    Connections are those of the environment: AIRFLOW_CONN_<ID> as JSON, else boto3's own chain.
    """
    context.obj = EnvironmentAccess(directory, ledger_url)


for command in (history, log, members, status):
    cohorts.add_command(command)


@cohorts.command()
@click.argument("cohort")
@AT
@click.pass_obj
def preview(access: EnvironmentAccess, cohort: str, as_of: datetime | None) -> None:
    """Show COHORT as of a time: its query, how many members it has, ten of them, and what was read.

    Nothing is sent, and nothing is recorded.
    """
    config = access.config.cohort(cohort)
    as_of = as_of or datetime.now(UTC)
    click.echo(f"{config.id}: {config.name}, project {config.project}, as of {as_of:%Y-%m-%d %H:%M:%S} UTC")
    if config.ids_file is None:
        portfolio = bool(access.config.sources_of(config))
        click.echo(f"\n{query_of(config, portfolio=portfolio).strip()}\n")
    with tempfile.TemporaryDirectory(prefix="sluice-preview-") as folder, cursor_of(access, config) as cursor:
        snapshot = take_snapshot(
            config,
            access.config,
            access.lake,
            as_of,
            Path(folder, "members.parquet"),
            # Only a file of ids asks it.
            ledger=access.ledger if config.ids_file is not None else None,
            sql_cursor=cursor,
        )
        console().print(_members(snapshot))
    for line in _lines(snapshot):
        click.echo(line)


@contextmanager
def cursor_of(access: EnvironmentAccess, cohort: CohortConfig) -> Iterator[Any]:
    """Open the database that a cohort's query runs in; None if that is the embedded engine."""
    if cohort.connection is None:
        yield None
        return
    with closing(access.database(cohort.connection)) as connection, open_cursor(connection) as cursor:
        yield cursor


def _members(snapshot: Snapshot) -> Table:
    with pq.ParquetFile(snapshot.path) as file:
        rows = next(file.iter_batches(MEMBERS), None)
    title = f"{snapshot.members:,} members" + (f", {MEMBERS} of them" if snapshot.members > MEMBERS else "")
    table = Table(title=title, title_justify="left")
    for name in ("amplitude_id", "user_id", *snapshot.properties):
        table.add_column(Text(name), overflow="fold")
    for row in rows.to_pylist() if rows is not None else ():
        table.add_row(*(Text("" if value is None else str(value)) for value in row.values()))
    return table


def _lines(snapshot: Snapshot) -> Iterator[str]:
    if snapshot.reads is not None:
        columns = ", ".join(sorted(snapshot.reads.columns))
        yield (
            f"Read: {snapshot.reads.files:,} of the lake's {snapshot.reads.of_files:,} data files of events"
            f" (version {snapshot.version}), of these the columns {columns}"
        )
    if snapshot.unresolved or snapshot.doubles:
        yield f"{snapshot.unresolved:,} lines name nobody known, {snapshot.doubles:,} a member again:"
        for one in snapshot.id_problems[:_PROBLEMS]:
            yield f"  line {one.line}: {one.id}: {one.reason}"

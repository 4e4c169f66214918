"""`sluice cohort members | history | status | log`: what the syncs of cohorts told, and when."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from sluice.access.connections import EnvironmentAccess
from sluice.cli.held import held_lines
from sluice.cli.options import AT
from sluice.cli.terminal import console
from sluice.cohorts.intervals import members_at, synced_turn
from sluice.cohorts.list_files import ROW_LOG
from sluice.cohorts.status import arrived, status_of
from sluice.errors import SluiceError
from sluice.lake.staged import open_staged
from sluice.ledger import syncs
from sluice.ledger.syncs import Turn

# Rows that are read at once.
_BATCH = 65_536


@click.command()
@click.argument("cohort")
@AT
@click.option("--sync", "sync_id", help="The sync that is asked; needed where the cohort has several.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many members; all by default.")
@click.pass_obj
def members(
    access: EnvironmentAccess, cohort: str, as_of: datetime | None, sync_id: str | None, limit: int | None
) -> None:
    """Print who was in a cohort at a synced time, as CSV: amplitude_id, and the id that was sent.

    They are the members of the newest delivered sync at that time; now by default.
    """
    turn = synced_turn(access.ledger, cohort, as_of or access.ledger.now(), sync_id)
    click.echo(f"{turn.chain}, as of {_moment(turn.as_of)}: {turn.counts['existing']:,} members", err=True)
    rows = (
        row.values() for batch in members_at(access.lake, access.ledger, turn) for row in batch.to_pylist()
    )
    _print_csv(["amplitude_id", "user_id"], rows, limit)


@click.command()
@click.argument("cohort")
@click.option("--limit", default=48, show_default=True, help="How many turns of each sync to list.")
@click.pass_obj
def history(access: EnvironmentAccess, cohort: str, limit: int) -> None:
    """Show the sizes and flows of each sync of a cohort, newest first."""
    chains = [state.chain for state in syncs.chains(access.ledger) if state.chain.cohort == cohort]
    if not chains:
        raise SluiceError(f"No sync of the cohort {cohort} ever ran: see `sluice cohort status`.")
    for chain in sorted(chains):
        click.echo(f"{chain}:")
        console().print(_turns_table(syncs.turns(access.ledger, chain=chain, limit=limit)))


@click.command()
@click.pass_obj
def status(access: EnvironmentAccess) -> None:
    """Show all syncs: state, last delivered, what is partial, waits or was skipped, and what comes next."""
    heads = ("sync", "cohort", "destination", "cadence", "state", "last delivered (UTC)", "members")
    table = Table(*heads, "next (UTC)", "reason")
    for found in status_of(access.config, access.ledger):
        delivered = found.delivered
        table.add_row(
            found.sync.id,
            found.sync.cohort.id,
            Text(found.sync.destination.name),
            found.sync.cadence,
            found.state,
            "never" if delivered is None else f"{delivered.as_of:%Y-%m-%d %H:%M}",
            "" if delivered is None else f"{delivered.counts['existing']:,}",
            "by hand" if found.next_as_of is None else f"{found.next_as_of:%Y-%m-%d %H:%M}",
            Text(found.reason or ""),
        )
    console().print(table)
    for line in held_lines(access.ledger, "cohort"):
        click.echo(line)
    if access.config.problems:
        click.echo(
            "The configuration has problems, and their files are left out: see sluice check.", err=True
        )


@click.command()
@click.argument("sync")
@AT
@click.option("--operation", type=click.Choice(["added", "removed", "skipped"]), help="Only these rows.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many rows; all by default.")
@click.pass_obj
def log(
    access: EnvironmentAccess, sync: str, as_of: datetime | None, operation: str | None, limit: int | None
) -> None:
    """Print a sync's row log as CSV: who was added, removed or skipped, and why.

    It is that of the newest turn, or of the newest one as of --at, delivered or not.
    """
    turns = syncs.turns(access.ledger, sync=sync, kinds=["regular"])
    turn = _logged(turns, sync, as_of or access.ledger.now())
    click.echo(f"{turn.chain}, as of {_moment(turn.as_of)}: {turn.state}, {arrived(turn)} arrived", err=True)
    with open_staged(access.lake, f"{turn.folder}/{ROW_LOG}") as file:
        rows = (
            row.values()
            for batch in file.iter_batches(_BATCH)
            for row in batch.to_pylist()
            if operation is None or row["operation"] == operation
        )
        _print_csv(["amplitude_id", "operation", "value", "reason"], rows, limit)


def _logged(turns: list[Turn], sync: str, at: datetime) -> Turn:
    turn = next((turn for turn in turns if turn.as_of <= at), None)
    if turn is None:
        raise SluiceError(f"The sync {sync} has no turn as of {_moment(at)} or before.")
    if turn.bytes_gone_at is not None:
        raise SluiceError(
            f"The row log of the {turn.chain} as of {_moment(turn.as_of)} was kept for row_log_days and is"
            f" gone since {_moment(turn.bytes_gone_at)}."
        )
    return turn


def _turns_table(turns: list[Turn]) -> Table:
    heads = (
        "as of (UTC)",
        "state",
        "existing",
        "entering",
        "exiting",
        "skipped",
        "arrived",
        "finished (UTC)",
    )
    table = Table(*heads, "reason")
    for turn in turns:
        state = "partial" if turn.sent and turn.state in ("sending", "superseded") else turn.state
        table.add_row(
            f"{turn.as_of:%Y-%m-%d %H:%M:%S}",
            state if turn.kind == "regular" else f"{state} ({turn.kind})",
            *(f"{turn.counts[name]:,}" for name in ("existing", "entering", "exiting", "skipped")),
            arrived(turn),
            "" if turn.finished_at is None else f"{turn.finished_at:%Y-%m-%d %H:%M:%S}",
            Text(turn.reason or ""),
        )
    return table


def _print_csv(heads: list[str], rows: Iterable[Iterable[Any]], limit: int | None) -> None:
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(heads)
    for number, row in enumerate(rows):
        if number == limit:
            return
        out.writerow(row)


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"

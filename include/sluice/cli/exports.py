"""`sluice export …`: what the exports did, and what is still to do."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from sluice.access.connections import EnvironmentAccess
from sluice.cli.backfills import plan, size
from sluice.cli.held import held_lines
from sluice.cli.options import CONFIG, LEDGER
from sluice.cli.terminal import console
from sluice.exports.ranges import HourRange
from sluice.exports.status import DestinationStatus, status_of
from sluice.ledger.export_runs import ExportRun

DESTINATION = click.argument("destination")


@click.group("export")
@CONFIG
@LEDGER
@click.pass_context
def exports(context: click.Context, directory: Path | None, ledger_url: str | None) -> None:
    """Show what the exports did, and what is still to do.

    Connections are those of the environment: AIRFLOW_CONN_<ID> as JSON, else boto3's own chain.
    """
    context.obj = EnvironmentAccess(directory, ledger_url)


exports.add_command(plan)
exports.add_command(size)


@exports.command()
@click.argument("destination", required=False)
@click.option("--runs", default=10, show_default=True, help="How many runs of each destination to list.")
@click.pass_obj
def status(access: EnvironmentAccess, destination: str | None, runs: int) -> None:
    """Show each destination's state, hours, gaps, last verification and newest runs."""
    for found in status_of(access.config, access.ledger, destination, runs):
        for line in _lines(found):
            click.echo(line)
        for line in held_lines(access.ledger, "export", found.destination):
            click.echo(f"  {line}")
        if found.runs:
            console().print(_runs_table(found.runs))
    if access.config.problems:
        click.echo(
            "The configuration has problems, and their files are left out: see sluice check.", err=True
        )


def _lines(found: DestinationStatus) -> list[str]:
    lines = [f"{found.destination}: {found.state}"]
    if found.reason:
        lines.append(f"  {found.reason}")
    verified = found.verification
    if verified is None:
        lines.append("  never verified")
    else:
        at, facts = verified
        result = "as the lake" if facts.differing == 0 else f"{facts.differing:,} of them differ"
        hours = HourRange(facts.first_hour, facts.last_hour)
        lines.append(f"  verified {at:%Y-%m-%d %H:%M:%S} UTC: {hours}: {facts.hours:,} hours, {result}")
    for project in found.projects:
        lines.append(
            f"  project {project.project}: newest closed hour {_moment(project.newest_closed)},"
            f" newest exported {_moment(project.newest_exported)}"
        )
        for title, ranges in (
            ("not exported, the next run takes them up", project.waiting),
            ("not exported, older than the schedule looks back", project.gaps),
            ("changed in the lake since they were exported", project.changed),
        ):
            for one in ranges:
                lines.append(f"    {title}: {one.hours}")
                if one.command:
                    lines.append(f"      {one.command}")
    return lines


def _runs_table(runs: tuple[ExportRun, ...]) -> Table:
    heads = ("status", "kind", "data start (UTC)", "data end (UTC)", "completed at (UTC)")
    table = Table(*heads, "hours", "events", "files", "bytes", "reason")
    for run in runs:
        table.add_row(
            run.state,
            run.kind,
            f"{run.first_hour:%Y-%m-%d %H:%M}",
            f"{run.last_hour + timedelta(hours=1):%Y-%m-%d %H:%M}",
            "" if run.completed_at is None else f"{run.completed_at:%Y-%m-%d %H:%M:%S}",
            *("" if n is None else f"{n:,}" for n in (run.hours, run.events, run.files, run.bytes)),
            Text(run.reason or ""),
        )
    return table


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H}:00" if moment else "none"

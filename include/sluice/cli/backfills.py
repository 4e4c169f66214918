"""`sluice export plan` and `sluice export size`: what a backfill would do, and what exports take."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from sluice.access.connections import EnvironmentAccess
from sluice.exports.backfill import BackfillPlanner
from sluice.exports.bucket import Bucket
from sluice.exports.history import exported_months
from sluice.exports.ranges import parse_range

AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document, for machines.")


@click.command()
@click.argument("destination")
@click.option("--from", "first", required=True, help="First hour (2013-01-02T12) or date, UTC.")
@click.option("--to", "last", help="Last hour or date, inclusive; the same as --from if left out.")
@click.option("--force", is_flag=True, help="Plan unchanged hours too.")
@click.option("--hours", "each", is_flag=True, help="One line per hour instead of one per range of hours.")
@AS_JSON
@click.pass_obj
def plan(
    access: EnvironmentAccess,
    destination: str,
    first: str,
    last: str | None,
    force: bool,
    each: bool,
    as_json: bool,
) -> None:
    """Say what a backfill of DESTINATION would do with each hour, and what it takes; nothing is written."""
    hours = parse_range(first, last)
    config = access.config.export(destination)
    bucket = Bucket.of(access.store(config.connection, config.region).client(), config)
    planner = BackfillPlanner(config, lake=access.lake, ledger=access.ledger, bucket=bucket)
    found = planner.plan(hours, forced_before=access.ledger.now() if force else None)
    if as_json:
        lines = [line.as_json() for line in found.lines]
        click.echo(json.dumps(found.totals() | {"table": lines}, ensure_ascii=False, indent=1))
        return
    if each:
        for hour in found.hours:
            export = "export" if hour.writes else ""
            click.echo(f"{hour.project} {hour.hour:%Y-%m-%dT%H} {hour.events:>12,} {export:<6} {hour.what}")
    for line in found.text(table=not each):
        click.echo(line)


@click.command()
@click.argument("destination")
@AS_JSON
@click.pass_obj
def size(access: EnvironmentAccess, destination: str, as_json: bool) -> None:
    """Show what DESTINATION has exported by month: events, bytes, bytes per event, seconds."""
    config = access.config.export(destination)
    months = exported_months(access.ledger, config.id)
    if as_json:
        documents = [asdict(month) | {"bytes_per_event": month.bytes_per_event} for month in months]
        click.echo(json.dumps(documents, indent=1))
        return
    heads = ("hours", "events", "files", "MB", "bytes/event", "unpacked MB", "seconds")
    click.echo(f"{'month':<8}" + "".join(head.rjust(14) for head in heads))
    for month in months:
        per_event = month.bytes_per_event
        cells = (
            f"{month.hours:,}",
            f"{month.events:,}",
            f"{month.files:,}",
            f"{month.bytes / 1e6:,.1f}",
            f"{per_event:,.1f}" if per_event is not None else "",
            f"{month.raw_bytes / 1e6:,.1f}",
            f"{month.seconds:,.1f}",
        )
        click.echo(f"{month.month:<8}" + "".join(cell.rjust(14) for cell in cells))
    if not months:
        click.echo("Nothing was exported yet.")

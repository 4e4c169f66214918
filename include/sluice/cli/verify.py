"""`sluice verify`: reads a destination's objects back and compares them with the lake."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from sluice.access.connections import EnvironmentAccess
from sluice.cli.options import CONFIG, LEDGER
from sluice.cli.terminal import console
from sluice.exports.bucket import Bucket
from sluice.exports.ranges import parse_range
from sluice.exports.repair import repair_commands
from sluice.exports.verification import HourReport
from sluice.exports.verify import Verifier

_COUNTS = ("lake_events", "bucket_events", "missing", "doubled", "unknown", "unreadable")
_HEADS = ("in the lake", "in the bucket", "missing", "twice", "unknown", "unreadable")


@click.command()
@click.argument("destination")
@click.option("--from", "first", required=True, help="First hour (2013-01-02T12) or date (2013-01-02), UTC.")
@click.option("--to", "last", help="Last hour or date, UTC, inclusive; the same as --from by default.")
@click.option("--all", "show_all", is_flag=True, help="List the hours that are proved, too.")
@CONFIG
@LEDGER
def verify(
    destination: str,
    first: str,
    last: str | None,
    show_all: bool,
    directory: Path | None,
    ledger_url: str | None,
) -> None:
    """Read the objects of DESTINATION back, and the lake, and compare them event by event.

    Exits with 1 if an hour is not as the lake has it, and names the command that repairs it. The result is
    kept in the ledger; nothing in the bucket is changed.
    """
    hours = parse_range(first, last, names=("--from", "--to"))
    access = EnvironmentAccess(directory, ledger_url)
    config = access.config.export(destination)
    client = access.store(config.connection, config.region).client()
    with _Meter(len(hours) * len(config.projects)) as meter:
        verifier = Verifier(
            config,
            lake=access.lake,
            ledger=access.ledger,
            bucket=Bucket.of(client, config),
            meter=meter.read,
        )
        reports = []
        for report in verifier.verify(hours):
            meter.hour()
            reports.append(report)
    differing = [report for report in reports if not report.whole]
    if shown := reports if show_all else differing:
        console().print(_table(shown))
    totals = [f"{sum(getattr(report, name) for report in reports):,} {head}"
              for name, head in zip(_COUNTS, _HEADS, strict=True)]  # fmt: skip
    click.echo(
        f"{config.id}, {hours}: {len(reports):,} hours, {len(differing):,} differ; {', '.join(totals)}"
    )
    for line in repair_commands(config, differing):
        click.echo(line)
    if differing:
        sys.exit(1)


def _table(reports: list[HourReport]) -> Table:
    table = Table("project", "hour (UTC)", *_HEADS, "findings")
    for report in reports:
        table.add_row(
            str(report.project),
            f"{report.hour:%Y-%m-%d %H}:00",
            *(f"{getattr(report, name):,}" for name in _COUNTS),
            Text("\n".join(report.findings)),
        )
    return table


class _Meter:
    """A progress bar on the terminal; nothing where nobody sees it."""

    def __init__(self, hours: int) -> None:
        self._progress = Progress(
            TextColumn("verifying"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("hours, {task.fields[events]:,} events, {task.fields[megabytes]:,.0f} MB"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._task = self._progress.add_task("", total=hours, events=0, megabytes=0.0)
        self._lock = threading.Lock()
        self._events = self._bytes = 0

    def __enter__(self) -> _Meter:
        self._progress.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._progress.stop()

    def read(self, events: int, bytes: int) -> None:
        with self._lock:
            self._events += events
            self._bytes += bytes
            self._progress.update(self._task, events=self._events, megabytes=self._bytes / 1e6)

    def hour(self) -> None:
        self._progress.advance(self._task)

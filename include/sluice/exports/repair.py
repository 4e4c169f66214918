"""The commands that export hours again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from sluice.config import ExportConfig
from sluice.exports.ranges import HourRange, joined

if TYPE_CHECKING:
    from sluice.exports.verification import HourReport


def backfill_command(config: ExportConfig, hours: HourRange) -> str:
    """Return the command that backfills a destination's hours (decisions E-12)."""
    return (
        f"airflow backfill create --dag-id {config.dag_id}"
        f" --from-date {hours.first:%Y-%m-%dT%H:%M:%SZ} --to-date {hours.last:%Y-%m-%dT%H:%M:%SZ}"
        " --reprocess-behavior completed"
    )


def forced_command(config: ExportConfig, hours: HourRange) -> str:
    """Return the command that exports hours again although ledger and bucket agree on them."""
    return (
        "airflow dags trigger export_backfill --conf"
        f""" '{{"destination": "{config.id}", "first": "{hours.first:%Y-%m-%dT%H}","""
        f""" "last": "{hours.last:%Y-%m-%dT%H}", "force": true}}'"""
    )


def repair_commands(config: ExportConfig, differing: Iterable[HourReport]) -> Iterator[str]:
    """Yield what to do about hours that a verification found different, those that are closed."""
    found = [report for report in differing if report.closed]
    for command, forced in ((backfill_command, False), (forced_command, True)):
        hours = sorted({report.hour for report in found if report.as_recorded is forced})
        for block in joined(hours):
            yield f"To repair {block}: {command(config, block)}"

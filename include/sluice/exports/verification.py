"""What a verification found of each hour, and of all of them together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sluice.config import ExportConfig
from sluice.exports.errors import ExportDiffers
from sluice.exports.ranges import HourRange
from sluice.exports.repair import repair_commands
from sluice.ledger.verifications import Verification

# How many differing hours the ledger and the message name, and how many findings of each.
_NAMED = 100
_FINDINGS = 10
_SHOWN = 20


@dataclass(frozen=True)
class HourReport:
    """What an hour holds in the lake, under the filter, and in the bucket; `bytes` were read from there.

    missing: events that the bucket lacks; doubled: how often one is there again; unknown: events that the
    lake does not have in this hour; unreadable: lines that are no event, and files that end too early.
    `findings` says in words what is not as it should be; without one, the hour is proved.
    """

    project: int
    hour: datetime
    lake_events: int
    bucket_events: int
    bytes: int
    missing: int
    doubled: int
    unknown: int
    unreadable: int
    findings: tuple[str, ...]
    # The objects are those that the ledger records, so that only a forced export replaces them.
    as_recorded: bool = False
    # An hour that is still open is the schedule's business.
    closed: bool = True

    def __str__(self) -> str:
        findings = "; ".join(self.findings) or "whole"
        return (
            f"project {self.project}, hour {self.hour:%Y-%m-%d %H}: {self.lake_events:,} events in the lake,"
            f" {self.bucket_events:,} in the bucket, {self.missing:,} missing, {self.doubled:,} twice,"
            f" {self.unknown:,} unknown, {self.unreadable:,} unreadable: {findings}"
        )

    @property
    def whole(self) -> bool:
        """Whether the bucket has this hour exactly as the lake has it."""
        return not self.findings


def summarise(hours: HourRange, reports: Iterable[HourReport]) -> Verification:
    """Add reports up to what the ledger keeps of a verification: numbers and hours, nothing personal."""
    count = differing = lake = bucket = missing = doubled = unknown = unreadable = 0
    named: list[dict[str, Any]] = []
    for report in reports:
        count += 1
        lake += report.lake_events
        bucket += report.bucket_events
        missing += report.missing
        doubled += report.doubled
        unknown += report.unknown
        unreadable += report.unreadable
        if not report.whole:
            differing += 1
            if len(named) < _NAMED:
                named.append(
                    {
                        "project": report.project,
                        "hour": f"{report.hour:%Y-%m-%dT%H}",
                        "findings": list(report.findings)[:_FINDINGS],
                    }
                )
    return Verification(
        first_hour=hours.first,
        last_hour=hours.last,
        hours=count,
        differing=differing,
        differing_hours=named,
        lake_events=lake,
        bucket_events=bucket,
        missing=missing,
        doubled=doubled,
        unknown=unknown,
        unreadable=unreadable,
    )


def raise_for_differences(config: ExportConfig, reports: Iterable[HourReport]) -> None:
    """Raise ExportDiffers if an hour is not whole, with the hours and the commands that repair them."""
    differing = [report for report in reports if not report.whole]
    if not differing:
        return
    lines = [str(report) for report in differing[:_SHOWN]]
    if len(differing) > _SHOWN:
        lines.append(f"… and {len(differing) - _SHOWN:,} more")
    lines += repair_commands(config, differing)
    raise ExportDiffers(f"{len(differing):,} hours of {config.id} differ from the lake:\n" + "\n".join(lines))

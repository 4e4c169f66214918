"""What past exports say about the size and the time of hours to come; all of it from the ledger."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import func, select

from sluice.ledger import Ledger
from sluice.ledger.tables import exported_files, exported_hours

# For a destination that never exported: measured with lines of about 1.7 KB on two cores (bench/export.py).
_BYTES_PER_EVENT = 250.0
_RAW_PER_COMPRESSED = 8.0
_SECONDS_PER_HOUR = 0.1
_SECONDS_PER_EVENT = 1 / 80_000


@dataclass(frozen=True)
class ExportedMonth:
    """What was published of a month's hours; `bytes` compressed, `raw_bytes` not, `seconds` of work."""

    month: str
    hours: int
    events: int
    files: int
    bytes: int
    raw_bytes: int
    seconds: float

    @property
    def bytes_per_event(self) -> float | None:
        """Compressed bytes per exported event, or None without events."""
        return self.bytes / self.events if self.events else None


@dataclass(frozen=True)
class Experience:
    """How many bytes and seconds an export takes; `hours` says on how many published hours that rests."""

    hours: int = 0
    # Per event of the lake's hour, whether the filter lets it through or not.
    bytes_per_event: float = _BYTES_PER_EVENT
    raw_bytes_per_event: float = _BYTES_PER_EVENT * _RAW_PER_COMPRESSED
    seconds_per_hour: float = _SECONDS_PER_HOUR
    seconds_per_event: float = _SECONDS_PER_EVENT

    def bytes(self, events: int) -> int:
        """Return the compressed size, in bytes, to expect of so many events."""
        return round(events * self.bytes_per_event)

    def files(self, events: int, partition_bytes: int) -> int:
        """Return the number of files to expect of an hour of so many events."""
        return math.ceil(events * self.raw_bytes_per_event / partition_bytes)

    def seconds(self, hours: int, events: int) -> float:
        """Return the seconds of work to expect of so many hours and events, one hour after the other."""
        return hours * self.seconds_per_hour + events * self.seconds_per_event


def experience(ledger: Ledger, destination: str) -> Experience:
    """Sum up a destination's published hours; without any, what was measured elsewhere is assumed."""
    hours, files = exported_hours.c, exported_files.c
    rows, seconds = hours.content_rows, hours.seconds
    with ledger.begin() as connection:
        sums = connection.execute(
            select(
                func.count().label("hours"),
                func.sum(rows).label("rows"),
                func.sum(hours.bytes).label("bytes"),
                func.sum(seconds).label("seconds"),
                func.sum(rows * 1.0 * rows).label("rows_rows"),
                func.sum(rows * seconds).label("rows_seconds"),
            ).where(hours.destination == destination, hours.state == "published", seconds.is_not(None))
        ).one()
        raw = connection.execute(
            select(func.sum(files.raw_bytes)).where(files.destination == destination)
        ).scalar_one()
    if not sums.hours:
        return Experience()
    per_hour, per_event = _line(
        int(sums.hours),
        float(sums.rows),
        float(sums.seconds),
        float(sums.rows_rows),
        float(sums.rows_seconds),
    )
    known = Experience(int(sums.hours), seconds_per_hour=per_hour, seconds_per_event=per_event)
    if not sums.rows:
        return known
    events = float(sums.rows)
    return replace(
        known, bytes_per_event=float(sums.bytes) / events, raw_bytes_per_event=float(raw or 0) / events
    )


def _line(n: int, x: float, y: float, xx: float, xy: float) -> tuple[float, float]:
    """Return the offset and the slope, neither negative, that fit sums of x, y, x*x and x*y best."""
    spread = n * xx - x * x
    slope = (n * xy - x * y) / spread if spread > 0 else 0.0
    offset = (y - slope * x) / n
    if slope <= 0:
        return y / n, 0.0
    if offset < 0:
        return 0.0, y / x
    return offset, slope


def exported_months(ledger: Ledger, destination: str) -> list[ExportedMonth]:
    """Return what a destination has published by month of the data, oldest first."""
    hours, files = exported_hours.c, exported_files.c
    with ledger.begin() as connection:
        published = connection.execute(
            select(hours.hour, hours.rows, hours.files, hours.bytes, hours.seconds).where(
                hours.destination == destination, hours.state == "published"
            )
        ).all()
        raw = connection.execute(
            select(files.hour, func.sum(files.raw_bytes))
            .where(files.destination == destination)
            .group_by(files.hour)
        ).all()
    months: dict[str, list[float]] = {}
    for hour, *facts in published:
        total = months.setdefault(_month(hour), [0, 0, 0, 0, 0, 0])
        _add(total, [1, *facts])
    for hour, raw_bytes in raw:
        if _month(hour) in months:
            months[_month(hour)][5] += int(raw_bytes)
    return [
        ExportedMonth(month, int(n), int(rows), int(count), int(size), int(raw_size), seconds)
        for month, (n, rows, count, size, seconds, raw_size) in sorted(months.items())
    ]


def _month(hour: datetime) -> str:
    return f"{hour:%Y-%m}"


def _add(total: list[float], facts: Iterable[float | None]) -> None:
    for index, fact in enumerate(facts):
        total[index] += fact or 0

"""Cuts a backfill's hours into chunks, each the work of one task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Literal

from sluice.exports.backfill import BackfillPlan, HourPlan
from sluice.exports.history import Experience
from sluice.exports.ranges import HourRange

Order = Literal["oldest first", "newest first"]

# A chunk's size, compressed: minutes of work, and little to do again if its machine dies.
CHUNK_BYTES = 1_000_000_000
CHUNK_DAYS = 31
# Airflow maps a task over at most 1,024 items.
MAX_CHUNKS = 1_000
# By how much chunks grow, again and again, while there are too many.
_GROWTH = 1.25


@dataclass(frozen=True)
class Chunk:
    """A part of a backfill: the hours from `first` to `last` of a project, of which `hours` need exporting.

    It names no single hours: the ledger and the bucket say which of them are done when it is worked on.
    """

    project: int
    first: datetime
    last: datetime
    hours: int
    events: int
    bytes: int
    newest_first: bool = False
    # Hours that were published before this moment are exported again.
    forced_before: datetime | None = None

    @property
    def range(self) -> HourRange:
        """The hours as a range."""
        return HourRange(self.first, self.last)

    def to_json(self) -> dict[str, Any]:
        """Return the chunk as JSON types, with a label for people."""
        value = asdict(self)
        for name in ("first", "last", "forced_before"):
            value[name] = value[name].isoformat() if value[name] else None
        label = f"{self.project}: {self.first:%Y-%m-%d %H}h to {self.last:%Y-%m-%d %H}h, {self.hours:,} hours"
        return value | {"label": label}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Chunk:
        """Build a chunk from what to_json gave."""
        times = {
            name: datetime.fromisoformat(value[name]) if value[name] else None
            for name in ("first", "last", "forced_before")
        }
        return cls(**{name: item for name, item in value.items() if name != "label"} | times)


def chunks_of(
    plan: BackfillPlan, order: Order = "oldest first", forced_before: datetime | None = None
) -> list[Chunk]:
    """Cut the hours that a plan exports into chunks, in the order in which they are to be worked on.

    A chunk has about CHUNK_BYTES and spans at most CHUNK_DAYS, unless there were more than MAX_CHUNKS then.
    """
    by_project = [list(group) for _, group in groupby(plan.todo, lambda hour: hour.project)]
    size: float = CHUNK_BYTES
    span = timedelta(days=CHUNK_DAYS)
    while True:
        chunks = [
            _chunk(hours, plan.experience, order, forced_before)
            for todo in by_project
            for hours in _cut(todo, plan.experience, size, span)
        ]
        if len(chunks) <= MAX_CHUNKS:
            newest = order == "newest first"
            return sorted(chunks, key=lambda chunk: (chunk.first, chunk.project), reverse=newest)
        size, span = size * _GROWTH, span * _GROWTH


def _cut(
    hours: Iterable[HourPlan], experience: Experience, size: float, span: timedelta
) -> Iterator[list[HourPlan]]:
    chunk: list[HourPlan] = []
    held = 0
    for hour in hours:
        bytes = experience.bytes(hour.events)
        if chunk and (held + bytes > size or hour.hour - chunk[0].hour >= span):
            yield chunk
            chunk, held = [], 0
        chunk.append(hour)
        held += bytes
    if chunk:
        yield chunk


def _chunk(
    hours: list[HourPlan], experience: Experience, order: Order, forced_before: datetime | None
) -> Chunk:
    events = sum(hour.events for hour in hours)
    return Chunk(
        project=hours[0].project,
        first=hours[0].hour,
        last=hours[-1].hour,
        hours=len(hours),
        events=events,
        bytes=experience.bytes(events),
        newest_first=order == "newest first",
        forced_before=forced_before,
    )

"""Which hours the lake has nothing to say about."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select

from sluice.exports.ranges import HourRange
from sluice.ledger import Ledger
from sluice.ledger.registry import recorded_destinations
from sluice.ledger.tables import hours


class Outside:
    """Says of hours without events whether they lie outside the lake, for one project of a destination.

    They do before the lake's first event and after its last, but not in the time of the destination's
    schedule, which exports hours without events as such. What lies in the bucket there may be another
    system's history, which no backfill may replace by nothing.
    """

    def __init__(self, ledger: Ledger, destination: str, project: int) -> None:
        columns = hours.c
        with ledger.begin() as connection:
            first, last = connection.execute(
                select(func.min(columns.hour), func.max(columns.hour)).where(
                    columns.project == project, columns.rows > 0
                )
            ).one()
        recorded = recorded_destinations(ledger).get(destination)
        # The first and the last hour with events, and the schedule's first hour.
        self.bounds = HourRange(first, last) if first is not None else None
        self._start = recorded.start if recorded else None

    def __contains__(self, hour: datetime) -> bool:
        if self._start is not None and hour >= self._start:
            return False
        return self.bounds is None or not self.bounds.first <= hour <= self.bounds.last

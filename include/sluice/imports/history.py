"""How many rows a source has loaded at this time of the week before."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select

from sluice.config import ImportConfig
from sluice.ledger import Ledger
from sluice.ledger.tables import loads

_WEEK = timedelta(weeks=1)
_HOUR = timedelta(hours=1)


def rows_of_weeks_before(ledger: Ledger, source: ImportConfig, weeks: int) -> list[int]:
    """Return the rows read by an average load of the source in this hour, 1, 2, … weeks ago.

    Weeks in which it loaded nothing then are left out.
    """
    hour = ledger.now().replace(minute=0, second=0, microsecond=0)
    found = []
    with ledger.begin() as connection:
        for number in range(1, weeks + 1):
            start = hour - number * _WEEK
            rows, many = connection.execute(
                select(func.sum(loads.c.rows_read), func.count()).where(
                    loads.c.project == source.project,
                    loads.c.source == source.id,
                    loads.c.kind == "load",
                    loads.c.rows_read > 0,
                    loads.c.instant >= start,
                    loads.c.instant < start + _HOUR,
                )
            ).one()
            if many:
                found.append(int(rows) // many)
    return found

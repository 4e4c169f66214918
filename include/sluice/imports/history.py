"""How many rows a source's runs have brought at this time of the week before."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select

from sluice.config import ImportConfig
from sluice.ledger import Ledger
from sluice.ledger.quality import OPEN
from sluice.ledger.tables import quality_gates

_WEEK = timedelta(weeks=1)
_HOUR = timedelta(hours=1)


def rows_of_weeks_before(ledger: Ledger, source: ImportConfig, weeks: int) -> list[int]:
    """Return the events of an average run of the source in this hour, 1, 2, … weeks ago.

    They are what its gate has counted and let pass, as it counts now: a run may load in many commits. Weeks
    in which nothing passed then are left out.
    """
    hour = ledger.now().replace(minute=0, second=0, microsecond=0)
    gates = quality_gates.c
    found = []
    with ledger.begin() as connection:
        for number in range(1, weeks + 1):
            start = hour - number * _WEEK
            rows, many = connection.execute(
                select(func.sum(gates.rows), func.count()).where(
                    gates.pipeline == "import",
                    gates.name == source.id,
                    gates.state.in_(OPEN),
                    gates.rows > 0,
                    gates.checked_at >= start,
                    gates.checked_at < start + _HOUR,
                )
            ).one()
            if many:
                found.append(int(rows) // many)
    return found

"""When each import source was last listed whole, and whether it is time to do so again."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select, update

from sluice.ledger.database import Ledger, now
from sluice.ledger.tables import sources


def due(ledger: Ledger, source: str, every: timedelta) -> bool:
    """Say whether a recorded source was not listed whole within `every`, or not since it was asked for."""
    with ledger.begin() as connection:
        moment = now(connection)
        swept, requested = connection.execute(
            select(sources.c.swept_at, sources.c.sweep_requested_at).where(sources.c.id == source)
        ).one()
    return swept is None or swept + every <= moment or (requested is not None and swept <= requested)


def record(ledger: Ledger, source: str, began: datetime) -> None:
    """Record a full listing that came to its end, by the time at which it began."""
    with ledger.begin() as connection:
        connection.execute(update(sources).where(sources.c.id == source).values(swept_at=began))


def request(ledger: Ledger, source: str) -> None:
    """Make the next run of a recorded source list everything, even if a listing is under way now."""
    with ledger.begin() as connection:
        connection.execute(
            update(sources).where(sources.c.id == source).values(sweep_requested_at=now(connection))
        )

"""What each verification of a destination found, as numbers and hours: no event, no person."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select

from sluice.ledger.database import Ledger, now
from sluice.ledger.tables import verifications


@dataclass(frozen=True)
class Verification:
    """What a verification compared: hours from `first_hour` to `last_hour` (UTC, inclusive), and events.

    `differing_hours` lists the first of the `differing` hours: project, hour as text, and what was found.
    """

    first_hour: datetime
    last_hour: datetime
    hours: int
    differing: int
    differing_hours: list[dict[str, Any]]
    lake_events: int
    bucket_events: int
    missing: int
    doubled: int
    unknown: int
    unreadable: int

    @property
    def counts(self) -> dict[str, int]:
        """The numbers, by name."""
        return {name: value for name, value in asdict(self).items() if isinstance(value, int)}


_FACTS = [verifications.c[field.name] for field in fields(Verification)]


def record_verification(ledger: Ledger, destination: str, found: Verification) -> datetime:
    """Record a verification that has come to its end; return when, by the ledger's clock."""
    with ledger.begin() as connection:
        moment = now(connection)
        connection.execute(
            insert(verifications).values(destination=destination, finished_at=moment, **asdict(found))
        )
    return moment


def last_verification(ledger: Ledger, destination: str) -> tuple[datetime, Verification] | None:
    """Return when a destination was last verified and what was found, or None."""
    table = verifications.c
    newest = select(func.max(table.finished_at)).where(table.destination == destination).scalar_subquery()
    statement = select(table.finished_at, *_FACTS).where(
        table.destination == destination, table.finished_at == newest
    )
    with ledger.begin() as connection:
        row = connection.execute(statement).first()
    return (row.finished_at, Verification(*row[1:])) if row else None

"""Counters from which numbers are taken in blocks; gaps are fine, a number is never given twice."""

from __future__ import annotations

from sluice.ledger.database import Ledger
from sluice.ledger.tables import counters


def take_block(ledger: Ledger, name: str, size: int, *, start: int = 1) -> range:
    """Take the next `size` numbers of the counter, which begins at `start` when it is new."""
    with ledger.begin() as connection:
        statement = (
            ledger.insert(counters)
            .values(name=name, next=start + size)
            .on_conflict_do_update(index_elements=["name"], set_={"next": counters.c.next + size})
            .returning(counters.c.next)
        )
        end: int = connection.execute(statement).scalar_one()
    return range(end - size, end)

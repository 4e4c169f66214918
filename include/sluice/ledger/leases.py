"""Leases: a name that one holder has until a time. They make conflicts rare; correctness never rests on them.

Times come from the database, so that hosts with wrong clocks agree.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event, Thread

from sqlalchemy import delete, or_, select, update

from sluice.ledger.database import Ledger, LedgerUnavailable, now
from sluice.ledger.tables import leases

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lease:
    """A lease that is live: who holds it, since when, until when."""

    name: str
    holder: str
    acquired_at: datetime
    expires_at: datetime


def take(ledger: Ledger, name: str, holder: str, seconds: float) -> bool:
    """Take or renew the lease for `holder`; False if another holder has it and it has not expired."""
    with ledger.begin() as connection:
        moment = now(connection)
        new = {"holder": holder, "acquired_at": moment, "expires_at": moment + timedelta(seconds=seconds)}
        statement = (
            ledger.insert(leases)
            .values(name=name, **new)
            .on_conflict_do_update(
                index_elements=["name"],
                set_=new,
                where=or_(leases.c.expires_at <= moment, leases.c.holder == holder),
            )
        )
        return connection.execute(statement.returning(leases.c.name)).first() is not None


def renew(ledger: Ledger, name: str, holder: str, seconds: float) -> bool:
    """Prolong the lease if `holder` still has it; False if it expired or went to another."""
    with ledger.begin() as connection:
        moment = now(connection)
        statement = (
            update(leases)
            .where(leases.c.name == name, leases.c.holder == holder, leases.c.expires_at > moment)
            .values(expires_at=moment + timedelta(seconds=seconds))
            .returning(leases.c.name)
        )
        return connection.execute(statement).first() is not None


def release(ledger: Ledger, name: str, holder: str) -> None:
    """Give the lease back; nothing happens if `holder` no longer has it."""
    with ledger.begin() as connection:
        connection.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))


def remove_expired(ledger: Ledger, before: datetime) -> int:
    """Remove the leases that ran out before a time, which nobody will renew; return how many there were."""
    with ledger.begin() as connection:
        return connection.execute(delete(leases).where(leases.c.expires_at < before)).rowcount


def current(ledger: Ledger, name: str) -> Lease | None:
    """Return the live lease of that name, or None."""
    return next(iter(_live(ledger, leases.c.name == name)), None)


def live(ledger: Ledger, prefix: str) -> list[Lease]:
    """Return all live leases whose name starts with `prefix`, oldest first."""
    return _live(ledger, leases.c.name.startswith(prefix, autoescape=True))


def _live(ledger: Ledger, condition: object) -> list[Lease]:
    with ledger.begin() as connection:
        statement = (
            select(leases.c.name, leases.c.holder, leases.c.acquired_at, leases.c.expires_at)
            .where(condition, leases.c.expires_at > now(connection))  # type: ignore[arg-type]
            .order_by(leases.c.acquired_at)
        )
        return [Lease(*row) for row in connection.execute(statement)]


@contextmanager
def held(ledger: Ledger, name: str, holder: str, seconds: float) -> Iterator[bool]:
    """Hold the lease for a block, renewed in the background; gives False if another has it.

    A ledger that does not answer ends neither the renewing nor the block: the lease runs out by itself.
    """
    if not take(ledger, name, holder, seconds):
        yield False
        return
    done = Event()

    def keep() -> None:
        while not done.wait(seconds / 3):
            try:
                if not renew(ledger, name, holder, seconds):
                    return
            except LedgerUnavailable as error:
                log.warning("The lease %s is not renewed for now: %s", name, error)

    keeper = Thread(target=keep, name=f"lease {name}", daemon=True)
    keeper.start()
    try:
        yield True
    finally:
        done.set()
        keeper.join()
        try:
            release(ledger, name, holder)
        except LedgerUnavailable as error:
            log.warning("The lease %s is not given back and runs out: %s", name, error)

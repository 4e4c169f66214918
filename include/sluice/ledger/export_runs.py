"""What each run of an export did: recorded by its tasks, shown by status, told from by nobody's logs.

Every function may be called again by a retry. The counts of a finished run are those of the hours that the
ledger says it published, so a second try that finds the work done counts the same.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Literal

from sqlalchemy import ColumnElement, and_, func, select, update

from sluice.ledger.database import Ledger, now
from sluice.ledger.tables import export_runs, exported_hours

# access: the receiving side has to change a setting; other: anything else.
Problem = Literal["access", "other"]

_runs = export_runs.c
# Longest reason that is kept, in characters: a message, not a log.
_MAX_REASON = 2_000


@dataclass(frozen=True)
class ExportRun:
    """One run; `first_hour` and `last_hour` (UTC) are what it was asked for, both inclusive.

    `hours`, `events`, `files` and `bytes` (compressed) are what it published, None until it succeeded.
    """

    destination: str
    run: str
    kind: str
    state: str
    first_hour: datetime
    last_hour: datetime
    started_at: datetime
    completed_at: datetime | None
    hours: int | None
    events: int | None
    files: int | None
    bytes: int | None
    reason: str | None
    problem: Problem | None


_RUN = [export_runs.c[field.name] for field in fields(ExportRun)]


def start_run(
    ledger: Ledger, destination: str, run: str, kind: str, first_hour: datetime, last_hour: datetime
) -> None:
    """Record that a run works, for the first time or again; why an earlier try failed stays till it ends."""
    with ledger.begin() as connection:
        again = {
            "kind": kind,
            "state": "running",
            "first_hour": first_hour,
            "last_hour": last_hour,
            "completed_at": None,
        }
        connection.execute(
            ledger.insert(export_runs)
            .values(destination=destination, run=run, started_at=now(connection), **again)
            .on_conflict_do_update(index_elements=["destination", "run"], set_=again)
        )


def finish_run(ledger: Ledger, destination: str, run: str, reason: str | None = None) -> ExportRun:
    """Record that a run has done all it was to do, with what it published; return the record.

    `reason` is what is worth saying of a success, such as hours that it left to another writer.
    """
    hours = exported_hours.c
    with ledger.begin() as connection:
        counts = connection.execute(
            select(
                func.count().label("hours"),
                func.coalesce(func.sum(hours.rows), 0).label("events"),
                func.coalesce(func.sum(hours.files), 0).label("files"),
                func.coalesce(func.sum(hours.bytes), 0).label("bytes"),
            ).where(hours.destination == destination, hours.published_run == run, hours.state == "published")
        ).one()
        connection.execute(
            update(export_runs)
            .where(_is(destination, run))
            .values(
                state="success",
                completed_at=now(connection),
                hours=counts.hours,
                # PostgreSQL sums integers as decimals.
                events=int(counts.events),
                files=int(counts.files),
                bytes=int(counts.bytes),
                reason=_short(reason),
                problem=None,
            )
        )
        return ExportRun(*connection.execute(select(*_RUN).where(_is(destination, run))).one())


def fail_run(ledger: Ledger, destination: str, run: str, reason: str, problem: Problem) -> None:
    """Record why a try of a run failed; another try may follow."""
    with ledger.begin() as connection:
        connection.execute(
            update(export_runs)
            .where(_is(destination, run))
            .values(state="failed", completed_at=now(connection), reason=_short(reason), problem=problem)
        )


def runs_of(ledger: Ledger, destination: str, limit: int) -> list[ExportRun]:
    """Return the runs of a destination that began last, newest first."""
    newest = (
        select(*_RUN)
        .where(_runs.destination == destination)
        .order_by(_runs.started_at.desc(), _runs.last_hour.desc(), _runs.run)
        .limit(limit)
    )
    with ledger.begin() as connection:
        return [ExportRun(*row) for row in connection.execute(newest)]


def destinations_with_runs(ledger: Ledger) -> set[str]:
    """Return the ids of all destinations that ever had a run."""
    with ledger.begin() as connection:
        return set(connection.execute(select(_runs.destination).distinct()).scalars())


def _is(destination: str, run: str) -> ColumnElement[bool]:
    return and_(_runs.destination == destination, _runs.run == run)


def _short(reason: str | None) -> str | None:
    if reason is None or len(reason) <= _MAX_REASON:
        return reason
    return reason[: _MAX_REASON - 1] + "…"

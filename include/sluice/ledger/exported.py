"""Which hours a destination has exported, who works on one now, and what was published.

The unit is one hour of one project for one destination. A writer claims it and gets a fencing token; every
later write of that writer is refused once another has claimed the hour. `state` says what is in the bucket:

- claimed or staged: nothing of this destination was ever published there;
- published: the marker was completed last, and the rest of the row says what it vouches for;
- unpublished: something was taken off and the hour has not been published since.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Executable, and_, case, delete, insert, or_, select, update

from sluice.errors import TransientError
from sluice.ledger.database import Ledger, now
from sluice.ledger.tables import exported_files, exported_hours

_hours, _files = exported_hours.c, exported_files.c


class HourHeld(TransientError):
    """Another writer holds the hour: it publishes it, this one does not."""


@dataclass(frozen=True)
class HourId:
    """One hour (its start, UTC) of one project's data set, as one destination exports it."""

    destination: str
    project: int
    hour: datetime
    data_set: str = "events"

    def __str__(self) -> str:
        return f"hour {self.hour:%Y-%m-%d %H}:00 UTC of project {self.project} for {self.destination}"


@dataclass(frozen=True)
class Claim:
    """A writer's hold on an hour; good until another writer's claim has a higher token."""

    id: HourId
    run: str
    token: int


@dataclass(frozen=True)
class HourRecord:
    """What the ledger knows of an hour; the published facts stay when a new claim is made."""

    state: str
    run: str | None
    token: int
    claimed_until: datetime | None
    content_rows: int | None
    content_digest: str | None
    lake_version: int | None
    filter_hash: str | None
    config_hash: str | None
    rows: int | None
    bytes: int | None
    files: int | None
    seconds: float | None
    manifest_hash: str | None
    marker_etag: str | None
    published_run: str | None
    published_at: datetime | None
    staged: dict[str, Any] | None

    @property
    def published(self) -> bool:
        """Whether the hour's last publication is still what the ledger expects in the bucket."""
        return self.state == "published"


@dataclass(frozen=True)
class PublishedFile:
    """One published object; `bytes` compressed, `raw_bytes` not."""

    key: str
    partition: int
    rows: int
    bytes: int
    raw_bytes: int
    sha256: str
    etag: str
    first_upload_time: datetime
    last_upload_time: datetime


_RECORD = [exported_hours.c[field.name] for field in fields(HourRecord)]
_FILE = [exported_files.c[field.name] for field in fields(PublishedFile)]


def claim(ledger: Ledger, id: HourId, run: str, seconds: float) -> Claim:
    """Claim an hour for `seconds`: one that nobody holds, whose lease is over, or that the same run holds.

    Raises HourHeld if another run holds a live claim.
    """
    with ledger.begin() as connection:
        statement = _claiming(ledger, id, run, now(connection), seconds)
        token = connection.execute(statement).scalar_one_or_none()
        if token is None:
            held = connection.execute(select(_hours.run, _hours.claimed_until).where(_is(id))).one()
            raise HourHeld(
                f"Another writer holds the {id}: the run {held.run}, until"
                f" {held.claimed_until:%Y-%m-%d %H:%M:%S} UTC unless it goes on. Let it finish; this run"
                " tries again."
            )
    return Claim(id, run, token)


def claim_all(ledger: Ledger, ids: Collection[HourId], run: str, seconds: float) -> list[Claim]:
    """Claim each of these hours that `claim` would give, in one transaction; leave out the others."""
    with ledger.begin() as connection:
        moment = now(connection)
        claims = []
        # Always in one order, so that two writers never wait for each other.
        for id in sorted(ids, key=lambda id: (id.project, id.hour)):
            token = connection.execute(_claiming(ledger, id, run, moment, seconds)).scalar_one_or_none()
            if token is not None:
                claims.append(Claim(id, run, token))
    return claims


def renew(ledger: Ledger, claim: Claim, seconds: float) -> None:
    """Prolong a claim. Raises HourHeld if another writer has claimed the hour since."""
    with ledger.begin() as connection:
        until = now(connection) + timedelta(seconds=seconds)
        _update(connection, claim, claimed_until=until)


def release(ledger: Ledger, *claims: Claim) -> None:
    """Give claims back; nothing happens to an hour that another writer has."""
    with ledger.begin() as connection:
        for claim in claims:
            connection.execute(
                update(exported_hours)
                .where(_is(claim.id), _hours.token == claim.token)
                .values(claimed_until=None)
            )


def stage(ledger: Ledger, claim: Claim, staged: dict[str, Any] | None) -> None:
    """Record the uploads that wait to be published, or None that there are none any more.

    Raises HourHeld.
    """
    waiting = "staged" if staged is not None else "claimed"
    with ledger.begin() as connection:
        _update(
            connection,
            claim,
            staged=staged,
            state=case((_hours.state.in_(["claimed", "staged"]), waiting), else_=_hours.state),
        )


def begin_publication(ledger: Ledger, claim: Claim) -> None:
    """Record that objects of the hour are about to be taken off or replaced. Raises HourHeld."""
    with ledger.begin() as connection:
        _update(
            connection,
            claim,
            state=case((_hours.state == "published", "unpublished"), else_=_hours.state),
        )


def begin_staged_publication(ledger: Ledger, claim: Claim, staged: dict[str, Any], seconds: float) -> None:
    """Do what `stage`, `begin_publication` and `renew` do, at once. Raises HourHeld."""
    with ledger.begin() as connection:
        _update(
            connection,
            claim,
            staged=staged,
            state=case(
                (_hours.state == "published", "unpublished"),
                (_hours.state == "claimed", "staged"),
                else_=_hours.state,
            ),
            claimed_until=now(connection) + timedelta(seconds=seconds),
        )


def publish(ledger: Ledger, claim: Claim, facts: dict[str, Any], files: Iterable[PublishedFile]) -> None:
    """Record a publication: `facts` are the published columns of exported_hours. Raises HourHeld.

    The claim ends with it.
    """
    with ledger.begin() as connection:
        _update(
            connection,
            claim,
            **facts,
            state="published",
            published_run=claim.run,
            published_at=now(connection),
            staged=None,
            claimed_until=None,
        )
        connection.execute(delete(exported_files).where(_is(claim.id, exported_files.c)))
        rows = [
            {
                "destination": claim.id.destination,
                "project": claim.id.project,
                "data_set": claim.id.data_set,
                "hour": claim.id.hour,
                **{field.name: getattr(file, field.name) for field in fields(file)},
            }
            for file in files
        ]
        if rows:
            connection.execute(insert(exported_files), rows)


def unpublish(ledger: Ledger, id: HourId) -> None:
    """Record that the hour in the bucket is incomplete, whoever holds it.

    For a writer that lost the hour after it had taken something off: the token is raised, so that nobody
    records as published what that writer may have damaged.
    """
    with ledger.begin() as connection:
        connection.execute(
            update(exported_hours)
            .where(_is(id))
            .values(state="unpublished", token=_hours.token + 1, claimed_until=None)
        )


def record(ledger: Ledger, id: HourId) -> HourRecord | None:
    """Return what the ledger knows of an hour, or None."""
    return records(ledger, id.destination, id.project, id.hour, id.hour, id.data_set).get(id.hour)


def records(
    ledger: Ledger,
    destination: str,
    project: int,
    first: datetime,
    last: datetime,
    data_set: str = "events",
) -> dict[datetime, HourRecord]:
    """Return what the ledger knows of the hours from `first` to `last`, both inclusive."""
    with ledger.begin() as connection:
        rows = connection.execute(
            select(_hours.hour, *_RECORD).where(
                _hours.destination == destination,
                _hours.project == project,
                _hours.data_set == data_set,
                _hours.hour >= first,
                _hours.hour <= last,
            )
        )
        return {row[0]: HourRecord(*row[1:]) for row in rows}


def published_files_between(
    ledger: Ledger,
    destination: str,
    project: int,
    first: datetime,
    last: datetime,
    data_set: str = "events",
) -> dict[datetime, list[PublishedFile]]:
    """Return the objects of the hours from `first` to `last`, both inclusive, in their order."""
    with ledger.begin() as connection:
        rows = connection.execute(
            select(_files.hour, *_FILE)
            .where(
                _files.destination == destination,
                _files.project == project,
                _files.data_set == data_set,
                _files.hour >= first,
                _files.hour <= last,
            )
            .order_by(_files.hour, _files.partition)
        )
        found: dict[datetime, list[PublishedFile]] = {}
        for row in rows:
            found.setdefault(row[0], []).append(PublishedFile(*row[1:]))
    return found


def staged_by(ledger: Ledger, destination: str, run: str, data_set: str = "events") -> list[HourId]:
    """Return the hours that a run has staged and not published, oldest first, whoever holds them now."""
    staged = all_staged(ledger, destination, data_set)
    return [id for id, waits in staged.items() if waits["run"] == run]


def all_staged(ledger: Ledger, destination: str, data_set: str = "events") -> dict[HourId, dict[str, Any]]:
    """Return what waits to be published of a destination, by its hour, oldest first."""
    with ledger.begin() as connection:
        rows = connection.execute(
            select(_hours.project, _hours.hour, _hours.staged)
            .where(
                _hours.destination == destination,
                _hours.data_set == data_set,
                _hours.staged["run"].as_string().is_not(None),
            )
            .order_by(_hours.hour, _hours.project)
        )
        return {HourId(destination, row.project, row.hour, data_set): row.staged for row in rows}


def published_rows(
    ledger: Ledger,
    destination: str,
    project: int,
    hours: Collection[datetime],
    filter_hash: str,
    data_set: str = "events",
) -> dict[datetime, int]:
    """Return how many events these hours had when they were last published under this filter."""
    with ledger.begin() as connection:
        rows = connection.execute(
            select(_hours.hour, _hours.rows).where(
                _hours.destination == destination,
                _hours.project == project,
                _hours.data_set == data_set,
                _hours.hour.in_(hours),
                _hours.filter_hash == filter_hash,
                _hours.rows.is_not(None),
            )
        )
        return {row.hour: row.rows for row in rows}


def published_files(ledger: Ledger, id: HourId) -> list[PublishedFile]:
    """Return the objects of an hour's last publication, in the order of their partitions."""
    with ledger.begin() as connection:
        rows = connection.execute(select(*_FILE).where(_is(id, exported_files.c)).order_by(_files.partition))
        return [PublishedFile(*row) for row in rows]


def _claiming(ledger: Ledger, id: HourId, run: str, moment: datetime, seconds: float) -> Executable:
    """Return the single statement that claims an hour, and gives its new token if it does."""
    until = moment + timedelta(seconds=seconds)
    return (
        ledger.insert(exported_hours)
        .values(
            destination=id.destination,
            project=id.project,
            data_set=id.data_set,
            hour=id.hour,
            state="claimed",
            run=run,
            token=1,
            claimed_until=until,
        )
        .on_conflict_do_update(
            index_elements=["destination", "project", "data_set", "hour"],
            set_={"run": run, "token": _hours.token + 1, "claimed_until": until},
            where=or_(_hours.claimed_until.is_(None), _hours.claimed_until <= moment, _hours.run == run),
        )
        .returning(_hours.token)
    )


def _is(id: HourId, columns: Any = _hours) -> ColumnElement[bool]:
    return and_(
        columns.destination == id.destination,
        columns.project == id.project,
        columns.data_set == id.data_set,
        columns.hour == id.hour,
    )


def _update(connection: Connection, claim: Claim, **values: Any) -> None:
    """Change the hour's row under the claim's token. Raises HourHeld if it is no longer the newest."""
    done = connection.execute(
        update(exported_hours).where(_is(claim.id), _hours.token == claim.token).values(**values)
    )
    if done.rowcount == 0:
        run = connection.execute(select(_hours.run).where(_is(claim.id))).scalar_one_or_none()
        raise HourHeld(
            f"Another writer holds the {claim.id}: the run {run} has claimed it since {claim.run} did. This"
            " run publishes nothing of it; let the other finish and run this one again."
        )

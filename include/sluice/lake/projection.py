"""Keeps the ledger up to date with the lake's log: loads, hours, closed hours, files loaded (ADR 1).

The log is the truth. Each commit is applied once, in order, each in one ledger transaction that also moves
the applied version; whoever comes second finds it moved and goes on from there.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from deltalake import DeltaTable
from sqlalchemy import Connection, insert, select, update

from sluice.lake.commits import LogEntry, entries_between
from sluice.lake.fingerprint import Fingerprint
from sluice.lake.store import Lake, LakeError
from sluice.ledger import Ledger
from sluice.ledger.database import now
from sluice.ledger.tables import files, hours, lake_versions, loads, projects


def catch_up(lake: Lake, ledger: Ledger, events: DeltaTable) -> None:
    """Apply every commit up to the table's version that the ledger has not applied yet.

    Raises LakeError if the ledger belongs to another lake, or the log has lost a commit.
    """
    lake_id = str(events.metadata().id)
    for version, entry in entries_between(lake, _applied(ledger, lake_id), int(events.version())):
        with ledger.begin() as connection:
            moved = connection.execute(
                update(lake_versions)
                .where(lake_versions.c.lake == lake_id, lake_versions.c.version == version - 1)
                .values(version=version)
            )
            if moved.rowcount == 1 and entry is not None:
                _apply(ledger, connection, version, entry)


def _applied(ledger: Ledger, lake_id: str) -> int:
    with ledger.begin() as connection:
        known = connection.execute(select(lake_versions.c.lake, lake_versions.c.version)).first()
        if known is None:
            # Version 0 is the table's creation.
            new = ledger.insert(lake_versions).values(lake=lake_id, version=0)
            connection.execute(new.on_conflict_do_nothing())
            return 0
    if known.lake != lake_id:
        raise LakeError(
            f"This ledger belongs to the lake with the id {known.lake}, not to {lake_id}: check `uri` in"
            " include/config/lake.yaml and the connection sluice_ledger; each lake has its own ledger."
        )
    return int(known.version)


def _apply(ledger: Ledger, connection: Connection, version: int, entry: LogEntry) -> None:
    counts = entry.counts
    connection.execute(
        insert(loads).values(
            project=entry.project,
            number=entry.number,
            attempt=entry.attempt,
            kind=entry.kind,
            version=version,
            source=entry.source,
            instant=entry.instant,
            closed_until=entry.closed_until,
            rows_read=counts.read,
            loaded=counts.loaded,
            duplicate=counts.duplicate,
            ignored=counts.ignored,
            rejected=counts.rejected,
        )
    )
    _apply_project(connection, entry)
    if entry.hours:
        _apply_hours(ledger, connection, entry)
    if entry.files:
        _apply_files(ledger, connection, entry)


def _apply_project(connection: Connection, entry: LogEntry) -> None:
    state = connection.execute(select(projects).where(projects.c.project == entry.project)).first()
    if state is None:
        connection.execute(
            insert(projects).values(
                project=entry.project,
                number=entry.number,
                instant=entry.instant,
                closed_until=entry.closed_until,
            )
        )
        return
    connection.execute(
        update(projects)
        .where(projects.c.project == entry.project)
        .values(
            number=entry.number,
            instant=_later(state.instant, entry.instant),
            closed_until=_later(state.closed_until, entry.closed_until),
        )
    )


def _apply_hours(ledger: Ledger, connection: Connection, entry: LogEntry) -> None:
    # By their range: a load of years touches more hours than a statement takes parameters.
    rows = connection.execute(
        select(hours).where(
            hours.c.project == entry.project, hours.c.hour.between(min(entry.hours), max(entry.hours))
        )
    )
    known = {row.hour: Fingerprint(row.rows, row.digest) for row in rows}
    statement = ledger.insert(hours)
    statement = statement.on_conflict_do_update(
        index_elements=["project", "hour"],
        set_={"rows": statement.excluded.rows, "digest": statement.excluded.digest},
    )
    totals = {hour: known.get(hour, Fingerprint()) + change for hour, change in entry.hours.items()}
    connection.execute(
        statement,
        [
            {"project": entry.project, "hour": hour, "rows": total.rows, "digest": total.digest}
            for hour, total in totals.items()
        ],
    )


def _apply_files(ledger: Ledger, connection: Connection, entry: LogEntry) -> None:
    """Record what became of the load's files.

    Where the ledger was lost, or discovery has yet to come by, the log is the first to name a file.
    """
    outcome = (
        *("state", "reason", "rows_read", "loaded", "duplicate", "ignored", "rejected"),
        *("load_number", "finished_at", "claimed_by", "claimed_until"),
    )
    statement = ledger.insert(files)
    statement = statement.on_conflict_do_update(
        index_elements=["source", "bucket", "key"],
        set_={name: statement.excluded[name] for name in outcome},
    )
    moment = now(connection)
    connection.execute(
        statement,
        [
            {
                "source": entry.source,
                "bucket": file.bucket,
                "key": file.key,
                "etag": file.etag,
                "size": 0,
                "last_modified": entry.instant,
                "converter_hash": "",
                "discovered_at": entry.instant,
                "state": "failed" if file.failed else "done",
                "reason": file.failed,
                "rows_read": file.counts.read,
                "loaded": file.counts.loaded,
                "duplicate": file.counts.duplicate,
                "ignored": file.counts.ignored,
                "rejected": file.counts.rejected,
                "load_number": entry.number,
                "finished_at": moment,
                "claimed_by": None,
                "claimed_until": None,
            }
            for file in entry.files
        ],
    )


def _later(known: datetime | None, new: datetime | None) -> datetime | None:
    return max((moment for moment in (known, new) if moment is not None), default=None)


def hour_fingerprint(ledger: Ledger, project: int, hour: datetime) -> Fingerprint:
    """Return what one hour holds as far as the ledger is caught up; the empty fingerprint if nothing."""
    return hour_fingerprints(ledger, project, hour, hour).get(hour, Fingerprint())


def hour_fingerprints(
    ledger: Ledger, project: int, first: datetime, last: datetime
) -> dict[datetime, Fingerprint]:
    """Return the fingerprints of all hours from `first` to `last`, both inclusive, that hold rows."""
    with ledger.begin() as connection:
        rows = connection.execute(
            select(hours.c.hour, hours.c.rows, hours.c.digest).where(
                hours.c.project == project, hours.c.hour >= first, hours.c.hour <= last
            )
        )
        return {row.hour: Fingerprint(row.rows, row.digest) for row in rows}


def closed_until(ledger: Ledger, project: int) -> datetime | None:
    """Return the end of the project's closed hours as far as the ledger is caught up, or None."""
    with ledger.begin() as connection:
        moment: datetime | None = connection.execute(
            select(projects.c.closed_until).where(projects.c.project == project)
        ).scalar_one_or_none()
    return moment


def hour_of(moment: datetime) -> datetime:
    """Return the start of the hour in which a moment lies."""
    return moment.replace(minute=0, second=0, microsecond=0)


HOUR = timedelta(hours=1)

"""Which configuration each destination and source last ran with; the record knows no more than JSON."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update

from sluice.errors import SluiceError
from sluice.ledger.database import Ledger, now
from sluice.ledger.tables import destinations, files, sources
from sluice.ledger.types import UtcDateTime


class SourceMoved(SluiceError):
    """A source that has imported is configured with another place (decisions I-22)."""


@dataclass(frozen=True)
class RecordedDestination:
    """A destination as it last ran; `start` is the first hour of its schedule."""

    id: str
    config: Mapping[str, Any]
    config_hash: str
    first_seen_at: datetime
    start: datetime


@dataclass(frozen=True)
class RecordedSource:
    """A source as it last ran; `first_import_at` is None until its first file is loaded."""

    id: str
    config: Mapping[str, Any]
    config_hash: str
    first_seen_at: datetime
    first_import_at: datetime | None


@dataclass(frozen=True)
class PassedTest:
    """The converter that a source may import with: its hash, when it passed, and the keys of the files."""

    converter_hash: str
    at: datetime
    keys: Sequence[str]


def recorded_destinations(ledger: Ledger) -> dict[str, RecordedDestination]:
    """Return every destination that ever ran, by id."""
    with ledger.begin() as connection:
        return {row.id: RecordedDestination(*row) for row in connection.execute(_destination())}


def recorded_sources(ledger: Ledger) -> dict[str, RecordedSource]:
    """Return every source that ever ran, by id."""
    with ledger.begin() as connection:
        return {row.id: RecordedSource(*row) for row in connection.execute(_source())}


def record_destination(
    ledger: Ledger, id: str, config: Mapping[str, Any], config_hash: str, start: datetime | None
) -> RecordedDestination:
    """Record the configuration of a destination whose schedule runs, and return the record.

    Without a configured `start` the first call fixes it at 00:00 UTC of its day (decisions E-22); later
    calls keep it.
    """
    with ledger.begin() as connection:
        moment = now(connection)
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        new = {"config": dict(config), "config_hash": config_hash}
        values = {**new, "start": start or midnight, "first_seen_at": moment}
        changed = {**new, "start": start} if start else new
        connection.execute(
            ledger.insert(destinations)
            .values(id=id, **values)
            .on_conflict_do_update(index_elements=["id"], set_=changed)
        )
        return RecordedDestination(*connection.execute(_destination().where(destinations.c.id == id)).one())


def record_source(
    ledger: Ledger, id: str, config: Mapping[str, Any], config_hash: str, fixed: Collection[str]
) -> RecordedSource:
    """Record the configuration of a source that runs, and return the record.

    `fixed` are the keys that may not change after the first import: raises SourceMoved if one did.
    """
    with ledger.begin() as connection:
        new: dict[str, Any] = {"config": dict(config), "config_hash": config_hash}
        # The insert takes the row's lock, so that two runs at once see each other's record.
        connection.execute(
            ledger.insert(sources)
            .values(id=id, first_seen_at=now(connection), **new)
            .on_conflict_do_update(index_elements=["id"], set_={"id": id})
        )
        recorded = RecordedSource(*connection.execute(_source().where(sources.c.id == id)).one())
        if recorded.first_import_at is not None:
            _refuse_moved(recorded, config, fixed)
        connection.execute(
            update(sources).where(sources.c.id == id).values(first_import_at=recorded.first_import_at, **new)
        )
        return replace(recorded, config=new["config"], config_hash=config_hash)


def record_passed(
    ledger: Ledger,
    id: str,
    config: Mapping[str, Any],
    config_hash: str,
    *,
    converter_hash: str,
    keys: Sequence[str],
) -> PassedTest:
    """Record that a source's converter passed its test on real files; an earlier record is replaced.

    The configuration is recorded with it if the source never ran.
    """
    with ledger.begin() as connection:
        moment = now(connection)
        passed = {"tested_converter": converter_hash, "tested_at": moment, "tested_files": list(keys)}
        connection.execute(
            ledger.insert(sources)
            .values(id=id, config=dict(config), config_hash=config_hash, first_seen_at=moment, **passed)
            .on_conflict_do_update(index_elements=["id"], set_=passed)
        )
    return PassedTest(converter_hash, moment, tuple(keys))


def passed_test(ledger: Ledger, id: str) -> PassedTest | None:
    """Return the test that a source's converter passed last, or None if none ever did."""
    table = sources.c
    with ledger.begin() as connection:
        row = connection.execute(
            select(table.tested_converter, table.tested_at, table.tested_files).where(
                table.id == id, table.tested_converter.is_not(None)
            )
        ).first()
    return PassedTest(row.tested_converter, row.tested_at, tuple(row.tested_files)) if row else None


def _refuse_moved(recorded: RecordedSource, config: Mapping[str, Any], fixed: Collection[str]) -> None:
    moved = [
        f"{key} was {recorded.config[key]!r} and is {config[key]!r}"
        for key in sorted(fixed)
        if key in recorded.config and recorded.config[key] != config[key]
    ]
    if moved:
        raise SourceMoved(
            f"The import source {recorded.id} has imported since {recorded.first_import_at:%Y-%m-%d}, so its"
            f" place may no longer change: {'; '.join(moved)}. Undo that, and make a new source with an id of"
            " its own for the new place."
        )


def _destination() -> Any:
    table = destinations.c
    return select(table.id, table.config, table.config_hash, table.first_seen_at, table.start)


def _source() -> Any:
    table = sources.c
    # Files become done when the lake's log says so, whoever loaded them: that, not a call, is the fact.
    first_done = (
        select(func.min(files.c.finished_at))
        .where(files.c.source == table.id, files.c.state == "done")
        .scalar_subquery()
    )
    first_import_at = func.coalesce(table.first_import_at, first_done, type_=UtcDateTime)
    return select(table.id, table.config, table.config_hash, table.first_seen_at, first_import_at)

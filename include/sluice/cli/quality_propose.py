"""`sluice quality propose`: a draft of a suite, from a period of real data."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import duckdb

from sluice.access.connections import EnvironmentAccess
from sluice.cli.cohorts import cursor_of
from sluice.cli.options import Time
from sluice.cohorts.engine import connect
from sluice.cohorts.list_files import AMPLITUDE_ID
from sluice.cohorts.snapshot import take_snapshot
from sluice.cohorts.tables import Events
from sluice.config import CohortConfig, Config, ExportConfig, ImportConfig
from sluice.config.quality_checks import JSON_COLUMNS, columns_of_import
from sluice.errors import SluiceError
from sluice.event_columns import EVENT_COLUMNS
from sluice.event_filters import ConditionWriter, identifier, literal
from sluice.lake import Lake
from sluice.quality.profile import Subject
from sluice.quality.propose import propose, text_of

# Days with data that are looked at if no period is named.
DAYS = 7

Thing = ExportConfig | ImportConfig | CohortConfig

# What Sluice itself writes into each event: nothing there can be somebody's mistake but its own.
_OWN_COLUMNS = frozenset(
    {"$schema", "amplitude_id", "app", "processed_time", "server_received_time", "server_upload_time", "uuid"}
)
_LAKE, _ROWS = "lake", "looked_at"


@dataclass(frozen=True)
class _Data:
    """The rows that are looked at, in a view of the connection, and what they are in words."""

    connection: duckdb.DuckDBPyConnection
    subject: Subject
    what: str
    unit: str
    units: int | None = None


@click.command("propose")
@click.argument("of", metavar="SOURCE|DESTINATION|COHORT")
@click.option("--from", "first", type=Time(), metavar="TIME", help="From this time, UTC, by upload.")
@click.option(
    "--to", "end", type=Time(), metavar="TIME", help="Until before this time, UTC; a cohort as of it."
)
@click.pass_obj
def propose_suite(access: EnvironmentAccess, of: str, first: datetime | None, end: datetime | None) -> None:
    """Draft a suite from the data of a source, a destination or a cohort; nothing is changed.

    The draft is YAML for the thing's own file, with what was seen as comments. Without a period it is of the
    last 7 days that have data. Where an id has several meanings: import/ID, export/ID or cohort/ID.
    """
    thing = _thing(access.config, of)
    with _data(access, thing, first, end) as data:
        proposals = propose(data.connection, data.subject, unit=data.unit, units=data.units)
    if not proposals:
        raise SluiceError(f"There are no {data.what}: name a period that has some with --from and --to.")
    heading = [
        f"Drafted by `sluice quality propose {of}` from",
        f"{data.what}.",
        f"All of it was true of each {data.unit}. Keep what is meant: what is `critical` (the default) stops",
        "the data if it fails, a `warning` is only shown.",
    ]
    if thing.quality.model_fields_set:
        heading.append(f"{thing.source_file} has a key `quality` already: add to its expectations.")
    click.echo(text_of(proposals, heading), nl=False)


def _thing(config: Config, of: str) -> Thing:
    """Return what somebody means by an id, or by its kind and its id. Raises SluiceError."""
    kind, _, id = of.rpartition("/")
    known: dict[str, Sequence[Thing]] = {
        "import": config.imports,
        "export": config.exports,
        "cohort": config.cohorts,
    }
    if kind and kind not in known:
        raise SluiceError(f"{of!r} is no import/ID, export/ID or cohort/ID.")
    found = {
        f"{name}/{id}": thing
        for name, things in known.items()
        for thing in things
        if thing.id == id and kind in ("", name)
    }
    if len(found) > 1:
        raise SluiceError(f"{id} may be {' or '.join(found)}: say which.")
    if not found:
        there = ", ".join(f"{name}/{thing.id}" for name, things in known.items() for thing in things)
        raise SluiceError(
            f"There is no valid source, destination or cohort {of}; valid are: {there or 'none'}."
        )
    return next(iter(found.values()))


@contextmanager
def _data(
    access: EnvironmentAccess, thing: Thing, first: datetime | None, end: datetime | None
) -> Iterator[_Data]:
    if isinstance(thing, CohortConfig):
        if first is not None:
            raise SluiceError("A cohort is looked at as of one time: leave --from out.")
        with _members(access, thing, end or datetime.now(UTC)) as data:
            yield data
        return
    with connect() as connection:
        if isinstance(thing, ExportConfig):
            yield _exported(connection, access.lake, thing, first, end)
        else:
            yield _imported(connection, access.lake, thing, first, end)


def _exported(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    export: ExportConfig,
    first: datetime | None,
    end: datetime | None,
) -> _Data:
    """Offer the events of a destination, under its filter; a gate sees one hour of one project."""
    conditions = [ConditionWriter().all_of(export.filter.clauses)] if export.filter is not None else []
    period = _offer(connection, lake, export.projects, conditions, first, end)
    hour = "date_trunc('hour', server_upload_time::TIMESTAMP)::VARCHAR"
    columns = [name for name in EVENT_COLUMNS if name not in {*JSON_COLUMNS, *_OWN_COLUMNS}]
    subject = Subject(
        _ROWS, columns, _PROPERTIES, ["server_upload_time"], f"app || ' ' || {hour}", AMPLITUDE_ID
    )
    what = f"events of {export.source_file}, uploaded {period}"
    return _Data(connection, subject, what, "hour", period.hours * len(export.projects))


def _imported(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    source: ImportConfig,
    first: datetime | None,
    end: datetime | None,
) -> _Data:
    """Offer the events that a source has brought; a gate sees one load."""
    conditions = [f"source = {literal(source.id)}"]
    period = _offer(connection, lake, (source.project,), conditions, first, end)
    columns = [name for name in columns_of_import(source) if name not in {*JSON_COLUMNS, *_OWN_COLUMNS}]
    subject = Subject(_ROWS, columns, _PROPERTIES, by="epoch_us(loaded_at)", person=AMPLITUDE_ID)
    return _Data(connection, subject, f"events of {source.source_file}, uploaded {period}", "load")


@contextmanager
def _members(access: EnvironmentAccess, cohort: CohortConfig, as_of: datetime) -> Iterator[_Data]:
    """Offer the members of a cohort as of a time; of a portfolio, once for each project's properties."""
    with (
        tempfile.TemporaryDirectory(prefix="sluice-propose-") as folder,
        cursor_of(access, cohort) as cursor,
        connect() as connection,
    ):
        path = Path(folder, "members.parquet")
        ledger = access.ledger if cohort.ids_file is not None else None
        take_snapshot(cohort, access.config, access.lake, as_of, path, ledger=ledger, sql_cursor=cursor)
        projects = [project.name for project in access.config.sources_of(cohort)]
        yield _sent(connection, cohort, projects, path, as_of)


def _sent(
    connection: duckdb.DuckDBPyConnection,
    cohort: CohortConfig,
    projects: Sequence[str],
    path: Path,
    as_of: datetime,
) -> _Data:
    """Offer the members of a file; `projects` are the names of a portfolio's."""
    selects = (
        f"SELECT {_look(cohort, name)} FROM read_parquet({literal(str(path))})" for name in projects or [""]
    )
    connection.execute(f"CREATE TEMP VIEW {_ROWS} AS {' UNION ALL '.join(selects)}")
    subject = Subject(_ROWS, ("user_id", *cohort.properties), by='"$project"', person=AMPLITUDE_ID)
    what = f"members of {cohort.source_file} as of {as_of:%Y-%m-%d %H:%M} UTC"
    return _Data(connection, subject, what, "turn")


def _look(cohort: CohortConfig, project: str) -> str:
    """Return the columns of members by the names in a suite; `project` is one of a portfolio, or empty."""
    properties = (
        f"{identifier(f'{name} ({project})' if project else name)} AS {identifier(name)}"
        for name in cohort.properties
    )
    return ", ".join([AMPLITUDE_ID, "user_id", f'{literal(project)} AS "$project"', *properties])


# Whose members are looked at one by one; the others hold settings of Amplitude's.
_PROPERTIES = ("event_properties", "user_properties", "group_properties", "groups")


@dataclass(frozen=True)
class _Period:
    """From when until before when."""

    first: datetime
    end: datetime

    @property
    def hours(self) -> int:
        """How many hours it has, at most; the last one counts whole."""
        return -(-(self.end - self.first) // timedelta(hours=1))

    def __str__(self) -> str:
        return f"{self.first:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"


def _offer(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    projects: Sequence[int],
    conditions: Sequence[str],
    first: datetime | None,
    end: datetime | None,
) -> _Period:
    """Make the view of the rows that are looked at; return their period, which may have none."""
    end = end or datetime.now(UTC)
    events = Events.open(lake, projects, end)
    connection.register(_LAKE, events.files)
    chosen = [f"app IN ({', '.join(map(str, projects))})", *conditions]
    chosen.append(f"server_upload_time < {_instant(end)}")
    where = " AND ".join(chosen)
    if first is None:
        days = connection.execute(
            f"SELECT upload_date FROM {_LAKE} WHERE {where} GROUP BY ALL ORDER BY ALL DESC LIMIT {DAYS}"
        ).fetchall()
        if days:
            last, earliest = (
                datetime(day.year, day.month, day.day, tzinfo=UTC) for (day,) in (days[0], days[-1])
            )
            first, end = earliest, min(end, last + timedelta(days=1))
        else:
            first = end
    columns = ", ".join(map(identifier, (*EVENT_COLUMNS, "loaded_at")))
    connection.execute(
        f"CREATE TEMP VIEW {_ROWS} AS SELECT {columns} FROM {_LAKE}"
        f" WHERE {where} AND server_upload_time >= {_instant(first)}"
        f" AND server_upload_time < {_instant(end)}"
    )
    return _Period(first, end)


def _instant(moment: datetime) -> str:
    return f"TIMESTAMPTZ {literal(moment.isoformat())}"

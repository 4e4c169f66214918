"""A cohort's query on a database of its own, through a cursor of Python's DB-API (PEP 249).

The rows come in pieces and lie on this machine's disk until all are there: only then their types are known.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from sluice.cohorts.columns import JSON, as_type, check_names
from sluice.cohorts.engine import connect, explained
from sluice.cohorts.errors import CohortQueryError
from sluice.cohorts.snapshot import Snapshot, snapshot_of_query
from sluice.cohorts.sql_text import PARAMETER_STYLES, for_driver
from sluice.config import Config
from sluice.config.cohorts import CohortConfig
from sluice.errors import TransientError
from sluice.lake.sql import without_values

log = logging.getLogger(__name__)

_FETCH_ROWS = 10_000
_LOG_ROWS = 1_000_000
# Drivers with cursors that stay at the server, by the name of their package: `cursor(name, withhold=…)`.
_WITH_SERVER_CURSORS = frozenset({"psycopg", "psycopg2"})
# What drivers raise when the database is not reached or goes away (PEP 249).
_PASSING = frozenset({"OperationalError", "InterfaceError"})
# What drivers raise for a value of a row, which the message then quotes.
_ABOUT_A_ROW = "DataError"


class CohortDatabaseUnavailable(TransientError):
    """The database of a cohort's connection did not answer, or not to the end."""


@contextmanager
def open_cursor(connection: Any) -> Iterator[Any]:
    """Give a cursor of a DB-API connection, one that stays at the server where the driver has such.

    Any other keeps the whole answer in memory before the first row comes, as the driver's own.
    """
    if type(connection).__module__.partition(".")[0] in _WITH_SERVER_CURSORS:
        # Outside of a transaction a cursor ends with its statement unless it is held.
        cursor = connection.cursor(name="sluice_cohort", withhold=bool(connection.autocommit))
    else:
        cursor = connection.cursor()
    with closing(cursor):
        yield cursor


def snapshot_of_connection(
    cohort: CohortConfig, config: Config, as_of: datetime, path: Path, cursor: Any
) -> Snapshot:
    """Write the members that a query on another engine returns.

    Raises CohortQueryError where it cannot be run or returns no list of members, CohortDatabaseUnavailable
    where the database does not answer.
    """
    assert cohort.sql is not None
    if cursor is None:
        raise CohortQueryError.of(
            cohort,
            f"its query runs on the Airflow connection {cohort.connection}, which only a task of Airflow"
            " opens: run the DAG cohort_sync_once",
        )
    sql, parameters = for_driver(cohort.sql, _parameter_style(cohort, cursor), as_of.astimezone(UTC))
    with tempfile.TemporaryDirectory(prefix="sluice-cohort-rows-") as folder, connect() as connection:
        with _driver_explained(cohort):
            cursor.execute(sql, *([] if parameters is None else [parameters]))
            rows = _fetch(cohort, cursor, Path(folder), portfolio=bool(config.sources_of(cohort)))
        with explained(cohort):
            connection.register("fetched", rows)
            snapshot = snapshot_of_query(cohort, config, connection, "SELECT * FROM fetched", {}, path)
    return Snapshot(path, snapshot.members, snapshot.properties, cohort.sql)


def _parameter_style(cohort: CohortConfig, cursor: Any) -> str:
    """Return how the cursor's driver writes parameters: what its module says (PEP 249)."""
    for cls in type(cursor).__mro__:
        package = cls.__module__
        while package:
            style = getattr(sys.modules.get(package), "paramstyle", None)
            if style in PARAMETER_STYLES:
                return str(style)
            package = package.rpartition(".")[0]
    raise CohortQueryError.of(
        cohort,
        f"the driver of the connection {cohort.connection} ({type(cursor).__module__}) does not say how it"
        " writes parameters: use a connection whose driver follows PEP 249",
    )


@contextmanager
def _driver_explained(cohort: CohortConfig) -> Iterator[None]:
    try:
        yield
    except (CohortQueryError, OSError):
        raise
    except Exception as error:
        # Each driver has classes of its own: what they share is their names.
        names = {cls.__name__ for cls in type(error).__mro__}
        said = str(error).strip()
        text = f"{type(error).__name__}: {without_values(said) if _ABOUT_A_ROW in names else said}"
        if _PASSING & names:
            raise CohortDatabaseUnavailable(
                f"The database of the connection {cohort.connection} failed at the query of cohort"
                f" {cohort.id}: {text}. The task is retried."
            ) from error
        raise CohortQueryError.of(
            cohort, f"the query fails on the connection {cohort.connection}: {text}"
        ) from error


def _fetch(cohort: CohortConfig, cursor: Any, folder: Path, *, portfolio: bool) -> pa.RecordBatchReader:
    """Fetch all rows onto disk, and return them with the types that they turned out to have."""
    files: list[Path] = []
    kinds: list[str] = []
    names: list[str] = []
    count = 0
    with ExitStack() as open_file:
        writer = None
        while True:
            rows = cursor.fetchmany(_FETCH_ROWS)
            if not names:
                # A server's cursor knows its columns with the first rows only.
                names = _names(cohort, [column[0] for column in cursor.description], portfolio)
                kinds = [_UNKNOWN] * len(names)
            if not rows:
                break
            columns = list(zip(*map(_values, rows), strict=True))
            here = [_kind(cohort, name, column) for name, column in zip(names, columns, strict=True)]
            kinds = [_common(cohort, *one) for one in zip(names, kinds, here, strict=True)]
            arrays = [_array(cohort, *one) for one in zip(names, here, columns, strict=True)]
            piece = pa.RecordBatch.from_arrays(arrays, names=names)
            if writer is None or writer.schema != piece.schema:
                open_file.close()
                files.append(folder / f"{len(files)}.arrow")
                writer = _Writer(open_file, files[-1], piece.schema)
            writer.write(piece)
            count += len(rows)
            if count % _LOG_ROWS == 0:
                log.info("Cohort %s: %s rows fetched", cohort.id, f"{count:,}")
    fields = zip(names, kinds, strict=True)
    schema = pa.schema([pa.field(name, _TYPES[_DEFAULTS.get(name, kind)]) for name, kind in fields])
    return pa.RecordBatchReader.from_batches(schema, _read(files, schema))


class _Writer:
    """One file of pieces that have the same types."""

    def __init__(self, open_file: ExitStack, path: Path, schema: pa.Schema) -> None:
        self.schema = schema
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        sink = open_file.enter_context(path.open("wb"))
        self.write = open_file.enter_context(pa.ipc.new_stream(sink, schema, options=options)).write_batch


def _read(files: Sequence[Path], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for file in files:
        with file.open("rb") as source, pa.ipc.open_stream(source) as reader:
            for batch in reader:
                columns = [
                    column if column.type == field.type else as_type(column, field.type)
                    for column, field in zip(batch.columns, schema, strict=True)
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _values(row: Any) -> Sequence[Any]:
    # A connection may be set up to give rows as dictionaries.
    return tuple(row.values()) if isinstance(row, Mapping) else row


def _names(cohort: CohortConfig, found: Sequence[str], portfolio: bool) -> list[str]:
    """Return the columns' names as the cohort has them: some databases give all of them in capitals."""
    wanted = {name.casefold(): name for name in ("app", "amplitude_id", "user_id", *cohort.properties)}
    names = [wanted.get(name.casefold(), name) for name in found]
    check_names(cohort, names, portfolio=portfolio)
    return names


_UNKNOWN = "nothing"
_TYPES: dict[str, pa.DataType] = {
    _UNKNOWN: pa.string(),
    "text": pa.string(),
    "true or false": pa.bool_(),
    "whole number": pa.int64(),
    "number": pa.float64(),
    "date": pa.date32(),
    "instant": pa.timestamp("us", tz="UTC"),
    "JSON": JSON,
}
# The ids are what they are, also where no row says it.
_DEFAULTS = {"app": "whole number", "amplitude_id": "whole number", "user_id": "text"}
# The order matters: true is an int to Python, an instant is a date.
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    (int, "whole number"),
    ((float, Decimal), "number"),
    ((str, uuid.UUID), "text"),
    (datetime, "instant"),
    (date, "date"),
    ((dict, list, tuple), "JSON"),
)


def _kind(cohort: CohortConfig, name: str, values: Sequence[Any]) -> str:
    """Return what kind of values a column has in one piece."""
    kind = _UNKNOWN
    for type_ in set(map(type, values)) - {type(None)}:
        this = next((kind for types, kind in _KINDS if issubclass(type_, types)), None)
        if this is None:
            raise CohortQueryError.of(
                cohort,
                f"the query's column {name!r} has values of the type {type_.__name__}, which no receiver"
                " reads: cast it to text or to a number in the query",
            )
        kind = _common(cohort, name, kind, this)
    fitting = {_DEFAULTS[name], "number"} if name in ("app", "amplitude_id") else {_DEFAULTS.get(name, kind)}
    if kind not in (_UNKNOWN, *fitting):
        raise CohortQueryError.of(
            cohort, f"the query's column {name!r} is {kind}, not {_DEFAULTS[name]}: cast it in the query"
        )
    return kind


def _common(cohort: CohortConfig, name: str, one: str, other: str) -> str:
    if one == other or other == _UNKNOWN:
        return one
    if one == _UNKNOWN:
        return other
    if {one, other} == {"whole number", "number"}:
        return "number"
    raise CohortQueryError.of(
        cohort,
        f"the query's column {name!r} is {one} in some rows and {other} in others: cast it in the query",
    )


def _array(cohort: CohortConfig, name: str, kind: str, values: Sequence[Any]) -> pa.Array:
    change = _CHANGES.get("id" if name in ("app", "amplitude_id") else kind)
    type_ = _TYPES[_DEFAULTS.get(name, kind)]
    try:
        items = values if change is None else [None if one is None else change(one) for one in values]
        return as_type(pa.array(items, JSON.storage_type if type_ == JSON else type_), type_)
    except (pa.ArrowException, OverflowError, ValueError) as error:
        raise CohortQueryError.of(
            cohort, f"the query's column {name!r} has a value that is no {kind}: {error}"
        ) from error


def _whole(value: Any) -> int:
    # Some databases give whole numbers as decimals.
    if value != int(value):
        raise ValueError(f"{value!r} is no whole number")
    return int(value)


def _finite(value: Any) -> float | None:
    number = float(value)
    # No receiver has a way to write what is no number (decisions D-17).
    return number if math.isfinite(number) else None


def _utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


_CHANGES: dict[str, Callable[[Any], Any]] = {
    "id": _whole,
    "number": _finite,
    "text": str,
    "instant": _utc,
    "JSON": _json,
}

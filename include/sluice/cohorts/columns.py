"""What a query's columns may be, and what they become in a snapshot.

A snapshot's property has one of seven types: text, true or false, whole number, number, date, instant, JSON.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from sluice.cohorts.errors import CohortQueryError
from sluice.config.cohorts import CohortConfig
from sluice.event_filters import identifier

JSON = pa.json_(pa.string())
_INSTANT = pa.timestamp("us", tz="UTC")

_WHOLE = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"})
_LARGE = frozenset({"UBIGINT", "HUGEINT", "UHUGEINT", "BIGNUM"})
_NUMBER = re.compile(r"FLOAT|DOUBLE|DECIMAL\(.*\)")
_TEXT = re.compile(r"VARCHAR|UUID|ENUM\(.*\)", re.DOTALL)
_MOMENT = re.compile(r"TIMESTAMP( WITH TIME ZONE|_S|_MS|_NS)?")
_NESTED = re.compile(r".*\]|(STRUCT|MAP)\(.*\)", re.DOTALL)


@dataclass(frozen=True)
class Column:
    """One column of a query: its name, and its type as the engine calls it."""

    name: str
    type: str

    @classmethod
    def of(
        cls, connection: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, object]
    ) -> list[Column]:
        """Return the columns of a query, without running it."""
        rows = connection.execute(f"DESCRIBE {sql}", parameters).fetchall()
        return [cls(row[0], row[1]) for row in rows]


def as_type(column: pa.Array, type: pa.DataType) -> pa.Array:
    """Return a column as one of a snapshot's types; JSON comes as text."""
    if type == JSON:
        return pa.ExtensionArray.from_storage(JSON, column.cast(JSON.storage_type))
    return column.cast(type)


def check_names(cohort: CohortConfig, found: Sequence[str], *, portfolio: bool) -> None:
    """Raise CohortQueryError unless the columns are the ids and the cohort's properties, each once."""
    ids = ("app", "amplitude_id", "user_id") if portfolio else ("amplitude_id", "user_id")
    wanted = (*ids, *cohort.properties)
    for name in wanted:
        if name not in found:
            near = next((one for one in found if one.casefold() == name.casefold()), None)
            hint = f"; it returns {near!r}, and capitals count" if near else ""
            raise CohortQueryError.of(
                cohort, f"the query does not return the column {name!r}{hint}: {_why(name, ids)}"
            )
    doubled = sorted({name for name in found if found.count(name) > 1})
    if doubled:
        raise CohortQueryError.of(cohort, f"the query returns the column {doubled[0]!r} twice: name one anew")
    more = [name for name in found if name not in wanted]
    if more:
        hint = (
            "the project is no portfolio, so its members have one app: leave the column out"
            if more[0] == "app"
            else f"list it under `properties`, or leave it out of the query (it returns {', '.join(found)})"
        )
        raise CohortQueryError.of(cohort, f"the query returns the column {more[0]!r} too: {hint}")


def _why(name: str, ids: Collection[str]) -> str:
    if name == "app":
        return "a portfolio's members come from several projects; select `app` of the events"
    if name == "user_id":
        return "select it; it is null for a member without one"
    if name in ids:
        return "each member has one; select it"
    return "it is one of the cohort's `properties`; select it `AS` this name, or take it out of the list"


def casts(cohort: CohortConfig, columns: Sequence[Column], *, portfolio: bool) -> tuple[str, pa.Schema]:
    """Return the select list that gives the columns their types, in the order of a snapshot, and its schema.

    Raises CohortQueryError for a type that a snapshot does not have.
    """
    types = {column.name: column.type for column in columns}
    ids = [*(["app"] if portfolio else []), "amplitude_id"]
    for name in ids:
        if types[name] not in _WHOLE | _LARGE:
            raise CohortQueryError.of(
                cohort,
                f"the query's column {name!r} is {types[name]}, not a whole number: select the events' own"
                f" {name}, or CAST it AS BIGINT",
            )
    if not _TEXT.fullmatch(types["user_id"]) and types["user_id"] != "NULL":
        raise CohortQueryError.of(
            cohort, f"the query's column 'user_id' is {types['user_id']}, not a text: CAST it AS VARCHAR"
        )
    selected = [f"{name}::BIGINT AS {name}" for name in ids]
    # An empty id names nobody.
    selected.append("nullif(user_id::VARCHAR, '') AS user_id")
    fields = [pa.field(name, pa.int64()) for name in ids] + [pa.field("user_id", pa.string())]
    for name in cohort.properties:
        sql, kind = _as_property(cohort, name, types[name])
        selected.append(f"{sql} AS {identifier(name)}")
        fields.append(pa.field(name, kind))
    return ", ".join(selected), pa.schema(fields)


def _as_property(cohort: CohortConfig, name: str, type: str) -> tuple[str, pa.DataType]:
    column = identifier(name)
    if type == "JSON":
        return f"nullif({column}, 'null')", JSON
    if type == "BOOLEAN":
        return column, pa.bool_()
    if type in _WHOLE | _LARGE:
        return f"{column}::BIGINT", pa.int64()
    if _NUMBER.fullmatch(type):
        # No receiver has a way to write what is no number (decisions D-17).
        return f"CASE WHEN isfinite({column}::DOUBLE) THEN {column}::DOUBLE END", pa.float64()
    if _TEXT.fullmatch(type) or type == "NULL":
        return f"{column}::VARCHAR", pa.string()
    if type == "DATE":
        return f"CASE WHEN isfinite({column}) THEN {column} END", pa.date32()
    if _MOMENT.fullmatch(type):
        return f"CASE WHEN isfinite({column}) THEN {column}::TIMESTAMPTZ END", _INSTANT
    if _NESTED.fullmatch(type):
        return f"CASE WHEN {column} IS NOT NULL THEN to_json({column}) END", JSON
    raise CohortQueryError.of(
        cohort,
        f"the query's column {name!r} is {type}, which no receiver reads: CAST it, for instance AS VARCHAR",
    )

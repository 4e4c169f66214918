"""The columns of a relation as expectations see them, in SQL.

Great Expectations looks at Python values: numbers compare with numbers, texts with texts, NaN is missing, and
1 equals 1.0. So each column gets SQL with that meaning; a time is its microseconds since 1970, in UTC, and a
boolean is 0 or 1. A dotted name is a property: a member, by the name after the first dot, of the JSON object
in a text column. Each property of a row has a type of its own.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

import duckdb

from sluice.event_filters import identifier, json_pointer, literal

Kind = Literal["text", "integer", "decimal", "boolean", "time", "json", "other"]

_SIGNED = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_INTEGERS = frozenset([*_SIGNED, *(f"U{name}" for name in _SIGNED)])
_TIMES = ("TIMESTAMP", "DATE")
_JSON_INTEGERS = "('BIGINT', 'UBIGINT')"
_JSON_NUMBERS = "('BIGINT', 'UBIGINT', 'DOUBLE')"
# Beyond it a double holds no fractions, and not every whole number.
_EXACT_DOUBLES = 2**53
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# The column of prepared rows with the group of each.
GROUP = "g"


class Unanswerable(Exception):
    """An expectation asks what the data cannot answer; the message says why."""


@dataclass(frozen=True)
class Column:
    """A column or a property; `value` is its SQL over the prepared rows, null where there is nothing."""

    name: str
    kind: Kind
    value: str
    # Of a property: the SQL of its JSON type.
    type: str = ""

    @property
    def number(self) -> str | None:
        """The value as a number, null where it is none; None if no value can be one."""
        if self.kind == "json":
            return f"CASE WHEN {self.type} IN {_JSON_NUMBERS} THEN TRY_CAST({self.value} AS DOUBLE) END"
        return self.value if self.kind in ("integer", "decimal", "boolean") else None

    @property
    def text(self) -> str | None:
        """The value as text, null where it is none; None if no value can be one."""
        if self.kind == "json":
            return f"CASE WHEN {self.type} = 'VARCHAR' THEN {self.value} END"
        return self.value if self.kind == "text" else None

    @property
    def key(self) -> str:
        """SQL that is equal for equal values of the column, and null for none."""
        return _json_key(self.type, self.value) if self.kind == "json" else self.value

    @property
    def shown(self) -> str:
        """SQL of the value as a person writes it, where values are shown."""
        if self.kind == "time":
            return f"strftime(make_timestamp({self.value}), '%Y-%m-%dT%H:%M:%S.%fZ')"
        return f"{self.value}::BOOLEAN" if self.kind == "boolean" else self.value

    def members(self, values: Iterable[Any]) -> tuple[list[str], int]:
        """Return the keys, as SQL and each once, of the values of a set, and how many can be none of them."""
        every = {self._alike(value): self._member(value) for value in values}
        keys = dict.fromkeys(sql for sql in every.values() if sql is not None)
        return list(keys), sum(sql is None for sql in every.values())

    def _alike(self, value: Any) -> Hashable:
        """Return what is the same for values that are: 1 is 1.0, and true only where it is no JSON."""
        if not isinstance(value, Hashable):
            return repr(value)
        return (self.kind == "json" and isinstance(value, bool), value)

    def _member(self, value: Any) -> str | None:
        if self.kind == "json":
            return _json_member(value)
        if self.kind == "text":
            return literal(value) if isinstance(value, str) else None
        if self.kind == "time":
            return None if isinstance(value, bool | int | float) else str(microseconds(self.name, value))
        if self.kind != "other" and isinstance(value, int | float):
            return number(value)
        return None


def number(value: float) -> str:
    """Return a number as SQL that compares by its value with whole numbers of any size."""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    return literal(value)


def microseconds(name: str, value: object) -> int:
    """Return the microseconds since 1970 of an ISO time, which is UTC where it names no offset."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise Unanswerable(
                f"{name} holds times, and {value!r} is none: write it like 2013-01-02T12:00:00Z"
            ) from error
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        raise Unanswerable(f"{name} holds times, and {value!r} is none: write it like 2013-01-02T12:00:00Z")
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    return (value - _EPOCH) // timedelta(microseconds=1)


def time_text(value: float) -> str:
    """Return the ISO time of so many microseconds since 1970."""
    return (_EPOCH + timedelta(microseconds=int(value))).isoformat()


class Columns:
    """The columns of one relation; those that are asked for are prepared in its rows."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, relation: str, by: str | None) -> None:
        self._relation = identifier(relation)
        described = connection.execute(f"DESCRIBE SELECT * FROM {self._relation}").fetchall()
        self._types: dict[str, str] = {row[0]: row[1] for row in described}
        self._first = [f"({by}) AS {GROUP}" if by else f"NULL AS {GROUP}"]
        self._second = [GROUP]
        self._asked: dict[str, Column] = {}

    @property
    def names(self) -> list[str]:
        """The names of the relation's columns."""
        return list(self._types)

    def __getitem__(self, name: Any) -> Column:
        """Return a column or a property. Raises Unanswerable if there is none."""
        if name not in self._asked:
            self._asked[name] = self._prepare(name)
        return self._asked[name]

    def has(self, name: str) -> bool:
        """Whether there is such a column, or a text column in which such a property may be."""
        return name in self._types or ("." in name and name.split(".", 1)[0] in self._types)

    @property
    def rows(self) -> str:
        """SQL of the rows with what was asked for prepared, and their group."""
        return (
            f"(SELECT {', '.join(self._second)} FROM (SELECT {', '.join(self._first)} FROM {self._relation}))"
        )

    def read(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Read the columns that were asked for as they are. Raises duckdb.Error if they cannot be read."""
        used = dict.fromkeys(name if name in self._types else name.split(".", 1)[0] for name in self._asked)
        counted = ", ".join(["count(*)", *(f"count({identifier(name)})" for name in used)])
        connection.execute(f"SELECT {counted} FROM {self._relation}").fetchall()

    def _prepare(self, name: Any) -> Column:
        if not isinstance(name, str) or not self.has(name):
            raise Unanswerable(f"there is no column {name!r}; there are {', '.join(self.names)}")
        place = len(self._asked)
        if name not in self._types:
            return self._prepare_property(name, place)
        kind = _kind(self._types[name])
        self._first.append(f"{_VALUES.get(kind, '{0}').format(identifier(name))} AS c{place}")
        self._second.append(f"c{place}")
        return Column(name, kind, f"c{place}")

    def _prepare_property(self, name: str, place: int) -> Column:
        column, key = name.split(".", 1)
        if _kind(self._types[column]) != "text":
            raise Unanswerable(f"{column} holds no JSON text, so there is no {name!r} in it")
        self._first.append(f"json_extract({identifier(column)}, {literal(json_pointer([key]))}) AS j{place}")
        self._second += [
            f"CASE WHEN json_type(j{place}) <> 'NULL' THEN j{place} ->> '$' END AS c{place}",
            f"json_type(j{place}) AS t{place}",
        ]
        return Column(name, "json", f"c{place}", f"t{place}")


# What a column's value becomes; -0.0 becomes 0.0, which it equals.
_VALUES = {
    "decimal": "CASE WHEN NOT isnan({0}::DOUBLE) THEN {0}::DOUBLE + 0.0 END",
    "boolean": "{0}::INTEGER",
    "time": "epoch_us({0})",
}


def _kind(type_: str) -> Kind:
    if type_ in ("VARCHAR", "JSON") or type_.startswith("ENUM"):
        return "text"
    if type_ in _INTEGERS:
        return "integer"
    if type_ in ("FLOAT", "DOUBLE") or type_.startswith("DECIMAL"):
        return "decimal"
    if type_ == "BOOLEAN":
        return "boolean"
    return "time" if type_.startswith(_TIMES) else "other"


def _json_key(type_: str, value: str) -> str:
    double = f"TRY_CAST({value} AS DOUBLE)"
    whole = f"{double} = trunc({double}) AND abs({double}) < {_EXACT_DOUBLES}"
    return (
        f"CASE WHEN {type_} = 'VARCHAR' THEN 's' || {value}"
        f" WHEN {type_} IN {_JSON_INTEGERS} THEN 'n' || TRY_CAST({value} AS HUGEINT)::VARCHAR"
        f" WHEN {type_} = 'DOUBLE' AND {whole} THEN 'n' || {double}::HUGEINT::VARCHAR"
        f" WHEN {type_} = 'DOUBLE' THEN 'n' || {double}::VARCHAR"
        f" WHEN {value} IS NOT NULL THEN 'j' || {value} END"
    )


def _json_member(value: Any) -> str | None:
    if isinstance(value, bool):
        return literal("jtrue" if value else "jfalse")
    if isinstance(value, str):
        return literal("s" + value)
    if isinstance(value, int):
        return literal(f"n{value}")
    if isinstance(value, float):
        small = value.is_integer() and abs(value) < _EXACT_DOUBLES
        return literal(f"n{int(value)}") if small else f"'n' || ({literal(value)})::VARCHAR"
    return None


def listed(members: Sequence[str]) -> str:
    """Return SQL values as the right side of IN; of none, one that nothing equals."""
    return f"({', '.join(members) or 'NULL'})"

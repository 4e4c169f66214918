"""Conditions on events as SQL over the lake's columns (decisions E-16), for exports and for cohorts alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from sluice.config.filters import Test
from sluice.event_columns import EVENT_COLUMNS

_PROPERTY_COLUMNS = {
    "event_property": "event_properties",
    "user_property": "user_properties",
    "group_property": "group_properties",
}
_COMPARISONS = {"greater": ">", "less": "<"}
_NUMBERS = ("BIGINT", "UBIGINT", "DOUBLE")

# Gives the SQL of a JSON value; a writer that binds parameters binds them anew at each call.
_Value = Callable[[], str]


def columns_of(clauses: Iterable[Iterable[Test]]) -> tuple[str, ...]:
    """Return the columns that conditions look at, each once."""
    tests = (test for clause in clauses for test in clause)
    return tuple(dict.fromkeys(_PROPERTY_COLUMNS.get(test.subject, test.path[0]) for test in tests))


def literal(value: Any) -> str:
    """Return a text, number, true or false as SQL writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value!r}::DOUBLE" if math.isfinite(value) else f"'{value!r}'::DOUBLE"
    text = "'" + str(value).replace("'", "''") + "'"
    # The engine's parser takes no such character as it is.
    return "(" + text.replace("\0", "' || chr(0) || '") + ")" if "\0" in text else text


def identifier(name: str) -> str:
    """Return a column's name as SQL quotes it."""
    return '"' + name.replace('"', '""') + '"'


def json_pointer(path: Iterable[str]) -> str:
    """Return the JSON pointer (RFC 6901) of names one inside the other."""
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in path)


class ConditionWriter:
    """Writes conditions as SQL; `bind` gives the SQL of a value, a literal or a parameter's mark.

    A condition on something that an event lacks is null, its negation true; values are compared as what they
    are, so the text "5" never equals the number 5.
    """

    def __init__(self, bind: Callable[[Any], str] = literal) -> None:
        self._bind = bind

    def all_of(self, clauses: Iterable[Iterable[Test]]) -> str:
        """Return clauses all of which must hold, each a choice of conditions; null counts as false."""
        return " AND ".join(self._any_of(list(clause)) for clause in clauses)

    def _any_of(self, clause: list[Test]) -> str:
        sql = " OR ".join(self.test(test) for test in clause)
        return f"({sql})" if len(clause) > 1 else sql

    def test(self, test: Test) -> str:
        """Return one condition."""
        sql = self._on_column(test) if test.subject == "column" else self._on_property(test)
        # Three-valued logic ends before it is turned round: what is unknown is false, so its negation true.
        return f"NOT coalesce({sql}, false)" if test.negated else sql

    def _on_column(self, test: Test) -> str:
        name = test.path[0]
        column, kind = identifier(name), EVENT_COLUMNS[name]
        if test.operator == "exists":
            return (
                f"({column} IS NOT NULL AND {column} != 'null')"
                if kind == "json"
                else f"{column} IS NOT NULL"
            )
        cast = "::TIMESTAMPTZ" if kind == "time" else ""
        match test.operator:
            case "equals":
                return f"{column} = {self._bind(test.value)}{cast}"
            case "in":
                return f"{column} IN ({', '.join(self._bind(value) for value in test.value)})"
            case "contains":
                return f"contains({column}, {self._bind(test.value)})"
            case "matches":
                return f"regexp_matches({column}, {self._bind(test.value)})"
            case operator:
                return f"{column} {_COMPARISONS[operator]} {self._bind(test.value)}{cast}"

    def _on_property(self, test: Test) -> str:
        pointer = json_pointer(test.path)

        def value() -> str:
            return f"json_extract({_PROPERTY_COLUMNS[test.subject]}, {self._bind(pointer)})"

        match test.operator:
            case "exists":
                return f"json_type({value()}) != 'NULL'"
            case "equals":
                return self._equals(value, test.value)
            case "in":
                return "(" + " OR ".join(self._equals(value, item) for item in test.value) + ")"
            case "contains":
                return self._contains(value, test.value)
            case "matches":
                return self._of_text(value, "regexp_matches({}, {})", test.value)
            case operator if isinstance(test.value, str):
                return self._of_text(value, f"{{}} {_COMPARISONS[operator]} {{}}", test.value)
            case operator:
                # As doubles: the order of numbers beyond 2^53 is that of their nearest doubles.
                number = f"TRY_CAST({value()} ->> '$' AS DOUBLE)"
                bound = self._bind(float(test.value))
                return f"({self._is(value, *_NUMBERS)} AND {number} {_COMPARISONS[operator]} {bound})"

    def _is(self, value: _Value, *types: str) -> str:
        return f"json_type({value()}) IN ({', '.join(map(repr, types))})"

    def _of_text(self, value: _Value, form: str, operand: str) -> str:
        test = form.format(f"({value()} ->> '$')", self._bind(operand))
        return f"({self._is(value, 'VARCHAR')} AND {test})"

    def _equals(self, value: _Value, wanted: Any) -> str:
        if isinstance(wanted, str):
            return self._of_text(value, "{} = {}", wanted)
        if isinstance(wanted, bool):
            same = f"({value()} ->> '$') = {self._bind(str(wanted).lower())}"
            return f"({self._is(value, 'BOOLEAN')} AND {same})"
        # An integer by its digits, which a double would not keep; any other number by its value.
        same_text = f"({value()} ->> '$') = {self._bind(repr(wanted))}"
        same_double = f"TRY_CAST({value()} ->> '$' AS DOUBLE) = {self._bind(float(wanted))}"
        if isinstance(wanted, int):
            same_double = f"{self._is(value, 'DOUBLE')} AND {same_double}"
        return f"({self._is(value, *_NUMBERS)} AND ({same_text} OR {same_double}))"

    def _contains(self, value: _Value, wanted: Any) -> str:
        item = self._equals(lambda: "item", wanted)
        found = f"list_bool_or(list_transform(CAST({value()} AS JSON[]), item -> {item}))"
        # The engine may cast before it looks at the type.
        in_list = f"CASE WHEN {self._is(value, 'ARRAY')} THEN {found} ELSE false END"
        if not isinstance(wanted, str):
            return in_list
        return f"({in_list} OR {self._of_text(value, 'contains({}, {})', wanted)})"

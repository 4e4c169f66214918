"""Exact expectations about each row: a value, two of them, or the only row that has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sluice.quality.checks import Builder, Check, Found, bounds, comparable, within
from sluice.quality.columns import Column, Columns, Unanswerable, listed, number
from sluice.quality.results import enough


def _not_null(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
    value = columns[kwargs["column"]].value

    def judge(total: int, present: int) -> Found:
        return Found(enough(kwargs, total, total - present), total, total - present)

    return Check([f"count({value})"], judge, f"{value} IS NULL")


def _null(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
    column = columns[kwargs["column"]]

    def judge(total: int, present: int) -> Found:
        return Found(enough(kwargs, total, present), total, present)

    return Check([f"count({column.value})"], judge, f"{column.value} IS NOT NULL", column.shown)


def _each(column: Column, kwargs: Mapping[str, Any], expected: str) -> Check:
    """Check each value there is; a condition that is null for a value, for its type, is not met."""
    failing = f"{column.value} IS NOT NULL AND NOT coalesce({expected}, false)"

    def judge(total: int, present: int, unexpected: int) -> Found:
        return Found(enough(kwargs, present, unexpected), present, unexpected)

    aggregates = [f"count({column.value})", f"count(*) FILTER ({failing})"]
    return Check(aggregates, judge, failing, column.shown)


def _between(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
    column = columns[kwargs["column"]]
    least, most = bounds(column, kwargs)
    if least is None and most is None:
        raise Unanswerable("min_value and max_value are both missing: say at least one")
    if least is not None and most is not None and least > most:
        raise Unanswerable("min_value is greater than max_value: nothing is between them")
    return _each(column, kwargs, within(comparable(column), least, most, kwargs))


def _lengths(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
    column = columns[kwargs["column"]]
    least, most = kwargs.get("min_value"), kwargs.get("max_value")
    if least is None and most is None:
        raise Unanswerable("min_value and max_value are both missing: say at least one")
    return _each(column, kwargs, within(_length(column), least, most, kwargs))


def _lengths_equal(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
    column = columns[kwargs["column"]]
    return _each(column, kwargs, f"{_length(column)} = {number(kwargs['value'])}")


def _length(column: Column) -> str:
    if column.text is None:
        raise Unanswerable(f"{column.name} holds no text, so its values have no lengths")
    return f"length({column.text})"


def _in_set(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
    column = columns[kwargs["column"]]
    if kwargs["value_set"] is None:
        return _each(column, kwargs, "true")
    members, _ = column.members(kwargs["value_set"])
    return _each(column, kwargs, f"{column.key} IN {listed(members)}")


def _not_in_set(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
    column = columns[kwargs["column"]]
    members, _ = column.members(kwargs["value_set"] or [])
    return _each(column, kwargs, f"{column.key} NOT IN {listed(members)}" if members else "true")


def _unique(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
    column = columns[kwargs["column"]]
    return _once([column], kwargs, f"{column.value} IS NOT NULL", f"count({column.value})")


def _compound_unique(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
    chosen = [columns[name] for name in kwargs["column_list"]]
    if len(chosen) < 2:
        raise Unanswerable("column_list names fewer than two columns")
    ignored = kwargs.get("ignore_row_if", "all_values_are_missing")
    words = {"all_values_are_missing": " OR ", "any_value_is_missing": " AND "}
    if ignored == "never":
        return _once(chosen, kwargs, "true")
    if ignored not in words:
        raise Unanswerable(f"ignore_row_if is {ignored!r}: it can be {', '.join([*words, 'never'])}")
    return _once(chosen, kwargs, f"({words[ignored].join(f'{each.value} IS NOT NULL' for each in chosen)})")


def _once(chosen: Sequence[Column], kwargs: Mapping[str, Any], domain: str, rows: str | None = None) -> Check:
    """Check that nothing occurs twice in the rows of a domain, whose number is the aggregate `rows`.

    As many hashes as rows are a proof, and a hash is 8 bytes. Fewer may be an accident, so
    the second look groups by the values themselves.
    """
    keys = [each.key for each in chosen]

    def judge(total: int, considered: int, hashes: int, repeated: int | None = None) -> Found:
        unexpected = considered - hashes if repeated is None else repeated
        return Found(enough(kwargs, considered, unexpected), considered, unexpected)

    aggregates = [
        rows or f"count(*) FILTER ({domain})",
        f"count(DISTINCT hash({', '.join(keys)})) FILTER ({domain})",
    ]
    return Check(aggregates, judge, shown=_together(chosen), repeated=keys, domain=domain)


def _together(chosen: Sequence[Column]) -> str:
    if len(chosen) == 1:
        return chosen[0].shown
    texts = (f"coalesce(({each.shown})::VARCHAR, 'null')" for each in chosen)
    return f"concat_ws(', ', {', '.join(texts)})"


def _pair_equal(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
    first, second = columns[kwargs["column_A"]], columns[kwargs["column_B"]]
    return _pair(first, second, kwargs, _compared(first, second, "="))


def _pair_greater(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
    first, second = columns[kwargs["column_A"]], columns[kwargs["column_B"]]
    condition = _compared(first, second, ">=" if kwargs.get("or_equal") else ">")
    if condition == "false":
        raise Unanswerable(f"{first.name} and {second.name} hold values of types that do not compare")
    return _pair(first, second, kwargs, condition)


def _compared(first: Column, second: Column, operator: str) -> str:
    """Return the comparison of values of the same type; of others it is null, or false at once."""
    if first.kind == second.kind == "time":
        return f"{first.value} {operator} {second.value}"
    if first.kind == second.kind == "json" and operator == "=":
        return f"{first.key} = {second.key}"
    both = [(first.number, second.number), (first.text, second.text)]
    sides = [f"coalesce({a} {operator} {b}, false)" for a, b in both if a is not None and b is not None]
    return " OR ".join(sides) or "false"


def _pair(first: Column, second: Column, kwargs: Mapping[str, Any], expected: str) -> Check:
    ignored = kwargs.get("ignore_row_if", "both_values_are_missing")
    domains = {
        "both_values_are_missing": f"({first.value} IS NOT NULL OR {second.value} IS NOT NULL)",
        "either_value_is_missing": f"({first.value} IS NOT NULL AND {second.value} IS NOT NULL)",
        "neither": "true",
    }
    if ignored not in domains:
        raise Unanswerable(f"ignore_row_if is {ignored!r}: it can be {', '.join(domains)}")
    failing = f"{domains[ignored]} AND NOT coalesce({expected}, false)"

    def judge(total: int, considered: int, unexpected: int) -> Found:
        return Found(enough(kwargs, considered, unexpected), considered, unexpected)

    return Check(
        [f"count(*) FILTER ({domains[ignored]})", f"count(*) FILTER ({failing})"],
        judge,
        failing,
        _together([first, second]),
    )


ROW_CHECKS: dict[str, Builder] = {
    "expect_column_values_to_not_be_null": _not_null,
    "expect_column_values_to_be_null": _null,
    "expect_column_values_to_be_unique": _unique,
    "expect_compound_columns_to_be_unique": _compound_unique,
    "expect_column_values_to_be_between": _between,
    "expect_column_values_to_be_in_set": _in_set,
    "expect_column_values_to_not_be_in_set": _not_in_set,
    "expect_column_value_lengths_to_be_between": _lengths,
    "expect_column_value_lengths_to_equal": _lengths_equal,
    "expect_column_pair_values_to_be_equal": _pair_equal,
    "expect_column_pair_values_a_to_be_greater_than_b": _pair_greater,
}

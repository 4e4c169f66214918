"""Exact expectations about a table as such: how many rows it has, and which columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluice.quality.checks import Builder, Check, Found, lies_within, limits
from sluice.quality.columns import Columns


def _row_count(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
    def judge(total: int) -> Found:
        return Found(lies_within(total, *limits(kwargs), kwargs), total, observed=str(total))

    return Check([], judge)


def _row_count_equals(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
    wanted = kwargs["value"]

    def judge(total: int) -> Found:
        return Found(total == wanted, total, observed=str(total))

    return Check([], judge)


def _fixed(success: bool, observed: str | None = None) -> Check:
    """Answer what the rows have no say in."""
    return Check([], lambda total: Found(success, total, observed=observed))


def _exists(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
    name, index = kwargs["column"], kwargs.get("column_index")
    if index:
        return _fixed(-len(columns.names) <= index < len(columns.names) and columns.names[index] == name)
    if name in columns.names or not columns.has(name):
        return _fixed(name in columns.names)
    # A property exists if a row has it.
    return Check(
        [f"count({columns[name].value})"],
        lambda total, present: Found(present > 0, total, observed=f"{present:,} rows with it"),
    )


def _column_count(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
    there = len(columns.names)
    return _fixed(lies_within(there, *limits(kwargs), kwargs), str(there))


def _column_count_equals(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
    return _fixed(len(columns.names) == kwargs["value"], str(len(columns.names)))


def _column_set(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
    there, wanted = set(columns.names), set(kwargs["column_set"] or [])
    exact = kwargs.get("exact_match", True)
    unknown, missing = sorted(there - wanted), sorted(wanted - there)
    said = [f"missing: {', '.join(missing)}"] if missing else []
    said += [f"not expected: {', '.join(unknown)}"] if unknown and exact else []
    return _fixed(not missing and not (exact and unknown), "; ".join(said) or None)


def _column_list(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
    wanted = kwargs["column_list"]
    return _fixed(wanted is None or columns.names == list(wanted), ", ".join(columns.names))


TABLE_CHECKS: dict[str, Builder] = {
    "expect_table_row_count_to_be_between": _row_count,
    "expect_table_row_count_to_equal": _row_count_equals,
    "expect_column_to_exist": _exists,
    "expect_table_column_count_to_be_between": _column_count,
    "expect_table_column_count_to_equal": _column_count_equals,
    "expect_table_columns_to_match_set": _column_set,
    "expect_table_columns_to_match_ordered_list": _column_list,
}

"""Exact expectations about all values of a column together: a sum, an average, the set of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluice.quality.checks import Builder, Check, Found, bounds, comparable, lies_within, limits, said_of
from sluice.quality.columns import Columns, Unanswerable, listed


def _measure(aggregate: str, *, secret: bool = False, times: bool = False, empty: Any = None) -> Builder:
    """Return the builder of an expectation that an aggregate lies between bounds.

    `times`: it can be asked of times as well; `empty` is what it is of no values.
    """

    def build(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
        column = columns[kwargs["column"]]
        if column.number is None and not (times and column.kind == "time"):
            what = "numbers and no times" if times else "numbers"
            raise Unanswerable(f"{column.name} holds no {what}, of which it could be asked")
        least, most = bounds(column, kwargs)
        compared = comparable(column)

        def judge(total: int, present: int, alike: int, value: Any) -> Found:
            if alike < present:
                raise Unanswerable(f"{present - alike:,} values of {column.name} are no numbers")
            value = empty if value is None else value
            success = value is not None and lies_within(value, least, most, kwargs)
            return Found(success, present, observed=said_of(column, value), secret=secret)

        return Check(
            [f"count({column.value})", f"count({compared})", aggregate.format(compared)],
            judge,
        )

    return build


def _distinct(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
    column = columns[kwargs["column"]]

    def judge(total: int, present: int, distinct: int) -> Found:
        return Found(lies_within(distinct, *limits(kwargs), kwargs), present, observed=str(distinct))

    return Check([f"count({column.value})", f"count(DISTINCT {column.key})"], judge)


def _unique_share(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
    column = columns[kwargs["column"]]

    def judge(total: int, present: int, distinct: int) -> Found:
        share = distinct / present if present else 0
        return Found(lies_within(share, *limits(kwargs), kwargs), present, observed=str(share))

    return Check([f"count({column.value})", f"count(DISTINCT {column.key})"], judge)


def _present_share(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
    column = columns[kwargs["column"]]

    def judge(total: int, present: int) -> Found:
        share = present / total if total else 0
        return Found(lies_within(share, *limits(kwargs), kwargs), total, observed=str(share))

    return Check([f"count({column.value})"], judge)


def _distinct_set(*, only: bool, every: bool) -> Builder:
    """Return the builder of an expectation about the set of values.

    only: nothing else occurs; every: all of them occur.
    """

    def build(columns: Columns, kwargs: Mapping[str, Any]) -> Check:
        column = columns[kwargs["column"]]
        members, strangers = column.members(kwargs["value_set"] or [])
        inside = f"count(DISTINCT {column.key}) FILTER ({column.key} IN {listed(members)})"

        def judge(total: int, present: int, distinct: int, found: int) -> Found:
            outside, missing = distinct - found, len(members) + strangers - found
            success = not (only and outside) and not (every and missing)
            said = [f"{outside} distinct values outside the set"] if only else []
            said += [f"{missing} of the set missing"] if every else []
            return Found(success, present, observed=", ".join(said))

        return Check([f"count({column.value})", f"count(DISTINCT {column.key})", inside], judge)

    return build


COLUMN_CHECKS: dict[str, Builder] = {
    "expect_column_min_to_be_between": _measure("min({0})", secret=True, times=True),
    "expect_column_max_to_be_between": _measure("max({0})", secret=True, times=True),
    "expect_column_mean_to_be_between": _measure("avg({0})"),
    "expect_column_median_to_be_between": _measure("median({0})", secret=True, times=True),
    "expect_column_sum_to_be_between": _measure("sum({0})", empty=0),
    "expect_column_stdev_to_be_between": _measure("stddev_samp({0})"),
    "expect_column_unique_value_count_to_be_between": _distinct,
    "expect_column_proportion_of_unique_values_to_be_between": _unique_share,
    "expect_column_proportion_of_non_null_values_to_be_between": _present_share,
    "expect_column_distinct_values_to_be_in_set": _distinct_set(only=True, every=False),
    "expect_column_distinct_values_to_contain_set": _distinct_set(only=False, every=True),
    "expect_column_distinct_values_to_equal_set": _distinct_set(only=True, every=True),
}

"""Exact expectations about a table as such: how many rows it has."""

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


TABLE_CHECKS: dict[str, Builder] = {
    "expect_table_row_count_to_be_between": _row_count,
    "expect_table_row_count_to_equal": _row_count_equals,
}

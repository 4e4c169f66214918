"""What an expectation says of columns: they must be there, and hold what it asks about."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sluice.config.expectation_values import is_instant, is_number, near
from sluice.config.expectations import Mistake, catalogue
from sluice.config.problems import KeyPath
from sluice.event_columns import Kind

# Expectations about texts, about numbers, and about what has an order.
OF_TEXTS = frozenset(
    {
        *("expect_column_value_lengths_to_be_between", "expect_column_value_lengths_to_equal"),
        *("expect_column_values_to_match_regex", "expect_column_values_to_match_regex_list"),
        *("expect_column_values_to_not_match_regex", "expect_column_values_to_not_match_regex_list"),
        *("expect_column_values_to_be_dateutil_parseable", "expect_column_values_to_match_strftime_format"),
        *("expect_column_values_to_be_json_parseable", "expect_column_values_to_match_json_schema"),
    }
)
OF_NUMBERS = frozenset(
    {
        *("expect_column_mean_to_be_between", "expect_column_sum_to_be_between"),
        *("expect_column_stdev_to_be_between", "expect_column_quantile_values_to_be_between"),
        *("expect_column_value_z_scores_to_be_less_than", "expect_column_values_to_not_be_outliers"),
        "expect_multicolumn_sum_to_equal",
    }
)
OF_ORDER = frozenset(
    {
        *("expect_column_values_to_be_between", "expect_column_min_to_be_between"),
        *("expect_column_max_to_be_between", "expect_column_median_to_be_between"),
    }
)

_NUMBERS: tuple[Kind, ...] = ("integer", "decimal", "boolean")
_TEXTS: tuple[Kind, ...] = ("text", "json")


def columns_named(type: str, kwargs: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yield each column that a valid expectation names, and where."""
    for name, argument in catalogue()[type]["arguments"].items():
        value = kwargs.get(name)
        if argument.get("type") == "column" and value is not None:
            yield ("kwargs", name), value
        elif argument.get("type") == "columns":
            for index, column in enumerate(value or ()):
                yield ("kwargs", name, index), column


def column_mistake(
    path: KeyPath, column: str, columns: Collection[str], dotted: Collection[str]
) -> Mistake | None:
    """Say what is wrong with a column's name; those of `dotted` hold JSON, whose properties are columns too.

    A property is what follows the first dot: `event_properties.carrier`.
    """
    if column in columns:
        return None
    head, dot, name = column.partition(".")
    if dot and head in dotted and name:
        return None
    allowed = ", ".join(columns)
    if dotted:
        allowed += f"; or a property such as {next(iter(dotted))}.name"
    if dot and head in columns and head not in dotted:
        message = f"{head} holds no properties, so there is no column {column}"
    else:
        hint = near(head, dotted) if dot else near(column, columns)
        message = f"there is no column {column}{hint}"
    return Mistake(path, message, allowed, column)


def kind_mistakes(type: str, kwargs: Mapping[str, Any], kinds: Mapping[str, Kind]) -> Iterator[Mistake]:
    """Yield what an expectation asks of columns that hold something else; `kinds` are those that are known.

    Properties have no kind of their own: each value has one.
    """
    for path, column in columns_named(type, kwargs):
        kind = kinds.get(column)
        if kind is None:
            continue
        holds = f"{column} holds {_said(kind)}"
        if type in OF_TEXTS and kind not in _TEXTS:
            yield Mistake(path, f"{holds}, and {type} is about texts", "a column of texts", column)
        elif type in OF_NUMBERS and kind not in _NUMBERS:
            yield Mistake(path, f"{holds}, and {type} is about numbers", "a column of numbers", column)
        elif type in OF_ORDER:
            yield from _of_bounds(path, column, kind, kwargs)
        for index, value in enumerate(kwargs.get("value_set") or ()):
            if not _fits(kind, value):
                place = ("kwargs", "value_set", index)
                yield Mistake(place, f"{holds}, and is compared with {value!r}", _examples(kind), value)


def _of_bounds(path: KeyPath, column: str, kind: Kind, kwargs: Mapping[str, Any]) -> Iterator[Mistake]:
    if kind in _TEXTS:
        allowed = "a column of numbers or times"
        yield Mistake(path, f"{column} holds {_said(kind)}, which have no bounds", allowed, column)
        return
    for name in ("min_value", "max_value"):
        value = kwargs.get(name)
        if value is not None and isinstance(value, str) != (kind == "time"):
            message = f"{column} holds {_said(kind)}, and {name} is {value!r}"
            yield Mistake(("kwargs", name), message, _examples(kind), value)


def _fits(kind: Kind, value: Any) -> bool:
    if kind in _TEXTS:
        return isinstance(value, str)
    if kind == "time":
        return isinstance(value, str) and is_instant(value)
    return is_number(value) if kind != "boolean" else isinstance(value, bool)


def _said(kind: Kind) -> str:
    words = {"text": "texts", "json": "JSON as text", "time": "times", "boolean": "true and false"}
    return words.get(kind, "numbers")


def _examples(kind: Kind) -> str:
    words = {"text": "texts", "json": "texts", "time": "times such as 2013-01-02T12:00:00Z"}
    return words.get(kind, "true or false" if kind == "boolean" else "numbers")

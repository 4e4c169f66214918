"""An exact expectation as aggregates, and what its bounds mean: what all of them are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sluice.quality.columns import Column, Columns, Unanswerable, microseconds, number, time_text


@dataclass(frozen=True)
class Found:
    """What the numbers of one expectation say; `secret` if `observed` is a value of a row."""

    success: bool
    checked: int
    unexpected: int | None = None
    observed: str | None = None
    secret: bool = False


@dataclass(frozen=True)
class Check:
    """An expectation as aggregates, and what they say once they are known.

    `failing` is the condition of a row that fails, and `shown` what of it may be shown. `repeated` are the
    keys that must not occur twice in the rows of `domain`: whether one does is known from the aggregates, in
    how many rows only from a second look.
    """

    aggregates: Sequence[str]
    judge: Callable[..., Found]
    failing: str | None = None
    shown: str = "NULL"
    repeated: Sequence[str] = ()
    domain: str = "true"


# Makes the check of an expectation out of its arguments. Raises Unanswerable, or KeyError for one missing.
Builder = Callable[[Columns, Mapping[str, Any]], Check]


def limits(kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the bounds as they are given, None where there is none."""
    return kwargs.get("min_value"), kwargs.get("max_value")


def bounds(column: Column, kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the bounds as numbers that the column's values compare with."""
    least, most = (None if bound is None else _bound(column, bound) for bound in limits(kwargs))
    return least, most


def _bound(column: Column, bound: Any) -> float:
    if isinstance(bound, int | float):
        if column.number is None:
            raise Unanswerable(f"{column.name} holds no numbers, so {bound!r} is no bound of its values")
        return bound
    if column.kind != "time":
        raise Unanswerable(f"{column.name} holds no times, so {bound!r} is no bound of its values")
    return microseconds(column.name, bound)


def comparable(column: Column) -> str:
    """Return the SQL of what bounds compare with. Raises Unanswerable if the column has no such values."""
    sql = column.value if column.kind == "time" else column.number
    if sql is None:
        raise Unanswerable(f"{column.name} holds neither numbers nor times: its values have no bounds")
    return sql


def within(value: str, least: Any, most: Any, kwargs: Mapping[str, Any]) -> str:
    """Return the condition, as SQL, that a value lies between bounds, of which there is at least one."""
    conditions = []
    if least is not None:
        conditions.append(f"{value} {'>' if kwargs.get('strict_min') else '>='} {number(least)}")
    if most is not None:
        conditions.append(f"{value} {'<' if kwargs.get('strict_max') else '<='} {number(most)}")
    return f"({' AND '.join(conditions)})"


def lies_within(value: Any, least: Any, most: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether a value lies between bounds, either of which may be None."""
    above = least is None or (value > least if kwargs.get("strict_min") else value >= least)
    below = most is None or (value < most if kwargs.get("strict_max") else value <= most)
    return bool(above and below)


def said_of(column: Column, value: Any) -> str | None:
    """Return a number that was computed of a column's values as text, a time as such."""
    if value is None:
        return None
    return time_text(value) if column.kind == "time" else str(value)

"""Drafts a suite from what data hold: everything that it asks is true of them, hour by hour or load by load.

A draft is a beginning: a person says which of it is meant. What was always so and identifies something stops
the data if it fails; what may just have been so until now only warns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import yaml

from sluice.config.quality import MAX_EXPECTATIONS
from sluice.quality.profile import FORMS, MAX_VALUES, MIN_ROWS, ColumnFacts, Profile, Subject, profile
from sluice.quality.results import Expectation

# Below this share of values that are not null, nothing is asked about nulls.
_MOSTLY = 0.5
# How much fewer of them than in the worst hour are still fine.
_SLACK = 0.05
# Beyond these a double is not exact.
_LARGEST = 2**53
# Below it a tenth of a number is soon none any more.
_TINIEST = 1e-100
# Bounds of coordinates are known, and say nothing about anybody.
_COORDINATES = {"location_lat": 90, "location_lng": 180}
# Earlier times than these are wrong, and in the data they were asked of as well.
_FIRST_YEAR = 1990
_JSON_TYPES = {
    "VARCHAR": ("str",),
    "BIGINT": ("int",),
    "UBIGINT": ("int",),
    # Whole numbers of more than 64 bits, too, are doubles to the engine.
    "DOUBLE": ("int", "float"),
    "BOOLEAN": ("bool",),
    "ARRAY": ("list",),
    "OBJECT": ("dict",),
}


@dataclass(frozen=True)
class Proposal:
    """One expectation of a draft, and what was seen that speaks for it, without values."""

    expectation: Expectation
    seen: str


def propose(
    connection: duckdb.DuckDBPyConnection, subject: Subject, *, unit: str, units: int | None = None
) -> list[Proposal]:
    """Draft a suite from the rows of a table or view; none if there are no rows.

    `unit` is what one gate sees, in words (hour, load, turn), told apart by `subject.by`; `units` is how many
    of them there were, if there were some without rows.
    """
    found = profile(connection, subject)
    if not found.rows:
        return []
    proposals = [
        *_of_table(found, unit, units),
        *(_of_pair(later, earlier) for later, earlier in found.ordered),
        *(proposal for facts in found.columns for proposal in _of_column(facts, unit)),
    ]
    return proposals[:MAX_EXPECTATIONS]


def text_of(proposals: Sequence[Proposal], heading: Sequence[str]) -> str:
    """Return a draft as the text of the key `quality`, each expectation below a comment on what was seen."""
    lines = [f"# {line}" for line in heading]
    lines += ["quality:", "  expectations:" if proposals else "  expectations: []"]
    for proposal in proposals:
        expectation = proposal.expectation
        item = {"type": expectation.type, "kwargs": dict(expectation.kwargs)}
        if expectation.severity != "critical":
            item["severity"] = expectation.severity
        text = yaml.safe_dump(item, sort_keys=False, default_flow_style=None, allow_unicode=True, width=100)
        first, *more = text.splitlines()
        lines += [f"    # {proposal.seen}", f"    - {first}", *(f"      {line}" for line in more)]
    return "\n".join(lines) + "\n"


def _of_table(found: Profile, unit: str, units: int | None) -> Iterator[Proposal]:
    fewest = 0 if units is not None and units > found.groups else found.fewest
    bounds = {"min_value": fewest // 2, "max_value": found.most * 2}
    yield Proposal(
        Expectation(
            "expect_table_row_count_to_be_between",
            {name: value for name, value in bounds.items() if name == "max_value" or value},
            "warning",
        ),
        f"{found.rows:,} rows, {fewest:,} to {found.most:,} in each {unit}: from half to twice as many.",
    )


def _of_column(facts: ColumnFacts, unit: str) -> Iterator[Proposal]:
    if not facts.present:
        return
    column = {"column": facts.name}
    yield from _not_null(facts, unit)
    if facts.types:
        yield _of_types(facts)
    if facts.values:
        yield Proposal(
            Expectation(
                "expect_column_values_to_be_in_set", {**column, "value_set": list(facts.values)}, "warning"
            ),
            "Always the same value."
            if len(facts.values) == 1
            else f"{len(facts.values)} different values, each in at least {MIN_ROWS} rows.",
        )
    elif facts.form is not None:
        yield Proposal(
            Expectation("expect_column_values_to_match_regex", {**column, "regex": FORMS[facts.form]}),
            f"More than {MAX_VALUES} different values, all of them {facts.form}.",
        )
    if facts.unique:
        yield Proposal(
            Expectation("expect_column_values_to_be_unique", column),
            f"{facts.present:,} values, all of them different.",
        )
    yield from _range(facts)


def _not_null(facts: ColumnFacts, unit: str) -> Iterator[Proposal]:
    name = "expect_column_values_to_not_be_null"
    if facts.present == facts.rows:
        seen = f"There in all {facts.rows:,} rows."
        yield Proposal(Expectation(name, {"column": facts.name}), seen)
    elif facts.worst >= _MOSTLY:
        mostly = math.floor((facts.worst - _SLACK) * 100) / 100
        nulls = 1 - facts.present / facts.rows
        yield Proposal(
            Expectation(name, {"column": facts.name, "mostly": mostly}, "warning"),
            f"Null in {nulls:.1%} of {facts.rows:,} rows, in {1 - facts.worst:.1%} of the worst {unit}.",
        )


def _of_types(facts: ColumnFacts) -> Proposal:
    types = list(dict.fromkeys(name for kind in facts.types for name in _JSON_TYPES[kind]))
    column = {"column": facts.name}
    if len(types) == 1:
        expectation = Expectation("expect_column_values_to_be_of_type", {**column, "type_": types[0]})
    else:
        expectation = Expectation("expect_column_values_to_be_in_type_list", {**column, "type_list": types})
    return Proposal(expectation, f"{facts.present:,} values, each of them {' or '.join(types)}.")


def _range(facts: ColumnFacts) -> Iterator[Proposal]:
    name = "expect_column_values_to_be_between"
    if facts.least is None or facts.most is None:
        return
    if facts.kind == "time":
        year = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=facts.least)).year
        if year >= _FIRST_YEAR:
            kwargs: dict[str, Any] = {"column": facts.name, "min_value": f"{year - 1}-01-01T00:00:00Z"}
            yield Proposal(Expectation(name, kwargs), f"No time is before {year}; one year more is allowed.")
        return
    if facts.kind == "boolean" or facts.present < MIN_ROWS:
        return
    if facts.name in _COORDINATES:
        bound = _COORDINATES[facts.name]
        if -bound <= facts.least and facts.most <= bound:
            kwargs = {"column": facts.name, "min_value": -bound, "max_value": bound}
            yield Proposal(Expectation(name, kwargs), f"{facts.present:,} coordinates, none beyond.")
        return
    if facts.personal or max(abs(facts.least), abs(facts.most)) > _LARGEST:
        return
    least, most = _wider(facts.least, facts.most)
    yield Proposal(
        Expectation(name, {"column": facts.name, "min_value": least, "max_value": most}, "warning"),
        f"{facts.present:,} numbers; the bounds are a tenth wider than what was seen, and rounded.",
    )


def _wider(least: float, most: float) -> tuple[float, float]:
    """Return bounds about a tenth wider and round, so that they are no row's value; 0 stays a bound."""
    span = max((most - least) or abs(most) or 1.0, _TINIEST)
    step = 10.0 ** (math.floor(math.log10(span)) - 1)
    low = math.floor((least - span / 10) / step) * step
    high = math.ceil((most + span / 10) / step) * step
    if least >= 0:
        low = max(low, 0.0)
    elif most <= 0:
        high = min(high, 0.0)
    # Of numbers that hardly differ the digits may not be enough to be round.
    low, high = min(float(f"{low:.12g}"), least), max(float(f"{high:.12g}"), most)
    whole = low.is_integer() and high.is_integer()
    return (int(low), int(high)) if whole else (low, high)


def _of_pair(later: str, earlier: str) -> Proposal:
    return Proposal(
        Expectation(
            "expect_column_pair_values_a_to_be_greater_than_b",
            {
                "column_A": later,
                "column_B": earlier,
                "or_equal": True,
                "ignore_row_if": "either_value_is_missing",
            },
            "warning",
        ),
        f"{later} was never before {earlier}.",
    )

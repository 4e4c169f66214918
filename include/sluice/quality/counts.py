"""Sluice's own expectations, beside those of Great Expectations: numbers of rows that other places know.

The pipelines bring the numbers, from the ledger and from what they did; here they are judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from sluice.quality.results import Expectation, Result

RECONCILIATION = "expect_reconciliation"
LIKE_WEEKS_BEFORE = "expect_row_count_like_weeks_before"
KEEPS = "expect_row_count_to_keep"

# Sluice's own expectations, with what their arguments are where a suite says nothing.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    RECONCILIATION: {},
    LIKE_WEEKS_BEFORE: {"weeks": 4, "min_ratio": 0.25, "max_ratio": 4.0, "min_rows": 50},
    KEEPS: {"min_ratio": 0.2, "max_ratio": None, "min_rows": 100},
}
# So many earlier weeks are a history.
_MIN_WEEKS = 2


def is_own(expectation: Expectation) -> bool:
    """Whether it is one of Sluice's own, which no engine evaluates over rows."""
    return expectation.type in DEFAULTS


def arguments(expectation: Expectation) -> dict[str, Any]:
    """Return the arguments of one of Sluice's own expectations, with the defaults of those not given."""
    return {**DEFAULTS[expectation.type], **expectation.kwargs}


def reconciliation(of: str, left: int | str, right: int | str, *, names: tuple[str, str]) -> Result:
    """Judge two counts, or two digests of sets, that must be the same; `names` says what each is.

    `of` is what is reconciled, in a few words.
    """
    expectation = Expectation(RECONCILIATION, {"of": of})
    same = left == right
    if isinstance(left, int) and isinstance(right, int):
        observed = f"{left:,} {names[0]}, {right:,} {names[1]}"
    else:
        observed = f"{names[0]} and {names[1]} are {'the same' if same else 'not the same'}"
    return Result(
        expectation,
        same,
        "reconciliation",
        checked=left if isinstance(left, int) else 0,
        observed=observed,
    )


def like_weeks_before(expectation: Expectation, rows: int, earlier: Sequence[int]) -> Result:
    """Judge a number of rows beside those of the same hour in the weeks before, as many as are known.

    It holds where fewer than two weeks are known, or where their median is below `min_rows`.
    """
    settings = arguments(expectation)
    middle = median(earlier) if earlier else 0
    if len(earlier) < _MIN_WEEKS or middle < settings["min_rows"]:
        observed = f"{rows:,} rows, and too little history to compare with"
        return Result(expectation, True, "history", checked=rows, observed=observed)
    observed = f"{rows:,} rows; the median of {len(earlier)} weeks before is {middle:,.0f}"
    return Result(expectation, _within(rows, middle, settings), "history", checked=rows, observed=observed)


def keeps(expectation: Expectation, rows: int, before: int | None) -> Result:
    """Judge a number of rows beside that of the turn before; None says that there was none.

    It holds where there were fewer than `min_rows` before.
    """
    settings = arguments(expectation)
    if before is None or before < settings["min_rows"]:
        observed = f"{rows:,} rows, and too few before to compare with"
        return Result(expectation, True, "history", checked=rows, observed=observed)
    observed = f"{rows:,} rows; {before:,} before"
    return Result(expectation, _within(rows, before, settings), "history", checked=rows, observed=observed)


def _within(rows: int, compared: float, settings: Mapping[str, Any]) -> bool:
    least, most = settings["min_ratio"], settings["max_ratio"]
    return (least is None or rows >= least * compared) and (most is None or rows <= most * compared)

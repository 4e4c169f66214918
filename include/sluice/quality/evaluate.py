"""Evaluates a suite: all rows at once where an aggregate answers, a sample of them where none does."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from sluice.quality import counts
from sluice.quality.columns import Columns
from sluice.quality.exact import evaluate_exact, is_exact
from sluice.quality.results import Expectation, Result
from sluice.quality.sample import columns_of

if TYPE_CHECKING:
    import pandas as pd

# What a sample raises for what is in its rows. Arrow's errors, some of which are ValueErrors, are of files.
_OF_DATA = (ValueError, TypeError, LookupError, AttributeError)
_NO_ROWS = "it is looked at row by row, and no rows are sampled: set sample_rows to more than 0"


def evaluate(
    expectations: Sequence[Expectation],
    rows: duckdb.DuckDBPyConnection,
    relation: str,
    frame: Callable[[], pd.DataFrame] | None,
    *,
    show_values: bool = False,
    by: str | None = None,
) -> dict[Hashable, list[Result]]:
    """Evaluate expectations over a table or view of the connection, in the order in which they are given.

    `relation` is its plain name. It must be readable more than once: it is read once, and again only to count
    or to show what failed. `frame` gives the sample and is called only if an expectation needs it. `by` is an
    SQL expression over the relation's columns: there is a list of results for each value of it, and the
    frame's column `$group` holds the same values; without it there is one list, at None. Sluice's own
    expectations, which are not about rows, are left out (see `counts`).

    What the data or the suite are to blame for is in the results; trouble of the engine or of a store is
    raised.
    """
    asked = [each for each in expectations if not counts.is_own(each)]
    exact = [each for each in asked if is_exact(each)]
    every = evaluate_exact(exact, rows, relation, show_values=show_values, by=by)
    if len(exact) == len(asked):
        return every
    found: dict[Hashable, dict[int, Result]] = {
        group: dict(zip(map(id, exact), results, strict=True)) for group, results in every.items()
    }
    sampled, refused = _answerable(
        [each for each in asked if not is_exact(each)], Columns(rows, relation, by)
    )
    looked: dict[Hashable, dict[int, Result]] = {}
    if frame is None:
        refused |= {id(each): _error(each, _NO_ROWS) for each in sampled}
    elif sampled:
        try:
            rows_looked_at = frame()
        except _OF_DATA as error:
            if isinstance(error, pa.ArrowException):
                raise
            # Its message may quote a value.
            reason = (
                f"its sample of rows cannot be looked at ({type(error).__name__}): see what the rows hold"
            )
            refused |= {id(each): _error(each, reason) for each in sampled}
        else:
            looked = _sampled(sampled, rows_looked_at, show_values)
    for group in found.keys() | looked.keys():
        mine = found.setdefault(group, {})
        mine |= refused | looked.get(group, {})
        for expectation in asked:
            if id(expectation) not in mine:
                mine[id(expectation)] = Result(expectation, True, "sample", unexpected=0)
    return {group: [results[id(expectation)] for expectation in asked] for group, results in found.items()}


def _answerable(
    expectations: Sequence[Expectation], columns: Columns
) -> tuple[list[Expectation], dict[int, Result]]:
    """Part those about columns that there are not: in a frame such a column would merely be empty."""
    refused: dict[int, Result] = {}
    for expectation in expectations:
        missing = [name for name in columns_of(expectation) if not columns.has(name)]
        if missing:
            reason = f"there is no column {missing[0]!r}; there are {', '.join(columns.names)}"
            refused[id(expectation)] = _error(expectation, reason)
    return [each for each in expectations if id(each) not in refused], refused


def _sampled(
    expectations: Sequence[Expectation], frame: pd.DataFrame, show_values: bool
) -> dict[Hashable, dict[int, Result]]:
    # It imports Great Expectations: seconds, which only those pay whose suite needs it.
    from sluice.quality.sampled import evaluate_sampled

    found = evaluate_sampled(expectations, frame, show_values=show_values)
    return {group: dict(zip(map(id, expectations), results, strict=True)) for group, results in found.items()}


def _error(expectation: Expectation, reason: str) -> Result:
    return Result(expectation, False, "sample", error=reason)

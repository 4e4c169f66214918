"""Expectations of Great Expectations as aggregates over all rows, all of a suite in one scan.

They mean what they mean there: a value that is null counts only where nulls are asked about, `mostly` is a
share of the others. Where Great Expectations only raises, something useful is decided: dates and times in ISO
8601 are compared with times; of a property, a value of another type than the one asked for is unexpected.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from sluice.lake.sql import without_values
from sluice.quality.checks import Check
from sluice.quality.column_checks import COLUMN_CHECKS
from sluice.quality.columns import GROUP, Columns, Unanswerable
from sluice.quality.results import MAX_VALUE_LENGTH, MAX_VALUES, Expectation, Result
from sluice.quality.row_checks import ROW_CHECKS
from sluice.quality.table_checks import TABLE_CHECKS

# What the engine says where the data, or what is asked of them, is to blame; anything else is trouble that
# may be over at the next try.
_ABOUT_DATA = (
    duckdb.BinderException,
    duckdb.ConversionException,
    duckdb.InvalidInputException,
    duckdb.OutOfRangeException,
    duckdb.ParserException,
    duckdb.TypeMismatchException,
    duckdb.NotImplementedException,
)


_BUILDERS = {**ROW_CHECKS, **COLUMN_CHECKS, **TABLE_CHECKS}
# All that is evaluated over all rows.
TYPES = frozenset(_BUILDERS)


def evaluate_exact(
    expectations: Sequence[Expectation],
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    *,
    show_values: bool = False,
    by: str | None = None,
) -> dict[Hashable, list[Result]]:
    """Evaluate over all rows of a table or view; a list of results for each value of the SQL `by`.

    The rows are read once; once more where values occur twice that must not, to count them, and where values
    that failed are shown.
    """
    columns = Columns(connection, relation, by)
    checks = [_compiled(expectation, columns) for expectation in expectations]
    rows = columns.rows
    try:
        return _run(expectations, checks, connection, rows, show_values, by is not None)
    except _ABOUT_DATA as error:
        if len(expectations) == 1:
            # Rows that cannot even be read are trouble of a store, not of the data.
            columns.read(connection)
            refused = _error(expectations[0], _reason(error))
            groups = _groups(connection, rows) if by is not None else [None]
            return {group: [refused] for group in groups}
    # One of them is to blame: each for itself, so that the others still get their answers.
    every: dict[Hashable, list[Result]] = {}
    for expectation in expectations:
        found = evaluate_exact([expectation], connection, relation, show_values=show_values, by=by)
        for group, results in found.items():
            every.setdefault(group, []).extend(results)
    return every


def is_exact(expectation: Expectation) -> bool:
    """Whether it is evaluated over all rows."""
    return expectation.type in _BUILDERS


def _compiled(expectation: Expectation, columns: Columns) -> Check | Unanswerable:
    try:
        return _BUILDERS[expectation.type](columns, expectation.kwargs)
    except Unanswerable as reason:
        return reason
    except KeyError as missing:
        return Unanswerable(f"the argument {missing} is missing")


def _run(
    expectations: Sequence[Expectation],
    checks: Sequence[Check | Unanswerable],
    connection: duckdb.DuckDBPyConnection,
    rows: str,
    show_values: bool,
    grouped: bool,
) -> dict[Hashable, list[Result]]:
    # What several expectations ask for is computed once.
    asked = dict.fromkeys(sql for check in checks if isinstance(check, Check) for sql in check.aggregates)
    selected = ", ".join([GROUP if grouped else "NULL", "count(*)", *asked])
    grouping = f" GROUP BY {GROUP} ORDER BY {GROUP}" if grouped else ""
    every: dict[Hashable, list[Result]] = {}
    for group, total, *numbers in connection.execute(f"SELECT {selected} FROM {rows}{grouping}").fetchall():
        known = dict(zip(asked, numbers, strict=True))
        look = _Look(connection, rows, group, show_values)
        every[group] = [
            look.result(expectation, check, total, known)
            for expectation, check in zip(expectations, checks, strict=True)
        ]
    return every


@dataclass(frozen=True)
class _Look:
    """One group of the rows, at which a second look may be taken."""

    connection: duckdb.DuckDBPyConnection
    rows: str
    group: Any
    show_values: bool

    def result(
        self,
        expectation: Expectation,
        check: Check | Unanswerable,
        total: int,
        known: Mapping[str, Any],
    ) -> Result:
        if isinstance(check, Unanswerable):
            return _error(expectation, str(check))
        numbers = [known[sql] for sql in check.aggregates]
        try:
            found = check.judge(total, *numbers)
            if check.repeated and found.unexpected:
                found = check.judge(total, *numbers, self._repeated(check))
        except Unanswerable as reason:
            return _error(expectation, str(reason))
        return Result(
            expectation,
            found.success,
            "exact",
            checked=found.checked,
            unexpected=found.unexpected,
            observed=None if found.secret and not self.show_values else found.observed,
            values=self._values(check) if found.unexpected and self.show_values else (),
        )

    def _repeated(self, check: Check) -> int:
        """Count the rows whose key another row has as well."""
        (count,) = self._one(f"SELECT coalesce(sum(times), 0)::BIGINT FROM ({self._doubled(check)})")
        return int(count)

    def _values(self, check: Check) -> tuple[str, ...]:
        """Return some values that fail."""
        if check.repeated:
            source = f"SELECT v AS value FROM ({self._doubled(check)})"
        else:
            source = (
                f"SELECT {check.shown} AS value FROM {self.rows} WHERE {self._here} AND ({check.failing})"
            )
        found = self.connection.execute(
            f"SELECT DISTINCT left(value::VARCHAR, {MAX_VALUE_LENGTH}) AS start FROM ({source})"
            f" ORDER BY start LIMIT {MAX_VALUES}",
            [self.group],
        ).fetchall()
        return tuple("null" if value is None else value for (value,) in found)

    def _doubled(self, check: Check) -> str:
        """Return SQL of the keys that occur twice; only rows whose hash does are grouped by them."""
        keys = ", ".join(f"{key} AS k{n}" for n, key in enumerate(check.repeated))
        hashed = f"hash({', '.join(check.repeated)})"
        rows = f"FROM {self.rows} WHERE {self._here} AND {check.domain}"
        return (
            f"SELECT {keys}, any_value({check.shown}) AS v, count(*) AS times {rows}"
            f" AND {hashed} IN (SELECT {hashed} AS h {rows} GROUP BY h HAVING count(*) > 1)"
            f" GROUP BY {', '.join(f'k{n}' for n in range(len(check.repeated)))} HAVING times > 1"
        )

    @property
    def _here(self) -> str:
        return f"{GROUP} IS NOT DISTINCT FROM $1"

    def _one(self, query: str) -> Any:
        return self.connection.execute(query, [self.group]).fetchone()


def _error(expectation: Expectation, reason: str) -> Result:
    return Result(expectation, False, "exact", error=reason)


def _reason(error: duckdb.Error) -> str:
    return f"the engine refuses it: {without_values(str(error)).splitlines()[0]}"


def _groups(connection: duckdb.DuckDBPyConnection, rows: str) -> list[Any]:
    found = connection.execute(f"SELECT DISTINCT {GROUP} FROM {rows} ORDER BY {GROUP}").fetchall()
    return [group for (group,) in found]

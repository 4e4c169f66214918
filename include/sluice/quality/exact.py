"""Expectations of Great Expectations as aggregates over all rows, all of a suite in one scan.

They mean what they mean there: a value that is null counts only where nulls are asked about, `mostly` is a
share of the others. Where Great Expectations only raises, something useful is decided: dates and times in ISO
8601 are compared with times; of a property, a value of another type than the one asked for is unexpected.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from sluice.lake.sql import without_values
from sluice.quality.columns import (
    GROUP,
    Column,
    Columns,
    Unanswerable,
    listed,
    microseconds,
    number,
    time_text,
)
from sluice.quality.results import Expectation, Result

# As many failing values as a result shows, and as much of each, in characters.
MAX_VALUES = 20
MAX_VALUE_LENGTH = 200

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


@dataclass(frozen=True)
class _Found:
    """What the numbers of one expectation say; `secret` if `observed` is a value of a row."""

    success: bool
    checked: int
    unexpected: int | None = None
    observed: str | None = None
    secret: bool = False


@dataclass(frozen=True)
class _Check:
    """An expectation as aggregates, and what they say once they are known.

    `failing` is the condition of a row that fails, and `shown` what of it may be shown. `repeated` are the
    keys that must not occur twice in the rows of `domain`: whether one does is known from the aggregates, in
    how many rows only from a second look.
    """

    aggregates: Sequence[str]
    judge: Callable[..., _Found]
    failing: str | None = None
    shown: str | None = None
    repeated: Sequence[str] = ()
    domain: str = "true"


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
    """Whether it is evaluated over all rows; one for certain rows only is looked at in the sample."""
    return expectation.type in _BUILDERS and expectation.kwargs.get("row_condition") is None


def _compiled(expectation: Expectation, columns: Columns) -> _Check | Unanswerable:
    try:
        return _BUILDERS[expectation.type](columns, expectation.kwargs)
    except Unanswerable as reason:
        return reason
    except KeyError as missing:
        return Unanswerable(f"the argument {missing} is missing")


def _run(
    expectations: Sequence[Expectation],
    checks: Sequence[_Check | Unanswerable],
    connection: duckdb.DuckDBPyConnection,
    rows: str,
    show_values: bool,
    grouped: bool,
) -> dict[Hashable, list[Result]]:
    # What several expectations ask for is computed once.
    asked = dict.fromkeys(sql for check in checks if isinstance(check, _Check) for sql in check.aggregates)
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
        check: _Check | Unanswerable,
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

    def _repeated(self, check: _Check) -> int:
        """Count the rows whose key another row has as well."""
        (count,) = self._one(f"SELECT coalesce(sum(times), 0)::BIGINT FROM ({self._doubled(check)})")
        return int(count)

    def _values(self, check: _Check) -> tuple[str, ...]:
        """Return some values that fail."""
        if check.repeated:
            shown = f"concat_ws(', ', {', '.join(f'k{n}' for n in range(len(check.repeated)))})"
            source = self._doubled(check)
        else:
            shown = check.shown or "NULL"
            source = f"SELECT * FROM {self.rows} WHERE {self._here} AND ({check.failing})"
        found = self.connection.execute(
            f"SELECT DISTINCT left(({shown})::VARCHAR, {MAX_VALUE_LENGTH}) AS value FROM ({source})"
            f" ORDER BY value LIMIT {MAX_VALUES}",
            [self.group],
        ).fetchall()
        return tuple("null" if value is None else value for (value,) in found)

    def _doubled(self, check: _Check) -> str:
        keys = ", ".join(f"{key} AS k{n}" for n, key in enumerate(check.repeated))
        return (
            f"SELECT {keys}, count(*) AS times FROM {self.rows} WHERE {self._here} AND {check.domain}"
            f" GROUP BY {', '.join(f'k{n}' for n in range(len(check.repeated)))} HAVING times > 1"
        )

    @property
    def _here(self) -> str:
        return f"{GROUP} IS NOT DISTINCT FROM ?"

    def _one(self, query: str) -> Any:
        return self.connection.execute(query, [self.group]).fetchone()


def _error(expectation: Expectation, reason: str) -> Result:
    return Result(expectation, False, "exact", error=reason)


def _reason(error: duckdb.Error) -> str:
    return f"the engine refuses it: {without_values(str(error)).splitlines()[0]}"


def _groups(connection: duckdb.DuckDBPyConnection, rows: str) -> list[Any]:
    found = connection.execute(f"SELECT DISTINCT {GROUP} FROM {rows} ORDER BY {GROUP}").fetchall()
    return [group for (group,) in found]


# Expectations about each row.


def _share(kwargs: Mapping[str, Any], considered: int, unexpected: int) -> bool:
    """Whether enough of the rows that count are as expected."""
    mostly = kwargs.get("mostly")
    return not considered or (considered - unexpected) / considered >= (1 if mostly is None else mostly)


def _not_null(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
    value = columns[kwargs["column"]].value

    def judge(total: int, present: int) -> _Found:
        return _Found(_share(kwargs, total, total - present), total, total - present)

    return _Check([f"count({value})"], judge, f"{value} IS NULL", "NULL")


def _null(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
    value = columns[kwargs["column"]].value

    def judge(total: int, present: int) -> _Found:
        return _Found(_share(kwargs, total, present), total, present)

    return _Check([f"count({value})"], judge, f"{value} IS NOT NULL", value)


def _each(column: Column, kwargs: Mapping[str, Any], expected: str) -> _Check:
    """Check each value there is; a condition that is null for a value, for its type, is not met."""
    failing = f"{column.value} IS NOT NULL AND NOT coalesce({expected}, false)"

    def judge(total: int, present: int, unexpected: int) -> _Found:
        return _Found(_share(kwargs, present, unexpected), present, unexpected)

    aggregates = [f"count({column.value})", f"count(*) FILTER ({failing})"]
    return _Check(aggregates, judge, failing, column.value)


def _between(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
    column = columns[kwargs["column"]]
    least, most = _bounds(column, kwargs)
    if least is None and most is None:
        raise Unanswerable("min_value and max_value are both missing: say at least one")
    if least is not None and most is not None and least > most:
        raise Unanswerable("min_value is greater than max_value: nothing is between them")
    return _each(column, kwargs, _within(_comparable(column), least, most, kwargs))


def _lengths(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
    column = columns[kwargs["column"]]
    least, most = kwargs.get("min_value"), kwargs.get("max_value")
    if least is None and most is None:
        raise Unanswerable("min_value and max_value are both missing: say at least one")
    return _each(column, kwargs, _within(_length(column), least, most, kwargs))


def _lengths_equal(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
    column = columns[kwargs["column"]]
    return _each(column, kwargs, f"{_length(column)} = {number(kwargs['value'])}")


def _length(column: Column) -> str:
    if column.text is None:
        raise Unanswerable(f"{column.name} holds no text, so its values have no lengths")
    return f"length({column.text})"


def _in_set(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
    column = columns[kwargs["column"]]
    if kwargs["value_set"] is None:
        return _each(column, kwargs, "true")
    members, _ = column.members(kwargs["value_set"])
    return _each(column, kwargs, f"{column.key} IN {listed(members)}")


def _not_in_set(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
    column = columns[kwargs["column"]]
    members, _ = column.members(kwargs["value_set"] or [])
    return _each(column, kwargs, f"{column.key} NOT IN {listed(members)}" if members else "true")


def _unique(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
    column = columns[kwargs["column"]]
    return _once([column], kwargs, f"{column.value} IS NOT NULL", f"count({column.value})")


def _compound_unique(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
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


def _once(
    chosen: Sequence[Column], kwargs: Mapping[str, Any], domain: str, rows: str | None = None
) -> _Check:
    """Check that nothing occurs twice in the rows of a domain, whose number is the aggregate `rows`.

    As many hashes as rows are a proof, and a hash is 8 bytes. Fewer may be an accident, so
    the second look groups by the values themselves.
    """
    keys = [each.key for each in chosen]

    def judge(total: int, considered: int, hashes: int, repeated: int | None = None) -> _Found:
        unexpected = considered - hashes if repeated is None else repeated
        return _Found(_share(kwargs, considered, unexpected), considered, unexpected)

    aggregates = [
        rows or f"count(*) FILTER ({domain})",
        f"count(DISTINCT hash({', '.join(keys)})) FILTER ({domain})",
    ]
    return _Check(aggregates, judge, repeated=keys, domain=domain)


# Expectations about two columns of each row.


def _pair_equal(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
    first, second = columns[kwargs["column_A"]], columns[kwargs["column_B"]]
    return _pair(first, second, kwargs, _compared(first, second, "="))


def _pair_greater(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
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


def _pair(first: Column, second: Column, kwargs: Mapping[str, Any], expected: str) -> _Check:
    ignored = kwargs.get("ignore_row_if", "both_values_are_missing")
    domains = {
        "both_values_are_missing": f"({first.value} IS NOT NULL OR {second.value} IS NOT NULL)",
        "either_value_is_missing": f"({first.value} IS NOT NULL AND {second.value} IS NOT NULL)",
        "neither": "true",
    }
    if ignored not in domains:
        raise Unanswerable(f"ignore_row_if is {ignored!r}: it can be {', '.join(domains)}")
    failing = f"{domains[ignored]} AND NOT coalesce({expected}, false)"

    def judge(total: int, considered: int, unexpected: int) -> _Found:
        return _Found(_share(kwargs, considered, unexpected), considered, unexpected)

    return _Check(
        [f"count(*) FILTER ({domains[ignored]})", f"count(*) FILTER ({failing})"],
        judge,
        failing,
        f"concat(coalesce({first.value}::VARCHAR, 'null'), ', ', coalesce({second.value}::VARCHAR, 'null'))",
    )


# Expectations about a column as a whole.


def _measure(aggregate: str, *, secret: bool = False, times: bool = False, empty: Any = None) -> Any:
    """Return the builder of an expectation that an aggregate lies between bounds.

    `times`: it can be asked of times as well; `empty` is what it is of no values.
    """

    def build(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
        column = columns[kwargs["column"]]
        if column.number is None and not (times and column.kind == "time"):
            what = "numbers and no times" if times else "numbers"
            raise Unanswerable(f"{column.name} holds no {what}, of which it could be asked")
        least, most = _bounds(column, kwargs)
        compared = _comparable(column)

        def judge(total: int, present: int, alike: int, value: Any) -> _Found:
            if alike < present:
                raise Unanswerable(f"{present - alike:,} values of {column.name} are no numbers")
            value = empty if value is None else value
            success = value is not None and _lies_within(value, least, most, kwargs)
            return _Found(success, present, observed=_said(column, value), secret=secret)

        return _Check(
            [f"count({column.value})", f"count({compared})", aggregate.format(compared)],
            judge,
        )

    return build


def _distinct(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
    column = columns[kwargs["column"]]

    def judge(total: int, present: int, distinct: int) -> _Found:
        return _Found(_lies_within(distinct, *_limits(kwargs), kwargs), present, observed=str(distinct))

    return _Check([f"count({column.value})", f"count(DISTINCT {column.key})"], judge)


def _unique_share(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
    column = columns[kwargs["column"]]

    def judge(total: int, present: int, distinct: int) -> _Found:
        share = distinct / present if present else 0
        return _Found(_lies_within(share, *_limits(kwargs), kwargs), present, observed=str(share))

    return _Check([f"count({column.value})", f"count(DISTINCT {column.key})"], judge)


def _present_share(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
    column = columns[kwargs["column"]]

    def judge(total: int, present: int) -> _Found:
        share = present / total if total else 0
        return _Found(_lies_within(share, *_limits(kwargs), kwargs), total, observed=str(share))

    return _Check([f"count({column.value})"], judge)


def _distinct_set(*, only: bool, every: bool) -> Any:
    """Return the builder of an expectation about the set of values.

    only: nothing else occurs; every: all of them occur.
    """

    def build(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
        column = columns[kwargs["column"]]
        members, strangers = column.members(kwargs["value_set"] or [])
        inside = f"count(DISTINCT {column.key}) FILTER ({column.key} IN {listed(members)})"

        def judge(total: int, present: int, distinct: int, found: int) -> _Found:
            outside, missing = distinct - found, len(members) + strangers - found
            success = not (only and outside) and not (every and missing)
            said = [f"{outside} distinct values outside the set"] if only else []
            said += [f"{missing} of the set missing"] if every else []
            return _Found(success, present, observed=", ".join(said))

        return _Check([f"count({column.value})", f"count(DISTINCT {column.key})", inside], judge)

    return build


# Expectations about the rows and columns as such.


def _row_count(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
    def judge(total: int) -> _Found:
        return _Found(_lies_within(total, *_limits(kwargs), kwargs), total, observed=str(total))

    return _Check([], judge)


def _row_count_equals(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
    wanted = kwargs["value"]

    def judge(total: int) -> _Found:
        return _Found(total == wanted, total, observed=str(total))

    return _Check([], judge)


def _fixed(success: bool, observed: str | None = None) -> _Check:
    """Answer what the rows have no say in."""
    return _Check([], lambda total: _Found(success, total, observed=observed))


def _exists(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
    name, index = kwargs["column"], kwargs.get("column_index")
    if index:
        return _fixed(-len(columns.names) <= index < len(columns.names) and columns.names[index] == name)
    if name in columns.names or not columns.has(name):
        return _fixed(name in columns.names)
    # A property exists if a row has it.
    return _Check(
        [f"count({columns[name].value})"],
        lambda total, present: _Found(present > 0, total, observed=f"{present:,} rows with it"),
    )


def _column_count(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
    there = len(columns.names)
    return _fixed(_lies_within(there, *_limits(kwargs), kwargs), str(there))


def _column_count_equals(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
    return _fixed(len(columns.names) == kwargs["value"], str(len(columns.names)))


def _column_set(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
    there, wanted = set(columns.names), set(kwargs["column_set"] or [])
    exact = kwargs.get("exact_match", True)
    unknown, missing = sorted(there - wanted), sorted(wanted - there)
    said = [f"missing: {', '.join(missing)}"] if missing else []
    said += [f"not expected: {', '.join(unknown)}"] if unknown and exact else []
    return _fixed(not missing and not (exact and unknown), "; ".join(said) or None)


def _column_list(columns: Columns, kwargs: Mapping[str, Any]) -> _Check:
    wanted = kwargs["column_list"]
    return _fixed(wanted is None or columns.names == list(wanted), ", ".join(columns.names))


# Bounds.


def _limits(kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
    return kwargs.get("min_value"), kwargs.get("max_value")


def _bounds(column: Column, kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the bounds as numbers that the column's values compare with."""
    least, most = (None if bound is None else _bound(column, bound) for bound in _limits(kwargs))
    return least, most


def _bound(column: Column, bound: Any) -> float:
    if isinstance(bound, int | float):
        if column.number is None:
            raise Unanswerable(f"{column.name} holds no numbers, so {bound!r} is no bound of its values")
        return bound
    if column.kind != "time":
        raise Unanswerable(f"{column.name} holds no times, so {bound!r} is no bound of its values")
    return microseconds(column.name, bound)


def _comparable(column: Column) -> str:
    sql = column.value if column.kind == "time" else column.number
    if sql is None:
        raise Unanswerable(f"{column.name} holds neither numbers nor times: its values have no bounds")
    return sql


def _within(value: str, least: Any, most: Any, kwargs: Mapping[str, Any]) -> str:
    conditions = []
    if least is not None:
        conditions.append(f"{value} {'>' if kwargs.get('strict_min') else '>='} {number(least)}")
    if most is not None:
        conditions.append(f"{value} {'<' if kwargs.get('strict_max') else '<='} {number(most)}")
    return f"({' AND '.join(conditions)})"


def _lies_within(value: Any, least: Any, most: Any, kwargs: Mapping[str, Any]) -> bool:
    above = least is None or (value > least if kwargs.get("strict_min") else value >= least)
    below = most is None or (value < most if kwargs.get("strict_max") else value <= most)
    return bool(above and below)


def _said(column: Column, value: Any) -> str | None:
    if value is None:
        return None
    return time_text(value) if column.kind == "time" else str(value)


_BUILDERS: dict[str, Callable[[Columns, Mapping[str, Any]], _Check]] = {
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
    "expect_table_row_count_to_be_between": _row_count,
    "expect_table_row_count_to_equal": _row_count_equals,
    "expect_column_to_exist": _exists,
    "expect_table_column_count_to_be_between": _column_count,
    "expect_table_column_count_to_equal": _column_count_equals,
    "expect_table_columns_to_match_set": _column_set,
    "expect_table_columns_to_match_ordered_list": _column_list,
}

# All that is evaluated over all rows.
TYPES = frozenset(_BUILDERS)

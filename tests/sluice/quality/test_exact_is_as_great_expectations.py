"""The proof of conformance: what SQL says of all rows is what Great Expectations says of the same rows.

Where Great Expectations raises, or takes a text for a time only on some paths (on pandas 3), the meaning that
was decided stands in test_exact.py.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sluice.quality.exact import TYPES, evaluate_exact
from sluice.quality.results import Expectation, Result
from sluice.quality.sample import frame_of
from sluice.quality.sampled import evaluate_sampled

SCHEMA = pa.schema(
    [
        ("whole", pa.int64()),
        ("other", pa.int64()),
        ("large", pa.int64()),
        ("double", pa.float64()),
        ("text", pa.string()),
        ("words", pa.string()),
        ("flag", pa.bool_()),
        ("time", pa.timestamp("us", tz="UTC")),
        ("later", pa.timestamp("us", tz="UTC")),
        ("properties", pa.string()),
    ]
)
MIXED, NUMBERS, TEXTS = "properties.mixed", "properties.numbers", "properties.texts"
START = datetime(2013, 1, 2, 12, tzinfo=UTC)

_small = st.integers(-3, 3)
# Sums of quarters are exact, in whatever order they are added.
_quarters = st.integers(-12, 12).map(lambda n: n / 4)
_texts = st.one_of(st.sampled_from(["", "a", "A", "ab", "ß", "'", '"', "naïve", "1"]), st.text(max_size=4))
_times = st.integers(-3, 3).map(lambda n: START + timedelta(minutes=n))


# The type of an expectation, and what draws its arguments.
_Drawn = tuple[str, st.SearchStrategy[Expectation]]


def _or_none(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(values, values, st.none())


_rows = st.lists(
    st.fixed_dictionaries(
        {
            "whole": _or_none(_small),
            "other": _or_none(_small),
            "large": _or_none(st.sampled_from([2**53, 2**53 + 1, -(2**63), 2**63 - 1])),
            "double": _or_none(st.one_of(_quarters, st.sampled_from([math.nan, -0.0]))),
            "text": _or_none(_texts),
            "words": _or_none(st.sampled_from(["a", "b", "ab"])),
            "flag": _or_none(st.booleans()),
            "time": _or_none(_times),
            "later": _or_none(_times),
            "properties": st.one_of(
                st.none(),
                st.fixed_dictionaries(
                    {},
                    optional={
                        "mixed": _or_none(st.one_of(_small, _quarters, _texts)),
                        "numbers": _or_none(st.one_of(_small, _quarters)),
                        "texts": _or_none(_texts),
                    },
                ),
            ),
        }
    ),
    max_size=9,
)

_mostly = st.sampled_from([{}, {"mostly": 1}, {"mostly": 0.5}, {"mostly": 0.75}, {"mostly": 0}])
_strict = st.fixed_dictionaries({}, optional={"strict_min": st.booleans(), "strict_max": st.booleans()})


def _bounds(values: st.SearchStrategy[Any], *, one: bool = True) -> st.SearchStrategy[dict[str, Any]]:
    def ordered(bounds: tuple[Any, Any]) -> dict[str, Any]:
        low, high = bounds
        if low is not None and high is not None and low > high:
            low, high = high, low
        return {name: value for name, value in (("min_value", low), ("max_value", high)) if value is not None}

    drawn = st.tuples(_or_none(values), _or_none(values)).map(ordered)
    return drawn.filter(bool) if one else drawn


def _of(type_: str, *parts: st.SearchStrategy[Mapping[str, Any]], **fixed: Any) -> _Drawn:
    return type_, st.tuples(*parts).map(
        lambda drawn: Expectation(type_, {**fixed, **{k: v for each in drawn for k, v in each.items()}})
    )


_COLUMN = "expect_column_"
_EVERY = [*SCHEMA.names[:-1], MIXED, NUMBERS, TEXTS]
_MEASURED = ["whole", "double", "flag", NUMBERS]


def _sets(column: str) -> st.SearchStrategy[dict[str, Any]]:
    # Not true and false beside 1 and 0: in JSON they are values of other types.
    any_value = st.one_of(_small, _quarters, _texts)
    # Great Expectations makes doubles of whole numbers beside fractions, and loses the largest.
    whole = st.one_of(_small, st.just(2**53 + 1))
    values = {"time": _times, "later": _times, "large": whole}.get(column, any_value)
    return st.lists(values, min_size=1, max_size=4).map(lambda chosen: {"value_set": chosen})


def _expectations() -> Iterator[_Drawn]:
    for column in _EVERY:
        for what in ("not_be_null", "be_null", "be_unique"):
            yield _of(f"{_COLUMN}values_to_{what}", _mostly, column=column)
        for what in ("values_to_be_in_set", "values_to_not_be_in_set"):
            yield _of(f"{_COLUMN}{what}", _sets(column), _mostly, column=column)
        for what in ("to_be_in_set", "to_contain_set", "to_equal_set"):
            yield _of(f"{_COLUMN}distinct_values_{what}", _sets(column), column=column)
        few = _bounds(st.integers(0, 5), one=False)
        yield _of(f"{_COLUMN}unique_value_count_to_be_between", few, _strict, column=column)
        share = _bounds(st.sampled_from([0, 0.25, 0.5, 1]), one=False)
        for what in ("unique_values", "non_null_values"):
            yield _of(f"{_COLUMN}proportion_of_{what}_to_be_between", share, _strict, column=column)
    for column in _MEASURED:
        bounds = _bounds(st.one_of(_small, _quarters))
        yield _of(f"{_COLUMN}values_to_be_between", bounds, _strict, _mostly, column=column)
        for what in ("min", "max", "mean", "median", "sum", "stdev"):
            wide = _bounds(st.one_of(_small, _quarters), one=False)
            yield _of(f"{_COLUMN}{what}_to_be_between", wide, _strict, column=column)
    for what in ("values", "min", "max", "median"):
        yield _of(f"{_COLUMN}{what}_to_be_between", _bounds(_times), _strict, column="time")
    for column in ("text", "words", TEXTS):
        lengths = _bounds(st.integers(0, 4))
        yield _of(f"{_COLUMN}value_lengths_to_be_between", lengths, _strict, _mostly, column=column)
        length = st.fixed_dictionaries({"value": st.integers(0, 4)})
        yield _of(f"{_COLUMN}value_lengths_to_equal", length, _mostly, column=column)
    for first, second in _PAIRS:
        both = {"column_A": first, "column_B": second}
        ignored = _ignored("both_values_are_missing", "either_value_is_missing", "neither")
        yield _of(f"{_COLUMN}pair_values_to_be_equal", ignored, _mostly, **both)
        if both != {"column_A": "whole", "column_B": "words"}:
            greater = st.fixed_dictionaries({}, optional={"or_equal": st.booleans()})
            yield _of(f"{_COLUMN}pair_values_a_to_be_greater_than_b", ignored, greater, **both)
    for columns in (["whole", "words"], ["words", "double", "flag"], [NUMBERS, "other"]):
        ignored = _ignored("all_values_are_missing", "any_value_is_missing", "never")
        yield _of("expect_compound_columns_to_be_unique", ignored, _mostly, column_list=columns)
    yield _of("expect_table_row_count_to_be_between", _bounds(st.integers(0, 9), one=False), _strict)
    yield _of("expect_table_row_count_to_equal", st.fixed_dictionaries({"value": st.integers(0, 9)}))


_PAIRS = [
    ("whole", "other"),
    ("whole", "double"),
    ("large", "whole"),
    ("words", "text"),
    ("time", "later"),
    (NUMBERS, "whole"),
    (TEXTS, "words"),
    ("whole", "words"),
]


def _ignored(*choices: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={"ignore_row_if": st.sampled_from(choices)})


# Each example costs half a second, and its message names the expectation: to shrink it would take minutes.
@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(rows=_rows, data=st.data())
def test_any_rows_any_expectation(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    expectations = data.draw(
        st.lists(
            st.one_of(*(drawn for _, drawn in _expectations())), min_size=15, max_size=15, unique_by=str
        ),
        label="expectations",
    )
    _same(rows, expectations)


def test_each_exact_expectation_is_among_those_that_are_compared() -> None:
    assert {type_ for type_, _ in _expectations()} == TYPES


def _same(rows: Sequence[Mapping[str, Any]], expectations: Sequence[Expectation]) -> None:
    stored = [
        {**row, "properties": None if row["properties"] is None else json.dumps(row["properties"])}
        for row in rows
    ]
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("rows", pa.Table.from_pylist(stored, schema=SCHEMA))
        [ours] = evaluate_exact([_written(each) for each in expectations], connection, "rows").values()
    [theirs] = evaluate_sampled(
        expectations, frame_of(rows, expectations, SCHEMA.names), show_values=True
    ).values()
    for expectation, found, wanted in zip(expectations, ours, theirs, strict=True):
        assert _facts(found) == _facts(wanted), f"{expectation}: {found}; {wanted}"


def _written(expectation: Expectation) -> Expectation:
    """Write times as a YAML file has them: as text."""

    def written(value: Any) -> Any:
        if isinstance(value, list):
            return [written(each) for each in value]
        return value.isoformat() if isinstance(value, datetime) else value

    return Expectation(expectation.type, {name: written(value) for name, value in expectation.kwargs.items()})


_NUMBERS_OBSERVED = ("mean", "sum", "stdev", "count", "proportion")


def _facts(result: Result) -> tuple[Any, ...]:
    observed: Any = result.observed if "distinct_values" in result.expectation.type else None
    if result.observed is not None and any(word in result.expectation.type for word in _NUMBERS_OBSERVED):
        observed = pytest.approx(float(result.observed))
    checked = None if result.unexpected is None else result.checked
    return (result.error is None, result.success, result.unexpected, checked, observed)

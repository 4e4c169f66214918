"""The filter's predicate, condition by condition, and against a filter in plain Python."""

import json
import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.config.filters import FilterConfig
from sluice.exports.errors import LakeRowError
from sluice.exports.filters import EventFilter

PROPERTIES = [
    {"a": 5, "text": "x", "list": [1, "q", 2.5, [7]], "null": None, "flag": True},
    {"a": "5", "text": "xyz", "flag": "true"},
    {"a": 5.0, "big": 123456789012345678901234567891},
    {},
    {"a": 12, "in": {"side": {"x/y~z": 1}}},
]


def batch_of(properties, **columns):
    rows = len(properties)
    return pa.RecordBatch.from_pydict(
        {
            "place": list(range(rows)),
            "event_type": ["p", "q", "p", "r", "s"][:rows] + ["t"] * (rows - 5),
            "event_properties": [json.dumps(one) for one in properties],
        }
        | columns
    )


def kept(filter_, batch):
    chosen = EventFilter(FilterConfig.model_validate(filter_))
    with chosen.open() as engine:
        return engine.keep(batch)["place"].to_pylist()


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"event_property": "a", "equals": 5}, [0, 2]),
        ({"event_property": "a", "equals": "5"}, [1]),
        ({"event_property": "a", "equals": 5, "not": True}, [1, 3, 4]),
        ({"event_property": "a", "greater": 5}, [4]),
        ({"event_property": "a", "less": 12}, [0, 2]),
        ({"event_property": "a", "in": [12, "5"]}, [1, 4]),
        ({"event_property": "a", "exists": True}, [0, 1, 2, 4]),
        ({"event_property": "null", "exists": True}, []),
        ({"event_property": "null", "exists": True, "not": True}, [0, 1, 2, 3, 4]),
        ({"event_property": "list", "contains": 1}, [0]),
        ({"event_property": "list", "contains": 1.0}, [0]),
        ({"event_property": "list", "contains": 2.5}, [0]),
        ({"event_property": "list", "contains": "q"}, [0]),
        ({"event_property": "list", "contains": 7}, []),
        ({"event_property": "text", "contains": "y"}, [1]),
        ({"event_property": "text", "matches": "^x$"}, [0]),
        ({"event_property": "text", "greater": "xa"}, [1]),
        ({"event_property": "flag", "equals": True}, [0]),
        ({"event_property": "big", "equals": 123456789012345678901234567891}, [2]),
        ({"event_property": ["in", "side", "x/y~z"], "equals": 1}, [4]),
        ({"column": "event_type", "in": ["p"], "not": True}, [1, 3, 4]),
        (
            {"any": [{"column": "event_type", "equals": "p"}, {"event_property": "a", "equals": 12}]},
            [0, 2, 4],
        ),
    ],
)
def test_a_condition(condition, expected):
    assert kept({"where": [condition]}, batch_of(PROPERTIES)) == expected


def test_all_clauses_must_hold():
    both = [{"event_property": "a", "equals": 5}, {"event_property": "text", "exists": True}]
    assert kept({"where": both}, batch_of(PROPERTIES)) == [0]
    assert kept({"event_types": {"exclude": ["p"]}, "where": both}, batch_of(PROPERTIES)) == []
    assert kept({"event_types": {"include": ["p", "q"]}}, batch_of(PROPERTIES)) == [0, 1, 2]


def test_a_null_column_fulfils_no_condition():
    batch = batch_of(PROPERTIES, user_id=["a", None, "b", None, None], paying=[True, None, False, None, True])
    assert kept({"where": [{"column": "user_id", "equals": "a"}]}, batch) == [0]
    assert kept({"where": [{"column": "user_id", "equals": "a", "not": True}]}, batch) == [1, 2, 3, 4]
    assert kept({"where": [{"column": "paying", "equals": False}]}, batch) == [2]


def test_times_are_instants():
    times = pa.array([0, 1_000_000, 2_000_000, None, 3_000_000], pa.timestamp("us", "UTC"))
    batch = batch_of(PROPERTIES, event_time=times)
    assert kept({"where": [{"column": "event_time", "greater": "1970-01-01T01:00:01+01:00"}]}, batch) == [
        2,
        4,
    ]


def test_the_values_are_no_sql():
    batch = batch_of([{"it's": "a' OR 1=1 --"}, {"x": 1}])
    assert kept({"where": [{"event_property": "it's", "equals": "a' OR 1=1 --"}]}, batch) == [0]
    assert kept({"where": [{"event_property": "x') OR (1=1", "exists": True}]}, batch) == []


def test_a_row_that_is_no_json_is_an_error():
    batch = batch_of([{}], event_properties=["{bad"])
    with pytest.raises(LakeRowError, match="cannot read an event"):
        kept({"where": [{"event_property": "a", "equals": 1}]}, batch)


scalars = st.one_of(
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.5, 1.0, -0.0, 1e300]),
    st.sampled_from(["", "a", "ab", "1"]),
)
values = st.one_of(st.none(), scalars, st.lists(scalars, max_size=3))


def same(one, other):
    if isinstance(one, bool) or isinstance(other, bool) or isinstance(one, str) or isinstance(other, str):
        return type(one) is type(other) and one == other
    return isinstance(one, int | float) and isinstance(other, int | float) and one == other


def in_python(operator, operand, value):
    match operator:
        case "exists":
            return value is not None
        case "equals":
            return same(value, operand)
        case "contains" if isinstance(value, list):
            return any(same(item, operand) for item in value)
        case "contains":
            return isinstance(value, str) and isinstance(operand, str) and operand in value
        case "matches":
            return isinstance(value, str) and bool(re.search(operand, value))
    numbers = [isinstance(one, int | float) and not isinstance(one, bool) for one in (value, operand)]
    if not all(numbers) and not (isinstance(value, str) and isinstance(operand, str)):
        return False
    return value > operand if operator == "greater" else value < operand


tests = st.one_of(
    st.tuples(st.sampled_from(["equals", "contains"]), scalars),
    st.tuples(st.sampled_from(["greater", "less"]), scalars.filter(lambda one: not isinstance(one, bool))),
    st.just(("exists", True)),
    st.tuples(st.just("matches"), st.sampled_from(["a", "^a$", "b|1"])),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(values, min_size=1, max_size=8), tests, st.booleans())
def test_the_predicate_is_that_of_plain_python(column, test, negated):
    operator, operand = test
    expected = [n for n, value in enumerate(column) if in_python(operator, operand, value) != negated]
    condition = {"event_property": "x", operator: operand, "not": negated}
    assert kept({"where": [condition]}, batch_of([{"x": value} for value in column])) == expected

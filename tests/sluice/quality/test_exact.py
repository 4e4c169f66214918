"""What was decided where Great Expectations raises or differs, and what happens to hostile data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from sluice.quality.exact import evaluate_exact
from sluice.quality.results import MAX_VALUE_LENGTH, MAX_VALUES, Expectation, Result

BETWEEN, COMPOUND = "column_values_to_be_between", "compound_columns_to_be_unique"
PAIR, PAIR_GREATER = "column_pair_values_to_be_equal", "column_pair_values_a_to_be_greater_than_b"
START = datetime(2013, 1, 2, 12, tzinfo=UTC)
SCHEMA = pa.schema(
    [
        ("uuid", pa.string()),
        ("n", pa.int64()),
        ("time", pa.timestamp("us", tz="UTC")),
        ("event_properties", pa.string()),
        ("hour", pa.string()),
    ]
)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def offer(connection: duckdb.DuckDBPyConnection, *rows: dict[str, Any]) -> None:
    connection.register("rows", pa.Table.from_pylist(list(rows), schema=SCHEMA))


def ask(
    connection: duckdb.DuckDBPyConnection, type_: str, *, show_values: bool = False, **kwargs: Any
) -> Result:
    [[result]] = evaluate_exact(
        [Expectation(f"expect_{type_}", kwargs)], connection, "rows", show_values=show_values
    ).values()
    return result


def with_properties(connection: duckdb.DuckDBPyConnection, *properties: object) -> None:
    offer(connection, *({"event_properties": json.dumps(each)} for each in properties))


@pytest.mark.parametrize(
    ("bounds", "unexpected"),
    [
        ({"min_value": "2013-01-02"}, 0),
        ({"min_value": "2013-01-02T12:01:00Z"}, 1),
        ({"min_value": "2013-01-02T12:01:00"}, 1),
        ({"min_value": "2013-01-02T13:01:00+01:00"}, 1),
        ({"min_value": "2013-01-02T12:01:00Z", "strict_min": True}, 2),
        ({"max_value": START + timedelta(minutes=1)}, 1),
        ({"min_value": START.date(), "max_value": "2013-01-02T12:00:00Z"}, 2),
    ],
)
def test_times_are_compared_with_iso_texts_in_utc(
    connection: duckdb.DuckDBPyConnection, bounds: dict[str, Any], unexpected: int
) -> None:
    # Great Expectations makes a date of "2013-01-02", and then cannot compare it (airflow.md 15).
    offer(connection, *({"time": START + timedelta(minutes=n)} for n in range(3)), {"time": None})
    result = ask(connection, "column_values_to_be_between", column="time", **bounds)
    assert (result.error, result.unexpected, result.checked) == (None, unexpected, 3)


def test_a_set_of_times_is_one_of_iso_texts(connection: duckdb.DuckDBPyConnection) -> None:
    # In Great Expectations no time is ever in a set of texts, but it can be missing from one.
    offer(connection, {"time": START}, {"time": START + timedelta(minutes=1)})
    values = ["2013-01-02T12:00:00Z", "2013-01-02T12:00:00+00:00"]
    assert ask(connection, "column_values_to_be_in_set", column="time", value_set=values).unexpected == 1
    assert ask(connection, "column_values_to_not_be_in_set", column="time", value_set=values).unexpected == 1


def test_a_property_of_another_type_is_unexpected(connection: duckdb.DuckDBPyConnection) -> None:
    # Great Expectations raises: it compares a text with a number.
    with_properties(
        connection, {"delay": 5}, {"delay": "5"}, {"delay": None}, {}, {"delay": [5]}, {"delay": 2.5}
    )
    result = ask(connection, "column_values_to_be_between", column="event_properties.delay", min_value=0)
    assert (result.unexpected, result.checked) == (2, 4)
    result = ask(connection, "column_value_lengths_to_equal", column="event_properties.delay", value=1)
    assert (result.unexpected, result.checked) == (3, 4)


def test_the_mean_of_values_that_are_no_numbers_is_an_error(connection: duckdb.DuckDBPyConnection) -> None:
    with_properties(connection, {"delay": 5}, {"delay": "secret"})
    result = ask(connection, "column_mean_to_be_between", column="event_properties.delay", min_value=0)
    assert result.error == "1 values of event_properties.delay are no numbers"
    assert result.stops


def test_true_is_not_one_in_json(connection: duckdb.DuckDBPyConnection) -> None:
    # In Python it is; in the JSON of an event it is another type.
    with_properties(connection, {"x": True}, {"x": 1}, {"x": 1.0})
    assert (
        ask(connection, "column_values_to_be_in_set", column="event_properties.x", value_set=[1]).unexpected
        == 1
    )
    assert ask(connection, "column_values_to_be_unique", column="event_properties.x").unexpected == 2


def test_the_name_of_a_property_may_hold_any_character(connection: duckdb.DuckDBPyConnection) -> None:
    with_properties(connection, {"carrier": None}, {"a.b/c~d": 1})
    for name, present in (("carrier", 0), ("a.b/c~d", 1), ("a", 0)):
        column = f"event_properties.{name}"
        assert ask(connection, "column_values_to_be_null", column=column).unexpected == present


def test_texts_compare_by_their_values_however_they_are_escaped(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    offer(connection, {"event_properties": '{"x": "\\u00fc"}'}, {"event_properties": '{"x": "ü"}'})
    assert ask(connection, "column_values_to_be_unique", column="event_properties.x").unexpected == 2


def test_large_whole_numbers_are_told_apart(connection: duckdb.DuckDBPyConnection) -> None:
    with_properties(connection, {"id": 2**63 + 1}, {"id": 2**63 + 2})
    assert ask(connection, "column_values_to_be_unique", column="event_properties.id").success
    offer(connection, {"n": 2**53}, {"n": 2**53 + 1})
    assert ask(connection, "column_values_to_be_in_set", column="n", value_set=[2**53]).unexpected == 1
    limits = {"min_value": -(10**40), "max_value": 1e300}
    assert ask(connection, "column_values_to_be_between", column="n", **limits).unexpected == 0


def test_repeated_values_are_counted_by_themselves(connection: duckdb.DuckDBPyConnection) -> None:
    offer(connection, *({"uuid": text} for text in ("a", "b", "a", "c", "a", "b")), {"uuid": None})
    result = ask(connection, "column_values_to_be_unique", column="uuid", show_values=True)
    assert (result.unexpected, result.checked, result.values) == (5, 6, ("a", "b"))
    offer(connection, *[{"time": START, "event_properties": '{"x": "a"}'}] * 2)
    both = {"column_list": ["time", "event_properties.x"]}
    result = ask(connection, "compound_columns_to_be_unique", show_values=True, **both)
    assert (result.unexpected, result.values) == (2, ("2013-01-02T12:00:00.000000Z, a",))
    assert ask(connection, "column_values_to_be_unique", column="uuid", mostly=0.1).success


def test_groups_are_judged_apart(connection: duckdb.DuckDBPyConnection) -> None:
    offer(
        connection,
        *({"hour": "11", "uuid": f"u{n}", "n": n} for n in range(3)),
        *({"hour": "12", "uuid": "u1", "n": None} for _ in range(2)),
    )
    asked = [
        Expectation("expect_column_values_to_be_unique", {"column": "uuid"}),
        Expectation("expect_column_values_to_not_be_null", {"column": "n"}),
        Expectation("expect_table_row_count_to_equal", {"value": 3}),
    ]
    found = evaluate_exact(asked, connection, "rows", by="hour", show_values=True)
    assert list(found) == ["11", "12"]
    assert [(each.unexpected, each.success) for each in found["11"]] == [(0, True), (0, True), (None, True)]
    assert [(each.unexpected, each.success) for each in found["12"]] == [
        (2, False),
        (2, False),
        (None, False),
    ]
    assert found["12"][0].values == ("u1",)


def test_no_rows_are_one_group_without_a_grouping_and_none_with_one(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    offer(connection)
    assert ask(connection, "column_values_to_not_be_null", column="uuid").success
    asked = [Expectation("expect_table_row_count_to_equal", {"value": 0})]
    assert evaluate_exact(asked, connection, "rows", by="hour") == {}


def test_values_of_rows_appear_only_if_they_may(connection: duckdb.DuckDBPyConnection) -> None:
    offer(connection, *({"uuid": f"secret {n} " + "x" * 999, "n": n} for n in range(40)))
    asked = {"column": "uuid", "value_set": ["a"]}
    hidden = ask(connection, "column_values_to_be_in_set", **asked)
    assert "secret" not in repr(hidden.to_json())
    shown = ask(connection, "column_values_to_be_in_set", show_values=True, **asked)
    assert len(shown.values) == MAX_VALUES
    assert {len(value) for value in shown.values} == {MAX_VALUE_LENGTH}
    for what in ("min", "max", "median"):
        type_ = f"column_{what}_to_be_between"
        assert ask(connection, type_, column="n", min_value=99).observed is None
        assert ask(connection, type_, column="n", min_value=99, show_values=True).observed is not None
    assert ask(connection, "column_mean_to_be_between", column="n", min_value=99).observed == "19.5"


@pytest.mark.parametrize(
    ("type_", "kwargs", "reason"),
    [
        (BETWEEN, {"column": "nothing", "min_value": 1}, "there is no column 'nothing'"),
        (BETWEEN, {"column": "uuid", "min_value": 1}, "uuid holds no numbers"),
        (BETWEEN, {"column": "n", "min_value": "2013-01-02"}, "n holds no times"),
        (BETWEEN, {"column": "time", "min_value": 1}, "time holds no numbers"),
        (BETWEEN, {"column": "time", "min_value": "noon"}, "'noon' is none"),
        (BETWEEN, {"column": "n"}, "both missing"),
        (BETWEEN, {"column": "n", "min_value": 2, "max_value": 1}, "greater than"),
        (BETWEEN, {"column": "n.x", "min_value": 2}, "n holds no JSON text"),
        ("column_mean_to_be_between", {"column": "time", "min_value": 2}, "time holds no numbers"),
        ("column_value_lengths_to_equal", {"column": "n", "value": 2}, "n holds no text"),
        ("column_values_to_be_in_set", {"column": "n"}, "'value_set' is missing"),
        (PAIR_GREATER, {"column_A": "n", "column_B": "uuid"}, "do not compare"),
        (PAIR, {"column_A": "n", "column_B": "n", "ignore_row_if": "x"}, "it can be"),
        (COMPOUND, {"column_list": ["n"]}, "fewer than two"),
        (COMPOUND, {"column_list": ["n", "uuid"], "ignore_row_if": "x"}, "it can be"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_an_error(
    connection: duckdb.DuckDBPyConnection, type_: str, kwargs: dict[str, Any], reason: str
) -> None:
    offer(connection, {"uuid": "a", "n": 1, "time": START})
    result = ask(connection, type_, **kwargs)
    assert result.error is not None
    assert reason in result.error
    assert result.stops


def test_broken_json_is_an_error_of_those_that_read_it_only(connection: duckdb.DuckDBPyConnection) -> None:
    offer(connection, {"uuid": "a", "event_properties": '{"secret'}, {"uuid": "a", "event_properties": "{}"})
    asked = [
        Expectation("expect_column_values_to_be_unique", {"column": "uuid"}),
        Expectation("expect_column_values_to_be_null", {"column": "event_properties.x"}),
    ]
    [[unique, broken]] = evaluate_exact(asked, connection, "rows").values()
    assert (unique.error, unique.unexpected) == (None, 2)
    assert broken.error is not None
    assert "JSON" in broken.error
    assert "secret" not in broken.error
    found = evaluate_exact(asked, connection, "rows", by="uuid")
    assert [each.error is None for each in found["a"]] == [True, False]


def test_trouble_of_a_store_is_no_verdict(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [1, 2]}), tmp_path / "rows.parquet")
    connection.register("rows", pads.dataset(tmp_path))
    assert ask(connection, "column_values_to_be_unique", column="n").success
    (tmp_path / "rows.parquet").unlink()
    with pytest.raises((duckdb.Error, OSError)):
        ask(connection, "column_values_to_be_unique", column="n")


@pytest.mark.parametrize("name", ['we"ird', "se;lect", "naïve", "$insert_id", "x'y", "event_properties.x"])
def test_any_name_of_a_column(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    connection.register('ro"ws', pa.table({name: ["'", '"', "\0", None]}))
    asked = Expectation("expect_column_values_to_be_in_set", {"column": name, "value_set": ["'", '"', "\0"]})
    [[result]] = evaluate_exact([asked], connection, 'ro"ws').values()
    assert (result.error, result.unexpected, result.checked) == (None, 0, 3)

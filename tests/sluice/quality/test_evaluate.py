from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from sluice.quality.counts import KEEPS, LIKE_WEEKS_BEFORE, RECONCILIATION
from sluice.quality.evaluate import evaluate
from sluice.quality.results import Expectation, Result
from sluice.quality.sample import frame_of

ROWS = [
    {"uuid": f"u{n}", "hour": f"h{n % 2}", "p": json.dumps({"carrier": "AA" if n else 5})} for n in range(4)
]
EXACT = Expectation("expect_column_values_to_be_unique", {"column": "uuid"})
SAMPLED = Expectation("expect_column_values_to_be_of_type", {"column": "p.carrier", "type_": "str"})


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.register("rows", pa.Table.from_pylist(ROWS))
        yield connection


def _frame(asked: list[Expectation], rows: list[dict[str, Any]] = ROWS) -> pd.DataFrame:
    return frame_of(rows, asked, groups=[row["hour"] for row in rows])


def test_each_is_evaluated_in_its_own_way_and_all_stay_in_order(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    asked = [SAMPLED, EXACT, Expectation("expect_table_row_count_to_equal", {"value": 4}), SAMPLED]
    found = evaluate(asked, connection, "rows", lambda: frame_of(ROWS, asked))
    assert list(found) == [None]
    assert [result.expectation for result in found[None]] == asked
    assert [result.method for result in found[None]] == ["sample", "exact", "exact", "sample"]
    assert [result.success for result in found[None]] == [False, True, True, False]
    # The ledger keeps them.
    kept = json.loads(json.dumps([result.to_json() for result in found[None]]))
    assert [Result.from_json(each) for each in kept] == found[None]


def test_the_frame_is_made_only_if_it_is_needed(connection: duckdb.DuckDBPyConnection) -> None:
    def never() -> pd.DataFrame:
        raise AssertionError("no expectation needs it")

    assert evaluate([EXACT], connection, "rows", never)[None][0].success


def test_groups_have_results_of_both_kinds(connection: duckdb.DuckDBPyConnection) -> None:
    asked = [EXACT, SAMPLED]
    found = evaluate(asked, connection, "rows", lambda: _frame(asked), by="hour")
    assert {key: [each.success for each in results] for key, results in found.items()} == {
        "h0": [True, False],
        "h1": [True, True],
    }


def test_a_group_without_sampled_rows_says_that_none_was_looked_at(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    asked = [EXACT, SAMPLED]
    found = evaluate(asked, connection, "rows", lambda: _frame(asked, ROWS[:1]), by="hour")
    assert (found["h1"][1].success, found["h1"][1].checked) == (True, 0)


def test_without_a_sample_what_needs_one_is_an_error(connection: duckdb.DuckDBPyConnection) -> None:
    for by in (None, "hour"):
        for results in evaluate([EXACT, SAMPLED], connection, "rows", None, by=by).values():
            assert results[0].success
            assert "sample_rows" in str(results[1].error)
    assert set(evaluate([SAMPLED], connection, "rows", None, by="hour")) == {"h0", "h1"}


def test_a_column_that_there_is_not_is_an_error_and_no_empty_column(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    asked = [
        Expectation("expect_column_values_to_match_regex", {"column": "uuidd", "regex": "x"}),
        Expectation("expect_column_values_to_match_regex", {"column": "q.carrier", "regex": "x"}),
    ]
    [results] = evaluate(asked, connection, "rows", lambda: frame_of(ROWS, asked)).values()
    assert "there is no column 'uuidd'" in str(results[0].error)
    assert "there is no column 'q.carrier'" in str(results[1].error)


@pytest.mark.parametrize("by", [None, "hour"])
def test_a_sample_that_its_values_break_is_an_error_that_shows_none(
    connection: duckdb.DuckDBPyConnection, by: str | None
) -> None:
    def broken() -> pd.DataFrame:
        raise ValueError("somebody@example.com is no number")

    for results in evaluate([EXACT, SAMPLED], connection, "rows", broken, by=by).values():
        assert results[0].success
        assert "ValueError" in str(results[1].error)
        assert "somebody" not in str(results[1].error)


@pytest.mark.parametrize("trouble", [OSError, pa.ArrowInvalid])
def test_trouble_of_the_store_is_no_verdict(
    connection: duckdb.DuckDBPyConnection, trouble: type[Exception]
) -> None:
    def unreachable() -> pd.DataFrame:
        raise trouble("the store is gone")

    with pytest.raises(trouble):
        evaluate([SAMPLED], connection, "rows", unreachable)


def test_our_own_expectations_are_not_about_rows(connection: duckdb.DuckDBPyConnection) -> None:
    asked = [Expectation(type_) for type_ in (KEEPS, LIKE_WEEKS_BEFORE, RECONCILIATION)]
    assert [each.expectation for each in evaluate([*asked, EXACT], connection, "rows", None)[None]] == [EXACT]

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from sluice.quality.results import MAX_VALUE_LENGTH, MAX_VALUES, Expectation, Result
from sluice.quality.sample import frame_of
from sluice.quality.sampled import evaluate_sampled

REGEX, TYPE = "expect_column_values_to_match_regex", "expect_column_values_to_be_of_type"
QUANTILES = "expect_column_quantile_values_to_be_between"


def ask(values: list[Any], asked_type: str, /, *, show_values: bool = False, **kwargs: Any) -> Result:
    asked = [Expectation(asked_type, {"column": "x", **kwargs})]
    frame = frame_of(({"x": value} for value in values), asked)
    [[result]] = evaluate_sampled(asked, frame, show_values=show_values).values()
    return result


def test_rows_are_counted_and_nulls_are_left_out() -> None:
    result = ask(["a1", "b", None, "a2"], REGEX, regex="^a")
    assert (result.success, result.unexpected, result.checked, result.method) == (False, 1, 3, "sample")
    assert ask(["a1", "b", None, "a2"], REGEX, regex="^a", mostly=0.6).success


def test_a_change_of_type_is_found_in_properties() -> None:
    carriers = [{"carrier": "AA"}, {"carrier": 5}, {"carrier": True}, {}, {"carrier": None}, None]
    asked = [
        Expectation(TYPE, {"column": "p.carrier", "type_": "str"}),
        Expectation(
            "expect_column_values_to_be_in_type_list", {"column": "p.carrier", "type_list": ["str", "int"]}
        ),
    ]
    as_text = [{"p": None if each is None else json.dumps(each)} for each in carriers]
    for records in ([{"p": each} for each in carriers], as_text):
        [[one, several]] = evaluate_sampled(asked, frame_of(records, asked)).values()
        assert (one.unexpected, one.checked) == (2, 3)
        # In Python true is a whole number as well; in JSON it is not.
        assert (several.success, several.unexpected, several.checked) == (False, 1, 3)


@pytest.mark.parametrize(
    ("kwargs", "unexpected"),
    [
        ({"type_": "int"}, 2),
        ({"type_": "bool"}, 2),
        ({"type_list": ["int"]}, 2),
        ({"type_list": ["int", "bool"]}, 0),
        ({"type_list": ["int"], "mostly": 0.5}, 2),
    ],
)
def test_true_is_no_number(kwargs: dict[str, Any], unexpected: int) -> None:
    asked_type = TYPE if "type_" in kwargs else "expect_column_values_to_be_in_type_list"
    result = ask([1, True, None, 2, False], asked_type, show_values=True, **kwargs)
    assert (result.success, result.unexpected, result.checked) == (
        unexpected == 0 or "mostly" in kwargs,
        unexpected,
        4,
    )
    assert ("True" in result.values) == (unexpected > 0 and kwargs.get("type_") != "bool")
    # Where all of a column has changed, too, and group by group.
    assert ask([True, False], asked_type, **kwargs).success == ("bool" in str(kwargs))
    asked = [Expectation(asked_type, {"column": "x", **kwargs})]
    frame = frame_of([{"x": 1}, {"x": True}], asked, groups=["h1", "h2"])
    found = {hour: result.success for hour, [result] in evaluate_sampled(asked, frame).items()}
    assert found == {"h1": kwargs.get("type_") != "bool", "h2": "bool" in str(kwargs)}


def test_values_appear_only_if_they_may() -> None:
    values = [f"secret {n} " + "x" * 999 for n in range(40)]
    asked = {"column": "x", "regex": "^a"}
    assert "secret" not in repr(ask(values, REGEX, **asked).to_json())
    shown = ask(values, REGEX, show_values=True, **asked)
    assert len(shown.values) == MAX_VALUES
    assert {len(value) for value in shown.values} == {MAX_VALUE_LENGTH}
    ranges = {"quantiles": [0.5], "value_ranges": [[0, 1]]}
    assert ask([77_777, 77_777], QUANTILES, quantile_ranges=ranges).observed is None
    shown = ask([77_777, 77_777], QUANTILES, quantile_ranges=ranges, show_values=True)
    assert "77777" in str(shown.observed)


@pytest.mark.parametrize(
    ("type_", "kwargs", "reason"),
    [
        (REGEX, {"regex": "("}, "'(' is no regular expression: missing )"),
        (REGEX, {"regex": "a{1001}"}, "Invalid regular expression: invalid repetition size"),
        (REGEX, {"regexp": "a"}, "does not take it"),
        ("expect_nothing_at_all", {}, "does not take it"),
        (
            QUANTILES,
            {"quantile_ranges": {"quantiles": [0.5], "value_ranges": [[0, 1]]}},
            "cannot ask it of these values",
        ),
        ("expect_column_values_to_match_json_schema", {"json_schema": {"type": 5}}, "cannot ask it"),
    ],
)
def test_an_exception_is_an_error_that_quotes_no_row(type_: str, kwargs: dict[str, Any], reason: str) -> None:
    result = ask(["my secret", "5"], type_, **kwargs)
    assert result.error is not None
    assert reason in result.error
    assert "secret" not in result.error
    assert result.stops


def test_one_that_raises_leaves_the_others_alone() -> None:
    asked = [
        Expectation(REGEX, {"column": "x", "regex": "("}),
        Expectation(REGEX, {"column": "x", "regex": "^a"}),
        Expectation(REGEX, {"column": "x", "nothing": "^a"}),
        Expectation(REGEX, {"column": "x", "regex": "^a"}, severity="warning"),
    ]
    [found] = evaluate_sampled(asked, frame_of([{"x": "a"}, {"x": "b"}], asked)).values()
    assert [each.unexpected for each in found] == [None, 1, None, 1]
    assert [each.error is None for each in found] == [False, True, False, True]
    assert [each.expectation for each in found] == asked


def test_groups_are_judged_apart_whatever_is_asked() -> None:
    ranges = {"quantiles": [0.5], "value_ranges": [[0, 1]]}
    asked = [
        Expectation(QUANTILES, {"column": "n", "quantile_ranges": ranges}),
        Expectation(REGEX, {"column": "x", "regex": "^a", "mostly": 0.5}),
        Expectation("expect_column_values_to_be_increasing", {"column": "n"}),
        Expectation(REGEX, {"column": "x", "regex": "("}),
    ]
    records = [
        {"x": "a", "n": 1},
        {"x": "b", "n": 3},
        {"x": "b", "n": 2},
        {"x": None, "n": 5},
        {"x": "c", "n": 4},
    ]
    frame = frame_of(records, asked, groups=["h1", None, "h1", None, None])
    found = evaluate_sampled(asked, frame, show_values=True)
    assert list(found) == ["h1", None]
    assert [each.success for each in found["h1"]] == [True, True, True, False]
    assert [each.success for each in found[None]] == [False, False, False, False]
    assert [(each.unexpected, each.checked) for each in (found["h1"][1], found[None][1])] == [(1, 2), (2, 2)]
    assert found[None][1].values == ("b", "c")
    assert found[None][3].error is not None
    alone = frame_of([each for each in records if each["n"] in (1, 2)], asked)
    assert evaluate_sampled(asked, alone, show_values=True)[None][:3] == found["h1"][:3]


def test_huge_numbers_and_long_texts() -> None:
    assert ask([10**400, -(10**400)], TYPE, type_="int").success
    assert ask(["x" * 1_000_000], REGEX, regex="^x+$").success


def test_no_rows() -> None:
    assert ask([], REGEX, regex="^a").success


@pytest.mark.filterwarnings("error")
def test_its_chatter_stays_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        ask(["a"], REGEX, regex="^(a)")
    assert not [record for record in caplog.records if record.name.startswith("great_expectations")]


def test_an_evaluation_without_sampled_expectations_imports_no_great_expectations() -> None:
    code = """
import sys, duckdb
from sluice.quality.evaluate import evaluate
from sluice.quality.results import Expectation
connection = duckdb.connect()
connection.execute("CREATE TABLE rows AS SELECT 1 AS n")
asked = [Expectation("expect_column_values_to_be_unique", {"column": "n"})]
assert evaluate(asked, connection, "rows", None)[None][0].success
print([name for name in ("great_expectations", "pandas") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

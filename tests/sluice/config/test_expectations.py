"""What may stand in a suite, by the catalogue alone."""

import subprocess
import sys
from datetime import date, datetime, timedelta, timezone

import pytest

from sluice.config.expectation_values import as_json
from sluice.config.expectations import catalogue, default_severity, mistakes, usable

BETWEEN = "expect_column_values_to_be_between"
IN_SET = "expect_column_values_to_be_in_set"
REGEX = "expect_column_values_to_match_regex"
OF_TYPE = "expect_column_values_to_be_of_type"
SCHEMA = "expect_column_values_to_match_json_schema"
STRFTIME = "expect_column_values_to_match_strftime_format"
QUANTILES = "expect_column_quantile_values_to_be_between"
DIVERGENCE = "expect_column_kl_divergence_to_be_less_than"
WEEKS = "expect_row_count_like_weeks_before"
LENGTHS = "expect_column_value_lengths_to_be_between"


@pytest.mark.parametrize(
    ("type", "kwargs"),
    [
        ("expect_column_values_to_not_be_null", {"column": "user_id", "mostly": 0.9}),
        (BETWEEN, {"column": "location_lat", "min_value": -90, "max_value": 90.0, "strict_min": True}),
        (BETWEEN, {"column": "event_time", "min_value": "2013-01-01", "max_value": "2013-01-02T12:00:00Z"}),
        (BETWEEN, {"column": "event_time", "min_value": None, "max_value": 5}),
        (IN_SET, {"column": "country", "value_set": ["France", 1, 2.5, True]}),
        (REGEX, {"column": "uuid", "regex": "^[0-9a-f-]{36}$"}),
        (OF_TYPE, {"column": "event_properties.carrier", "type_": "str"}),
        ("expect_column_values_to_be_in_type_list", {"column": "data", "type_list": ["int", "float"]}),
        (SCHEMA, {"column": "event_properties", "json_schema": {"type": "object", "required": ["a"]}}),
        (SCHEMA, {"column": "a", "json_schema": {"$defs": {"b": {}}, "$ref": "#/$defs/b"}}),
        (STRFTIME, {"column": "version_name", "strftime_format": "%Y-%m-%d"}),
        (QUANTILES, {"column": "a", "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[None, 3]]}}),
        (
            DIVERGENCE,
            {
                "column": "a",
                "threshold": 0.1,
                "partition_object": {"values": ["x", "y"], "weights": [0.4, 0.6]},
            },
        ),
        (
            DIVERGENCE,
            {"column": "a", "threshold": 0.1, "partition_object": {"bins": [0, 1, 2], "weights": [0.4, 0.6]}},
        ),
        ("expect_column_pair_values_to_be_in_set",
         {"column_A": "a", "column_B": "b", "value_pairs_set": [["x", 1]], "ignore_row_if": "neither"}),
        ("expect_compound_columns_to_be_unique", {"column_list": ["user_id", "event_time"]}),
        ("expect_table_row_count_to_equal", {"value": 5}),
        (WEEKS, {}),
        (WEEKS, {"weeks": 8, "max_ratio": None}),
        ("expect_row_count_to_keep", {"min_ratio": 0.5}),
    ],
)  # fmt: skip
def test_what_may_stand_in_a_suite(type, kwargs):
    assert mistakes(type, kwargs) == []


@pytest.mark.parametrize(
    ("type", "kwargs", "path", "message"),
    [
        ("expect_column_values_to_be_betwen", {}, ("type",), "did you mean expect_column_values_to_be_betw"),
        ("", {}, ("type",), "unknown expectation"),
        ("unexpected_rows_expectation", {}, ("type",), "a query of its own"),
        ("expect_query_results_to_match_comparison", {}, ("type",), "a query of its own"),
        ("expect_table_row_count_to_equal_other_table", {}, ("type",), "a gate sees one table"),
        ("expect_column_values_to_match_like_pattern", {}, ("type",), "expect_column_values_to_match_regex"),
        ("expect_column_type_to_be", {}, ("type",), "expect_column_values_to_be_of_type"),
        (BETWEEN, {"min_value": 1}, ("kwargs",), "lacks the argument column"),
        (BETWEEN, {"column": None, "min_value": 1}, ("kwargs", "column"), "column is missing"),
        (BETWEEN, {"column": 5, "min_value": 1}, ("kwargs", "column"), "column is not text"),
        (BETWEEN, {"column": "a"}, ("kwargs",), "asks nothing"),
        (BETWEEN, {"column": "a", "min_val": 1}, ("kwargs", "min_val"), "did you mean min_value?"),
        (BETWEEN, {"column": "a", "min_value": "soon"}, ("kwargs", "min_value"), "neither a number nor a"),
        (BETWEEN, {"column": "a", "min_value": True}, ("kwargs", "min_value"), "neither a number nor a"),
        (BETWEEN, {"column": "a", "min_value": float("nan")}, ("kwargs", "min_value"), "no number"),
        (BETWEEN, {"column": "a", "min_value": 2**80}, ("kwargs", "min_value"), "more than 64 bits"),
        (BETWEEN, {"column": "a", "min_value": 2, "max_value": 1}, ("kwargs", "max_value"), "greater than"),
        (
            BETWEEN,
            {"column": "a", "min_value": "2013-01-02T00:00:00+01:00", "max_value": "2013-01-01T22:59:00Z"},
            ("kwargs", "max_value"),
            "greater than",
        ),
        (BETWEEN, {"column": "a", "min_value": "2013-01-01", "max_value": 1}, ("kwargs", "max_value"),
         "a time and a number"),
        (BETWEEN, {"column": "a", "min_value": 1, "max_value": 1, "strict_max": True},
         ("kwargs", "max_value"), "nothing is strictly between"),
        (BETWEEN, {"column": "a", "min_value": 1, "mostly": 1.1}, ("kwargs", "mostly"), "is not a share"),
        (BETWEEN, {"column": "a", "min_value": 1, "mostly": {"$PARAMETER": "x"}}, ("kwargs", "mostly"),
         "is not a share"),
        (BETWEEN, {"column": "a", "min_value": 1, "row_condition": "x"}, ("kwargs", "row_condition"),
         "looks at all rows"),
        (BETWEEN, {"column": "a", "min_value": 1, "batch_id": "x"}, ("kwargs", "batch_id"), "one batch"),
        (BETWEEN, {"column": "a", "min_value": 1, "result_format": "COMPLETE"}, ("kwargs", "result_format"),
         "show_values"),
        (BETWEEN, {"column": "a", "min_value": 1, "severity": "warning"}, ("kwargs", "severity"),
         "beside `kwargs`"),
        (LENGTHS, {"column": "a", "min_value": -1}, ("kwargs", "min_value"), "whole number"),
        (LENGTHS, {"column": "a", "min_value": 1.5}, ("kwargs", "min_value"), "whole number"),
        (IN_SET, {"column": "a", "value_set": []}, ("kwargs", "value_set"), "not a list of values"),
        (IN_SET, {"column": "a", "value_set": "x"}, ("kwargs", "value_set"), "not a list of values"),
        (IN_SET, {"column": "a", "value_set": ["x", None]}, ("kwargs", "value_set"), "more than texts"),
        (IN_SET, {"column": "a", "value_set": ["x\0"]}, ("kwargs", "value_set"), "character"),
        (REGEX, {"column": "a", "regex": "("}, ("kwargs", "regex"), "no regular expression"),
        (REGEX, {"column": "a", "regex": "a{99999999999}"}, ("kwargs", "regex"), "no regular expression"),
        (REGEX, {"column": "a", "regex": "a" * 1_001}, ("kwargs", "regex"), "longer than 1000"),
        (REGEX, {"column": "a"}, ("kwargs",), "lacks the argument regex"),
        (OF_TYPE, {"column": "a", "type_": "string"}, ("kwargs", "type_"), "did you mean str?"),
        (SCHEMA, {"column": "a", "json_schema": {"type": "thing"}}, ("kwargs", "json_schema"),
         "not a JSON schema"),
        (SCHEMA, {"column": "a", "json_schema": {"$schema": ["x"]}}, ("kwargs", "json_schema"),
         "not a JSON schema"),
        (SCHEMA, {"column": "a", "json_schema": {"not": {"$ref": "https://x.example/s.json"}}},
         ("kwargs", "json_schema"), "a schema elsewhere"),
        (STRFTIME, {"column": "a", "strftime_format": "%Q"}, ("kwargs", "strftime_format"), "read back"),
        (QUANTILES, {"column": "a", "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[3, 1]]}},
         ("kwargs", "quantile_ranges"), "first number is the greater"),
        (DIVERGENCE, {"column": "a", "threshold": 1, "partition_object": {"values": ["x"], "weights": [2]}},
         ("kwargs", "partition_object"), "add up to 1"),
        ("expect_column_pair_values_to_be_equal",
         {"column_A": "a", "column_B": "b", "ignore_row_if": "never"}, ("kwargs", "ignore_row_if"),
         "none of its choices"),
        ("expect_compound_columns_to_be_unique", {"column_list": ["a", "b", "a"]}, ("kwargs", "column_list"),
         "names a twice"),
        ("expect_column_proportion_of_unique_values_to_be_between", {"column": "a", "max_value": 50},
         ("kwargs", "max_value"), "is a proportion"),
        (WEEKS, {"min_ratio": -1}, ("kwargs", "min_ratio"), "not a number from 0"),
        (WEEKS, {"min_ratio": 5}, ("kwargs", "min_ratio"), "greater than max_ratio 4.0"),
        (BETWEEN, dict.fromkeys(map(str, range(31))), ("kwargs",), "holds 31 arguments"),
    ],
)  # fmt: skip
def test_what_may_not(type, kwargs, path, message):
    (mistake,) = mistakes(type, kwargs)
    assert mistake.path == path
    assert message in mistake.message
    assert mistake.allowed


def test_all_mistakes_of_an_expectation_are_said_at_once():
    found = mistakes(BETWEEN, {"colum": "a", "mostly": 2, "strict_min": "yes"})
    assert [mistake.path[-1] for mistake in found] == ["colum", "kwargs", "mostly", "strict_min"]


def test_every_argument_of_the_catalogue_has_a_type_that_is_known():
    """An argument whose type nobody checks would raise a KeyError here."""
    for name in usable():
        for argument in catalogue()[name]["arguments"]:
            mistakes(name, {argument: {"hostile": []}})


def test_only_history_warns_by_default():
    assert {name for name in usable() if default_severity(name) == "warning"} == {WEEKS}


def test_times_of_yaml_become_text():
    east = timezone(timedelta(hours=5, minutes=30))
    assert as_json({"a": [datetime(2013, 1, 2, 3), date(2013, 1, 2), (1, "x", None)]}) == {
        "a": ["2013-01-02T03:00:00Z", "2013-01-02", [1, "x", None]]
    }
    assert as_json(datetime(1, 1, 1, tzinfo=east)) == "0001-01-01T00:00:00+05:30"


def test_checking_a_suite_imports_no_heavy_library():
    code = (
        "import sys; from sluice.config.expectations import mistakes;"
        " from sluice.config import load_config;"
        " assert not mistakes('expect_table_row_count_to_equal', {'value': 1});"
        " print(sorted({'great_expectations', 'pandas', 'numpy', 'duckdb', 'pyarrow', 'jsonschema'}"
        " & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

"""The key `quality` in the files of exports, imports and cohorts."""

import json
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.config.document import DocumentError, read_document
from sluice.config.expectations import catalogue, usable
from sluice.config.exports import ExportConfig
from sluice.config.problems import ConfigProblem
from sluice.config.quality import QualityConfig
from sluice.config.quality_checks import GIVEN_AT_LOAD, of_export
from sluice.config.validate import build
from sluice.event_schema import ASSIGNED_AT_LOAD, EXPORT_KEYS, KEPT_BY_REPLAY

EXPORT = {"id": "a", "name": "A", "owner": "a@b.example", "projects": [10], "bucket": "out-bucket"}
NOT_NULL = "expect_column_values_to_not_be_null"


def suite(*expectations):
    return {"expectations": list(expectations)}


def not_null(column):
    return suite({"type": NOT_NULL, "kwargs": {"column": column}})


def test_every_pipeline_has_a_gate_that_is_on(folder):
    folder.export()
    folder.source()
    folder.cohort()
    config = folder.load()
    for thing in (*config.exports, *config.imports, *config.cohorts):
        assert thing.quality == QualityConfig()
        assert thing.quality.enabled


def test_a_suite_is_read_as_the_library_writes_it(folder):
    folder.write(
        "exports/daily.yaml",
        """id: daily
name: Daily
owner: a@b.example
projects: [10]
bucket: out-bucket
quality:
  expectations:
    - type: expect_column_values_to_be_between
      kwargs: {column: event_time, min_value: 2013-01-02 12:00:00, max_value: 2014-01-01}
      notes: The year of the flights.
    - type: expect_row_count_like_weeks_before
    - type: expect_column_values_to_be_of_type
      kwargs: {column: event_properties.a.b, type_: int}
      severity: warning
""",
    )
    (export,) = folder.load().exports
    first, second, third = export.quality.expectations
    assert first.kwargs == {
        "column": "event_time",
        "min_value": "2013-01-02T12:00:00Z",
        "max_value": "2014-01-01",
    }
    assert [one.severity for one in (first, second, third)] == ["critical", "warning", "warning"]
    # It is kept in the ledger, and given back by it.
    kept = json.loads(json.dumps(export.as_json()))
    assert QualityConfig.model_validate(kept["quality"]) == export.quality


def test_a_suite_changes_no_hash(folder):
    folder.export()
    folder.source()
    folder.cohort()
    before = folder.load()
    folder.export(quality=not_null("user_id"))
    folder.source(quality=not_null("user_id"))
    folder.cohort(quality=not_null("user_id"))
    after = folder.load()
    for kind in ("exports", "imports", "cohorts"):
        (old,), (new,) = getattr(before, kind), getattr(after, kind)
        assert new.quality.expectations
        assert old.hash == new.hash


def test_a_problem_names_file_line_key_and_what_is_allowed(folder):
    folder.write(
        "imports/files.yaml",
        """id: files
name: Files
owner: a@b.example
project: 10
bucket: in-bucket
region: us-east-1
converter: plain.json
quality:
  expectations:
    - type: expect_column_values_to_not_be_null
      kwargs:
        column: user_id
        mostly: 90
""",
    )
    assert folder.only_problem() == (
        "imports/files.yaml, line 13: quality.expectations.0.kwargs.mostly: mostly is not a share."
        " Found: 90 (a number). Allowed: a number from 0 to 1."
    )
    assert folder.load().imports == ()


@pytest.mark.parametrize(
    ("quality", "words"),
    [
        ({"sample_rows": 100_001}, "quality.sample_rows"),
        ({"hold_hours": 0}, "quality.hold_hours"),
        ({"enable": False}, "did you mean enabled?"),
        (suite({"kwargs": {}}), "quality.expectations.0.type: missing"),
        (suite({"type": NOT_NULL}), "lacks the argument column"),
        (suite({"type": NOT_NULL, "kwargs": []}), "not made of keys and values"),
        (suite({"type": NOT_NULL, "kwargs": {"column": "user_id"}, "severity": "info"}), "critical or warn"),
        (suite({"type": NOT_NULL, "kwargs": {"column": "user_id"}, "mostly": 1}), "unknown key"),
        (suite(*[{"type": "expect_table_row_count_to_equal", "kwargs": {"value": 1}}] * 201), "at most 200"),
        (not_null("userid"), "there is no column userid; did you mean user_id?"),
        (not_null("event_property.carrier"), "did you mean event_properties?"),
        (not_null("city.name"), "city holds no properties"),
        (not_null("event_properties."), "there is no column event_properties."),
        (
            suite({"type": "expect_compound_columns_to_be_unique", "kwargs": {"column_list": ["uuid", "x"]}}),
            "quality.expectations.0.kwargs.column_list.1: there is no column x",
        ),
        (suite({"type": "expect_row_count_to_keep"}), "makes no sense for exports"),
    ],
)
def test_what_a_suite_of_an_export_may_not_ask(folder, quality, words):
    folder.export(quality=quality)
    assert words in folder.only_problem()
    assert folder.load().exports == ()


@pytest.mark.parametrize(
    ("type", "kwargs", "words"),
    [
        ("expect_column_values_to_be_between", {"column": "user_id", "min_value": 1},
         "kwargs.column: user_id holds texts, which have no bounds"),
        ("expect_column_values_to_be_between", {"column": "event_time", "max_value": 5},
         "kwargs.max_value: event_time holds times, and max_value is 5"),
        ("expect_column_max_to_be_between", {"column": "location_lat", "min_value": "2013-01-01"},
         "kwargs.min_value: location_lat holds numbers, and min_value is '2013-01-01'"),
        ("expect_column_mean_to_be_between", {"column": "city", "min_value": 1}, "is about numbers"),
        ("expect_column_values_to_match_regex", {"column": "event_time", "regex": "^2013"},
         "event_time holds times, and expect_column_values_to_match_regex is about texts"),
        ("expect_column_values_to_be_in_set", {"column": "country", "value_set": ["US", False]},
         "kwargs.value_set.1: country holds texts, and is compared with False"),
        ("expect_column_values_to_be_in_set", {"column": "event_id", "value_set": ["1"]},
         "event_id holds numbers, and is compared with '1'"),
        ("expect_column_values_to_be_in_set", {"column": "paying", "value_set": ["yes"]}, "true or false"),
        ("expect_column_values_to_not_be_in_set", {"column": "event_time", "value_set": ["soon"]},
         "Allowed: times such as"),
    ],
)  # fmt: skip
def test_a_column_is_asked_about_what_it_holds(folder, type, kwargs, words):
    folder.export(quality=suite({"type": type, "kwargs": kwargs}))
    assert words in folder.only_problem()


def test_properties_may_hold_anything(folder):
    folder.export(quality=suite(
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "data.a", "min_value": 1}},
        {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "data.a", "regex": "^1"}},
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "data.a", "value_set": [1, "x"]}},
    ))  # fmt: skip
    assert len(folder.load().exports) == 1


def test_a_source_is_asked_about_what_it_has_before_the_load(folder):
    """What a load gives to rows is a column of no staged file, and so of no suite of an import."""
    given = {*ASSIGNED_AT_LOAD} & {*EXPORT_KEYS}
    assert given == GIVEN_AT_LOAD
    assert given - KEPT_BY_REPLAY == {"app"}
    for column in sorted(given):
        folder.source(quality=not_null(column))
        assert "a row gets it when it is loaded" in folder.only_problem()
    folder.source(quality=not_null("server_upload_time"), replay=True, converter="")
    assert len(folder.load().imports) == 1
    folder.source(quality=not_null("app"), replay=True, converter="")
    assert "there is no column app" in folder.only_problem()


def test_the_columns_of_a_cohort_are_its_own(folder):
    folder.cohort(quality=suite({"type": NOT_NULL, "kwargs": {"column": "city"}},
                                {"type": NOT_NULL, "kwargs": {"column": "visits.last"}},
                                {"type": "expect_row_count_to_keep"}))  # fmt: skip
    assert len(folder.load().cohorts[0].quality.expectations) == 3
    folder.cohort(quality=not_null("event_type"))
    assert "Allowed: amplitude_id, user_id, city, visits" in folder.only_problem()
    assert folder.load().cohorts == ()
    folder.cohort(quality=suite({"type": "expect_row_count_like_weeks_before"}))
    assert "makes no sense for cohorts" in folder.only_problem()


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.dates()
    | st.sampled_from(["user_id", "%d-%m", "(a+)+$", "2013-01-01", "0001-01-01T00:00:00+23:59"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=10)
            | st.sampled_from(["type", "$ref", "$schema", "quantiles", "value_ranges", "bins", "weights"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
columns = st.sampled_from(["user_id", "event_time", "event_properties.a", "paying", "uuid."])
names = sorted({name for one in usable() for name in catalogue()[one]["arguments"]})
expectation = st.fixed_dictionaries(
    {"type": st.sampled_from(sorted(catalogue())) | anything},
    optional={
        "kwargs": st.dictionaries(
            st.sampled_from(names) | st.text(max_size=8), anything | columns, max_size=5
        )
        | anything,
        "severity": st.sampled_from(["critical", "warning"]) | anything,
        "notes": anything,
    },
)


@settings(deadline=None, max_examples=120)
@given(st.fixed_dictionaries({"expectations": st.lists(expectation, max_size=3) | anything}))
def test_hostile_yaml_gives_a_suite_or_problems_and_nothing_else(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.yaml")
        path.write_text(yaml.safe_dump(content), encoding="utf-8", errors="replace")
        try:
            document = read_document(path, "x.yaml")
        except DocumentError:
            return
    built, problems = build(QualityConfig, document.content, document)
    if built is None:
        assert problems
        assert all(isinstance(problem, ConfigProblem) and str(problem) for problem in problems)
    else:
        # What is taken is JSON, in the ledger and in messages alike.
        json.dumps(built.as_json(), allow_nan=False).encode()
        whole = ExportConfig.model_validate(EXPORT | {"quality": built.as_json()})
        assert all(str(problem) for problem in of_export(whole))
        assert QualityConfig.model_validate(built.as_json()).as_json() == built.as_json()

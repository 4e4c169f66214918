"""What every line must look like: what the encoder writes does, and each kind of fault is counted."""

import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.event_schema import OBJECT_COLUMNS
from sluice.exports.line_form import line_results
from sluice.exports.lines import LineEncoder, export_keys
from sluice.lake.schema import EVENTS, JSON_COLUMNS

HOUR = datetime(2013, 1, 2, 7, tzinfo=UTC)
PROJECT = 187520
UUID = "0b6a5c1e-2f39-5a3d-9d0c-3f6c0c2a7c11"
DIALECTS = pytest.mark.parametrize("dialect", ["observed", "documented"])


def lines_of(rows, dialect="observed"):
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in EVENTS]
    batch = pa.RecordBatch.from_arrays(columns, schema=EVENTS)
    text = b"".join(bytes(piece.data) for piece in LineEncoder(dialect).encode(batch))
    return text.splitlines(keepends=True)


def row(**values):
    return {"uuid": UUID, "app": PROJECT, "server_upload_time": HOUR} | values


def failures(lines, dialect="observed", hour=HOUR):
    """What fails, as (lines, keys) by the expectation."""
    results = line_results(lines, dialect=dialect, project=PROJECT, hour=hour)
    assert all(result.method == "sample" and result.checked == len(lines) for result in results)
    assert all(result.stops is not result.success for result in results)
    return {
        result.expectation.type: (result.unexpected, result.observed)
        for result in results
        if not result.success
    }


TIMES = st.none() | st.datetimes(datetime(1000, 1, 1), datetime(9999, 1, 1)).map(
    lambda time: time.replace(tzinfo=UTC)
)
ROWS = st.fixed_dictionaries(
    {
        "uuid": st.uuids().map(str),
        "app": st.just(PROJECT),
        "server_upload_time": st.integers(0, 3_599_999_999).map(lambda n: HOUR + timedelta(microseconds=n)),
        "event_time": TIMES,
        "client_upload_time": TIMES,
        "user_creation_time": TIMES,
        "user_id": st.none() | st.text(st.characters(exclude_categories=("Cs",)), max_size=9),
        "event_properties": st.none() | st.dictionaries(st.sampled_from("ab"), st.integers()).map(json.dumps),
        "sample_rate": st.none() | st.just("[1]"),
    }
)


@DIALECTS
@settings(deadline=None, max_examples=50)
@given(rows=st.lists(ROWS, max_size=4))
def test_what_the_encoder_writes_has_the_form(dialect, rows):
    assert failures(lines_of(rows, dialect), dialect) == {}


@DIALECTS
@settings(deadline=None, max_examples=30)
@given(key=st.data())
def test_each_missing_key_is_named(dialect, key):
    missing = key.draw(st.sampled_from(export_keys(dialect)))
    good, bad = lines_of([row(), row()], dialect)
    event = json.loads(bad)
    del event[missing]
    found = failures([good, json.dumps(event).encode()], dialect)
    assert found["expect_line_keys_to_be_whole"] == (1, f"{missing} in 1 lines")


@pytest.mark.parametrize(
    "text",
    [
        "2013-01-02T07:00:00.000000",
        "2013-01-02 07:00:00",
        "2013-01-02 07:00:00.000",
        "2013-1-2 7:00:00.000000",
        "2013-01-02 07:00:00.000000Z",
        "",
        1357110000,
    ],
)
def test_another_form_of_a_time_is_found(text):
    event = json.loads(lines_of([row()])[0]) | {"event_time": text}
    line = json.dumps(event).encode()
    assert failures([line]) == {"expect_line_times_to_be_in_form": (1, "event_time in 1 lines")}


@pytest.mark.parametrize("uuid", [None, "", UUID.replace("-", ""), UUID.upper(), f"{UUID}0", 5])
def test_a_uuid_that_is_none_is_found(uuid):
    event = json.loads(lines_of([row()])[0]) | {"uuid": uuid}
    assert failures([json.dumps(event).encode()]) == {
        "expect_line_uuids_to_be_in_form": (1, "uuid in 1 lines")
    }


@pytest.mark.parametrize("value", ['{"a": 1}', 5, [], True])
def test_a_dictionary_field_that_is_no_object_is_found(value):
    event = json.loads(lines_of([row()])[0]) | {"event_properties": value, "groups": value}
    assert failures([json.dumps(event).encode()]) == {
        "expect_line_dictionaries_to_be_objects": (1, "event_properties in 1 lines, groups in 1 lines")
    }


def test_lines_of_another_hour_or_project_are_found():
    later = row(server_upload_time=HOUR + timedelta(hours=1))
    lines = lines_of([row(), later, row(app=5), row(app=5, server_upload_time=HOUR - timedelta(minutes=1))])
    assert failures(lines) == {
        "expect_lines_of_the_hour": (3, "app in 2 lines, server_upload_time in 2 lines")
    }


@pytest.mark.parametrize("line", [b"\n", b"{\n", b"[]\n", b'"text"\n', b"\xff\n"])
def test_a_line_that_is_no_event_lacks_every_key(line):
    count, named = failures([line])["expect_line_keys_to_be_whole"]
    assert count == 1
    assert named.endswith("50 more keys")


def test_no_value_is_told():
    event = json.loads(lines_of([row()])[0]) | {
        "event_time": "secret-1",
        "uuid": "secret-2",
        "groups": "secret-3",
    }
    assert "secret" not in str(failures([json.dumps(event).encode()]))


def test_dictionary_fields_are_json_columns():
    assert OBJECT_COLUMNS < JSON_COLUMNS

"""The row pipeline: each row's columns (amplitude-spec 6.1, 6.8) and each row's one fate (invariant 6)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.converter import Converter
from sluice.imports.events import event_batch
from sluice.imports.identity import RowNames, device_of_user
from sluice.imports.records import BadRow
from sluice.imports.rows import Reject, RowPipeline
from sluice.imports.times import EventTimes
from sluice.lake.schema import STAGED_EVENTS

READ_AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TIME = 1357034400000
BASE = {"event_type": "click", "user_id": "user-1", "device_id": "device-1", "time": TIME}


class Rows:
    """Records that stand for a file."""

    def __init__(self, records: list[Any]) -> None:
        self._records = records
        self._last: Any = None

    def __iter__(self) -> Iterator[Any]:
        for record in self._records:
            self._last = record
            yield record if isinstance(record, BadRow) else dict(record)

    def raw(self) -> str:
        return repr(self._last)

    def hint(self) -> str | None:
        return None


def converter(function: object = None, **config: object) -> Converter:
    """A converter that passes the row on as the event, or the given one."""
    return Converter.from_config(
        {
            "converterConfig": {
                "fileType": "json",
                "compressionType": "none",
                "convertToAmplitudeFunc": ["path"] if function is None else function,
                **config,
            }
        }
    )


def run(records: list[Any], conv: Converter | None = None, upload_time: str = "now") -> tuple[Any, list[Any]]:
    times = EventTimes(upload_time, READ_AT, date(2000, 1, 1), require_time=True)  # type: ignore[arg-type]
    pipeline = RowPipeline(conv or converter(), RowNames("source", "bucket", "dir/file.csv"), times)
    return pipeline, list(pipeline(Rows(records)))


def one(**fields: object) -> dict[str, Any]:
    """The staged row of BASE with other fields."""
    _, rows = run([BASE | fields])
    assert not isinstance(rows[0], Reject), rows[0]
    times = EventTimes("now", READ_AT, date(2000, 1, 1), require_time=True)
    result: dict[str, Any] = event_batch(rows, times).to_pylist()[0]
    return result


def refusal(**fields: object) -> Reject:
    _, rows = run([BASE | fields])
    assert isinstance(rows[0], Reject), rows[0]
    return rows[0]


def test_a_silent_event_has_the_form_of_a_real_row() -> None:
    row = one()
    time = datetime(2013, 1, 1, 10, tzinfo=UTC)
    filled = {name: value for name, value in row.items() if value is not None}
    assert filled.pop("uuid") == RowNames("source", "bucket", "dir/file.csv").uuid(0)
    assert isinstance(filled.pop("dedup_hi"), int)
    assert isinstance(filled.pop("dedup_lo"), int)
    assert filled == {
        "$insert_id": "bucket/dir/file.csv:0:0:0",
        "client_event_time": time,
        "event_time": time,
        "client_upload_time": READ_AT,
        "server_received_time": READ_AT,
        "data": "{}",
        "data_type": "event",
        "device_id": "device-1",
        "user_id": "user-1",
        "event_type": "click",
        "event_properties": "{}",
        "user_properties": "{}",
        "groups": "{}",
        "group_properties": "{}",
        "plan": "{}",
        "library": "sluice-s3-import/0.1.0",
        "row": 0,
    }


def test_import_keys_become_export_columns() -> None:
    row = one(
        insert_id="i-1",
        carrier="Verizon",
        ip="203.0.113.9",
        app_version="1.2",
        location_lat="12.5",
        location_lng=-3,
        session_id="1396381378123",
        event_id="7",
        platform="Web",
        os_version=137,
        paying="true",
        plan={"branch": "main", "x": 1},
        groups={"org": ["a", "b"]},
        event_properties={"a": None, "b": [1]},
    )
    assert (
        row
        | {
            "$insert_id": "i-1",
            "device_carrier": "Verizon",
            "ip_address": "203.0.113.9",
            "version_name": "1.2",
            "location_lat": 12.5,
            "location_lng": -3.0,
            "session_id": 1396381378123,
            "event_id": 7,
            "platform": "Web",
            "os_version": "137",
            "paying": True,
            "plan": '{"branch":"main"}',
            "groups": '{"org":["a","b"]}',
            "event_properties": '{"a":null,"b":[1]}',
        }
        == row
    )


def test_with_upload_time_event_time_all_times_are_the_events() -> None:
    _, rows = run([BASE], upload_time="event_time")
    times = EventTimes("event_time", READ_AT, date(2000, 1, 1), require_time=True)
    row = event_batch(rows, times).to_pylist()[0]
    moments = {
        row[name]
        for name in ("client_event_time", "event_time", "client_upload_time", "server_received_time")
    }
    assert moments == {datetime(2013, 1, 1, 10, tzinfo=UTC)}


@pytest.mark.parametrize(
    ("given_fields", "properties", "paying"),
    [
        pytest.param({"price": "2.5"}, {"$price": 2.5}, True, id="price"),
        pytest.param({"price": 2, "quantity": "3"}, {"$price": 2.0, "$quantity": 3}, True, id="quantity"),
        pytest.param(
            {"price": 2, "quantity": 3, "revenue": 99},
            {"$price": 2.0, "$quantity": 3, "$revenue": 6.0},
            True,
            id="all-three-multiply",
        ),
        pytest.param({"revenue": -5}, {"$revenue": -5.0}, None, id="refund"),
        pytest.param(
            {"revenue": 5, "productId": "p", "revenueType": "sale", "currency": "EUR"},
            {"$revenue": 5.0, "$productId": "p", "$revenueType": "sale", "$currency": "EUR"},
            True,
            id="text",
        ),
        pytest.param({"price": ""}, {}, None, id="empty-cell"),
        pytest.param(
            {"revenue": 5, "event_properties": {"$revenue": 7}}, {"$revenue": 7}, True, id="own-property-wins"
        ),
    ],
)
def test_revenue_goes_to_the_events_properties(
    given_fields: dict[str, object], properties: dict[str, object], paying: bool | None
) -> None:
    row = one(**given_fields)
    assert json.loads(row["event_properties"]) == properties
    assert row["paying"] is paying


def test_a_device_is_derived_from_the_user() -> None:
    assert one(device_id=None)["device_id"] == device_of_user("user-1")
    assert one(device_id="unknown")["device_id"] == device_of_user("user-1")


def test_an_invalid_id_is_removed_and_counted() -> None:
    pipeline, [cells] = run([BASE | {"user_id": "N/A"}])
    assert not isinstance(cells, Reject)
    assert pipeline.builder.notes == {"user_id: removed, it stands for no id": 1}


def test_numbers_as_ids_are_text() -> None:
    assert one(user_id=12345, insert_id=7)["user_id"] == "12345"
    assert one(insert_id=7)["$insert_id"] == "7"


def test_long_text_is_cut() -> None:
    row = one(user_id="u" * 2000, event_type="e" * 2000)
    assert (len(row["user_id"]), len(row["event_type"])) == (1024, 1024)


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        pytest.param({"event_type": None}, "event_type", "is missing", id="no-event-type"),
        pytest.param({"event_type": " "}, "event_type", "is missing", id="blank-event-type"),
        pytest.param({"event_type": "$identify"}, "event_type", "data type user_properties", id="identify"),
        pytest.param(
            {"event_type": "$groupidentify"}, "event_type", "data type group_prop", id="groupidentify"
        ),
        pytest.param({"user_id": "na", "device_id": ""}, "user_id", "neither user_id", id="no-id"),
        pytest.param({"user_id": {}}, "user_id", "must be text", id="id-object"),
        pytest.param({"time": "yesterday"}, "time", "must be a whole number", id="time-text"),
        pytest.param({"time": None}, "time", "is missing", id="no-time"),
        pytest.param({"session_id": "x"}, "session_id", "must be a whole number", id="session"),
        pytest.param({"event_id": 2**63}, "event_id", "64 bits", id="event-id-range"),
        pytest.param({"quantity": 1.5}, "quantity", "must be a whole number", id="quantity"),
        pytest.param({"location_lat": "north"}, "location_lat", "must be a number", id="latitude"),
        pytest.param({"platform": ["Web"]}, "platform", "must be text", id="platform"),
        pytest.param({"event_properties": []}, "event_properties", "must be an object", id="properties-list"),
        pytest.param({"user_properties": "x"}, "user_properties", "must be an object", id="properties-text"),
        pytest.param({"user_properties": {"$set": {"a": 1}}}, "user_properties", "$set", id="operation"),
        pytest.param({"groups": 1}, "groups", "must be an object", id="groups"),
        pytest.param({"insert_id": "\ud800"}, "insert_id", "surrogate", id="surrogate"),
        pytest.param({"city": "\ud800"}, "city", "surrogate", id="surrogate-in-text"),
        pytest.param({"session_id": "\ud800"}, "session_id", "ud800", id="surrogate-in-the-reason"),
    ],
)
def test_what_the_api_refuses_is_rejected_with_field_and_reason(
    fields: dict[str, object], field: str, reason: str
) -> None:
    reject = refusal(**fields)
    assert reject.row == 0
    assert reject.field == field
    assert reason in reject.reason
    assert reject.raw.encode() == repr(BASE | fields).encode()


def test_unknown_fields_are_left_out_and_counted_by_name() -> None:
    pipeline, _ = run([BASE | {"colour": "red", "idfv": "x"}, BASE | {"colour": "blue"}])
    assert pipeline.builder.ignored_fields == {"colour": 2, "idfv": 1}


def test_generated_fields_show_only_where_they_are_asked_for() -> None:
    mapping = {name: name for name in BASE} | {
        "event_properties": {"id": ["any", "insert_id"], "at": "_offset"}
    }
    _, [cells] = run([BASE], converter(mapping))
    assert '{"id":"bucket/dir/file.csv:0:0:0","at":null}' in cells
    _, [cells] = run([BASE | {"insert_id": "own"}], converter(mapping))
    assert '{"id":"own","at":null}' in cells
    rest = {name: name for name in BASE} | {"event_properties": ["exclude_keys", ["path"], *BASE]}
    _, [cells] = run([BASE | {"x": 1}], converter(rest))
    assert '{"x":1}' in cells


def test_every_row_keeps_its_number_and_the_counts_add_up() -> None:
    conv = converter({**{name: name for name in BASE}, "$ignore": "skip"}, ignoreEventFlag="$ignore")
    pipeline, rows = run([BASE, BASE | {"skip": True}, BadRow("torn"), BASE | {"time": "x"}, BASE], conv)
    rejects = [row for row in rows if isinstance(row, Reject)]
    events = [row for row in rows if not isinstance(row, Reject)]
    assert [(reject.row, reject.field) for reject in rejects] == [(2, None), (3, "time")]
    assert rejects[0].reason == "torn"
    assert [cells[-1] for cells in events] == [0, 4]
    tally = pipeline.tally
    assert (tally.read, tally.ignored, tally.rejected) == (5, 1, 2)
    assert tally.read == len(events) + tally.ignored + tally.rejected


def test_reasons_that_differ_in_the_rows_values_count_together() -> None:
    pipeline, _ = run([BASE | {"time": f"day {n}"} for n in range(3)] + [BASE | {"event_type": ""}])
    assert pipeline.tally.dominating() == "3 × time: must be a whole number, is …; 1 × event_type: is missing"
    assert pipeline.tally.rejected_share == 1.0


KEYS = st.sampled_from(
    [
        *BASE,
        *("insert_id", "session_id", "event_id", "price", "quantity", "revenue", "location_lat", "paying"),
        *("event_properties", "user_properties", "groups", "group_properties", "plan", "platform", "ip", "x"),
    ]
)
# Lone surrogates too: JSON's grammar allows them.
TEXT = st.text(st.characters(), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.just(TIME) | st.just("user-1"),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(records=st.lists(st.dictionaries(KEYS, JSON).map(lambda changes: BASE | changes), max_size=5))
def test_every_row_has_a_fate_and_every_event_fits_the_schema(records: list[dict[str, object]]) -> None:
    pipeline, rows = run(records)
    events = [row for row in rows if not isinstance(row, Reject)]
    assert pipeline.tally.read == len(records) == len(events) + pipeline.tally.rejected
    if events:
        times = EventTimes("now", READ_AT, date(2000, 1, 1), require_time=True)
        batch = event_batch(events, times)
        assert batch.schema == STAGED_EVENTS
        for name in ("event_properties", "user_properties", "groups", "group_properties", "plan"):
            for text in batch.column(name).to_pylist():
                assert isinstance(json.loads(text), dict)
        assert pa.compute.all(pa.compute.is_valid(batch.column("uuid"))).as_py()

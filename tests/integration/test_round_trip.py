"""Exported lines come back unchanged: converted, loaded and exported again (amplitude-spec 5.6)."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from fresh import fresh_lake, fresh_ledger
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluice.converter import Converter, RowError
from sluice.converter.fields import PROPERTY_OPERATIONS
from sluice.converter.preview import read_rows
from sluice.exports.lines import LineEncoder
from sluice.imports.blocks import BlockBuilder, Reject
from sluice.imports.identity import RowNames, device_of_user, id_fault
from sluice.imports.records import BadRow, Record
from sluice.imports.rows import RowPipeline
from sluice.imports.staging import StagingWriter
from sluice.imports.times import EventTimes
from sluice.lake import LoadRequest, StagedFile, load, read_hour
from sluice.lake.schema import EXPORT_KEYS

pytestmark = pytest.mark.integration

PROJECT = 187520
CONVERTER = Path(__file__).parents[2] / "include/config/converters/amplitude_export.json"
KEY = f"{PROJECT}/{PROJECT}_2020-01-25_17#0.json.gz"
SAME = (
    "$insert_id", "event_type", "user_id", "device_id", "event_time",
    "event_properties", "user_properties", "groups", "group_properties",
)  # fmt: skip
ALSO_SAME = (
    "adid", "city", "country", "device_brand", "device_carrier", "device_manufacturer", "device_model",
    "device_type", "dma", "event_id", "idfa", "ip_address", "language", "library", "location_lat",
    "location_lng", "os_name", "os_version", "platform", "region", "session_id", "version_name",
)  # fmt: skip
# All keys but those that a lake gives: which load brought the event, and its own number of the user.
OF_THE_EVENT = [key for key in EXPORT_KEYS if key not in ("uuid", "processed_time", "amplitude_id")]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Line = dict[str, Any]


class Rows:
    """The records of an exported file, read as the preview reads them."""

    def __init__(self, path: Path, converter: Converter) -> None:
        self._rows = read_rows(str(path), converter.config)

    def __iter__(self) -> Iterator[Record | BadRow]:
        for row in self._rows:
            yield BadRow(row.reason) if isinstance(row, RowError) else row

    def raw(self) -> str:
        return ""

    def hint(self) -> str | None:
        return None


def line(**fields: Any) -> Line:
    """An exported line: all 55 keys, null where nothing is given."""
    given = {
        "$insert_id": "i-1",
        "amplitude_id": 45975551903,
        "app": PROJECT,
        "data": {"path": "/2/httpapi", "group_ids": {}},
        "data_type": "event",
        "device_id": "4289c8b4-7afe-49ed-8814-51c5fc77c693",
        "event_properties": {},
        "event_time": "2020-01-25 17:03:11.123000",
        "event_type": "session_start",
        "group_properties": {},
        "groups": {},
        "library": "amplitude-ts/2.16.1",
        "plan": {},
        "processed_time": "2020-01-25 17:03:14.609000",
        "server_upload_time": "2020-01-25 17:03:12.253000",
        "user_id": "jack@example.com",
        "user_properties": {},
        "uuid": "3e702190-9dcb-483a-94d8-58e93ce161de",
        **fields,
    }
    return {key: given.get(key) for key in EXPORT_KEYS}


def exported_again(folder: Path, lines: Iterable[Line]) -> dict[str, Line]:
    """Import exported lines into a fresh lake, and export what it holds; lines by $insert_id."""
    source = folder / "exported.json.gz"
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    source.write_bytes(gzip.compress(text.encode()))
    lake = fresh_lake(folder / "lake")
    ledger = fresh_ledger(folder / "ledger.db")
    converter = Converter.from_file(CONVERTER)
    times = EventTimes("event_time", ledger.now(), date(2000, 1, 1), require_time=True)
    pipeline = RowPipeline(converter, RowNames("again", "exports", KEY), times)
    rows = BlockBuilder(times)
    for row in pipeline(Rows(source, converter)):
        assert not isinstance(row, Reject), row
        rows.add(row)
    with StagingWriter(lake.filesystem(), "_staging/again") as writer:
        writer.write(rows.block(pipeline.tally))
        events, _ = writer.close()
    staged = StagedFile("exports", KEY, "etag", pipeline.tally.read, ignored=0, rejected=0, events=events)
    result = load(lake, ledger, LoadRequest(PROJECT, "again", [staged], upload_time="event_time"))
    assert result.counts.loaded == result.counts.read
    encoder = LineEncoder()
    found = {}
    for hour in sorted(times.hours):
        moment = EPOCH + timedelta(hours=hour)
        version = lake.events().version()
        for batch in read_hour(lake, PROJECT, moment, version, encoder.columns):
            for encoded in encoder.encode(batch):
                for text in bytes(encoded.data).decode().split("\n")[:-1]:
                    again = json.loads(text)
                    assert tuple(again) == EXPORT_KEYS
                    # With upload_time event_time an event lies in the hour in which it happened.
                    assert again["server_upload_time"] == again["event_time"]
                    found[again["$insert_id"]] = again
    return found


def assert_same(
    before: Iterable[Line], after: dict[str, Line], keys: Iterable[str] = SAME + ALSO_SAME
) -> None:
    """As JSON text, so that 1, 1.0 and true are told apart."""
    lines = list(before)
    assert len(after) == len(lines)
    for line in lines:
        again = after[line["$insert_id"]]
        for key in keys:
            expected, found = (json.dumps(one[key], sort_keys=True) for one in (line, again))
            assert found == expected, (key, line["$insert_id"])


NESTED = {
    "list": [1, 1.0, -0.5, True, False, None, "", "x", [], {}, [[{"a": None}]]],
    "number": 12345678901234567890123,
    "small": 5e-324,
    "large": 1.7976931348623157e308,
    "time": "2020-01-25T17:03:11Z",
    "$dollar": {"$set": 1},
    "a.b": {"c.d": "dots"},
    "": "an empty key",
    "quotes": 'a "quoted" \\ text\n\tof two lines\u2028or three',
    "null": None,
}
LINES = [
    line(),
    line(**{"$insert_id": "every column", "adid": "38400000-8cf0-11bd-b23e-10b96e40000d", "idfa": "idfa-1"})
    | {
        "city": "Zürich", "country": "Switzerland", "device_brand": "Apple", "device_carrier": "Swisscom",
        "device_manufacturer": "Apple", "device_model": "iPhone15,2", "device_type": "Apple iPhone 14 Pro",
        "dma": "San Francisco-Oakland-San Jose, CA", "event_id": 991179682, "ip_address": "2001:db8::1",
        "language": "German", "location_lat": 47.3769, "location_lng": -8.0, "os_name": "ios",
        "os_version": "17.1", "platform": "iOS", "region": "Zürich", "session_id": -1, "version_name": "1.10",
    },
    line(**{"$insert_id": "nested", "event_properties": NESTED, "user_properties": {"deep": NESTED}}),
    line(
        **{"$insert_id": "groups", "groups": {"org": ["Acme", "Umbrella"], "team": "Blau 🟦"}},
        group_properties={"org": {"Acme": {"seats": 5}}},
    ),
    line(**{"$insert_id": "日本語 \u0000 ü", "event_type": "購入 🎉\t", "user_id": "ユーザー番号一"}),
    line(**{"$insert_id": "no user", "user_id": None}),
    line(**{"$insert_id": "last ms", "event_time": "2020-12-31 23:59:59.999000"}),
    line(**{"$insert_id": "whole second", "event_time": "2000-01-01 00:00:00.000000"}),
    line(**{"$insert_id": "leap day", "event_time": "2024-02-29 12:00:00.001000"}),
]  # fmt: skip


def test_exported_lines_come_back_unchanged(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    again = exported_again(first, LINES)
    assert_same(LINES, again)
    assert_same(again.values(), exported_again(second, again.values()), OF_THE_EVENT)


def test_the_documented_form_of_times_is_read_too(tmp_path: Path) -> None:
    [again] = exported_again(tmp_path, [line(event_time="2015-08-10T12:00:00.000000")]).values()
    assert again["event_time"] == "2015-08-10 12:00:00.000000"


def test_what_is_missing_gets_the_documented_stand_in(tmp_path: Path) -> None:
    """A user without device gets the hash of the user (I-5), a line without insert id its place (I-3)."""
    lines = [
        line(**{"$insert_id": "no device", "device_id": ""}),
        line(**{"$insert_id": None, "user_id": "", "device_id": "device-1"}),
    ]
    again = exported_again(tmp_path, lines)
    assert again["no device"]["user_id"] == "jack@example.com"
    assert again["no device"]["device_id"] == device_of_user("jack@example.com")
    assert again[f"exports/{KEY}:0:0:1"]["user_id"] is None
    assert again[f"exports/{KEY}:0:0:1"]["device_id"] == "device-1"


def test_the_converter_takes_data_files_and_no_markers() -> None:
    converter = Converter.from_file(CONVERTER)
    assert converter.matches(KEY)
    assert converter.matches(f"exports/{KEY}", "exports/")
    assert not converter.matches(f"{PROJECT}/{PROJECT}_2020-01-25_17_complete")


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    scalars | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
properties = st.dictionaries(text.filter(lambda key: key not in PROPERTY_OPERATIONS), values, max_size=6)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=5, max_size=40).filter(
    lambda value: id_fault(value) is None
)
moments = st.integers(0, 4 * 3_600_000 - 1).map(
    lambda ms: f"{datetime(2020, 1, 1) + timedelta(milliseconds=ms):%Y-%m-%d %H:%M:%S.%f}"
)


@st.composite
def files(draw: st.DrawFn) -> list[Line]:
    numbers = count()
    return [
        line(
            **{"$insert_id": f"{next(numbers)} {draw(text)}"},
            event_type=draw(text.filter(str.strip)),
            user_id=user,
            device_id=draw(ids),
            event_time=draw(moments),
            event_properties=draw(properties),
            user_properties=draw(properties),
            group_properties=draw(properties),
            groups=draw(st.dictionaries(text, text | st.lists(text, max_size=2), max_size=5)),
            session_id=draw(st.none() | st.integers(-(2**63), 2**63 - 1)),
            location_lat=draw(st.none() | st.floats(-90, 90)),
            city=draw(st.none() | text),
        )
        for user in draw(st.lists(st.none() | ids, min_size=1, max_size=12))
    ]


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(files())
def test_any_exported_line_comes_back_unchanged(lines: list[Line]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert_same(lines, exported_again(Path(folder), lines), (*SAME, "session_id", "location_lat", "city"))

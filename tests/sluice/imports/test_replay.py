"""Lines in export form become staged rows unchanged, or rejects that say why."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.event_columns import EVENT_COLUMNS
from sluice.exports.lines import Dialect, LineEncoder, export_keys
from sluice.imports.blocks import Block
from sluice.imports.identity import dedup_key, device_of_user
from sluice.imports.json_rows import MAX_LINE_BYTES, JsonRows
from sluice.imports.replay import ReplayPipeline, export_order, joined
from sluice.lake.schema import STAGED_REPLAY

PROJECT = 187520
READ_AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
UUID = "3e702190-9dcb-483a-94d8-58e93ce161de"
# A real row's shape (amplitude-spec 1.3).
LINE = (
    '{"$insert_id":"i-1","$insert_key":null,"$schema":null,"adid":null,"amplitude_attribution_ids":null,'
    '"amplitude_event_type":null,"amplitude_id":45975551903,"app":187520,"city":"Hemel Hempstead",'
    '"client_event_time":"2020-01-25 17:03:11.123000","client_upload_time":"2020-01-25 17:03:12.250000",'
    '"country":"United Kingdom","data":{"path":"/2/httpapi","user_properties_updated":true,'
    '"group_first_event":{},"group_ids":{}},"data_type":"event","device_brand":null,"device_carrier":null,'
    '"device_family":"Mac OS X","device_id":"4289c8b4-7afe-49ed-8814-51c5fc77c693",'
    '"device_manufacturer":null,"device_model":null,"device_type":"Mac","dma":null,"event_id":135,'
    '"event_properties":{},"event_time":"2020-01-25 17:03:11.123000","event_type":"session_start",'
    '"global_user_properties":null,"group_properties":{},"groups":{},"idfa":null,"ip_address":"203.0.113.9",'
    '"is_attribution_event":null,"language":"English","library":"amplitude-ts/2.16.1","location_lat":null,'
    '"location_lng":null,"os_name":"Chrome","os_version":"137","partner_id":null,"paying":null,"plan":{},'
    '"platform":"Web","processed_time":"2020-01-25 17:03:14.609000","region":"Hertfordshire",'
    '"sample_rate":null,"server_received_time":"2020-01-25 17:03:12.250000",'
    '"server_upload_time":"2020-01-25 17:03:12.253000","session_id":1579971791123,"source_id":null,'
    '"start_version":null,"user_creation_time":null,"user_id":"jack@example.com","user_properties":{},'
    f'"uuid":"{UUID}","version_name":null}}'
)


def changed(**given: Any) -> str:
    """The real row with other values; `...` takes a key out."""
    members = {**json.loads(LINE), **given}
    return json.dumps({key: value for key, value in members.items() if value is not ...})


def replay(*lines: str | bytes, project: int = PROJECT) -> Block:
    text = b"\n".join(line.encode() if isinstance(line, str) else line for line in lines)
    [piece] = JsonRows([text + b"\n"]).pieces()
    # As another process would do it.
    pipeline = pickle.loads(pickle.dumps(ReplayPipeline(project, READ_AT)))
    return pickle.loads(pickle.dumps(pipeline.block(0, piece)))


def rows_of(block: Block) -> list[dict[str, Any]]:
    return pa.Table.from_batches(block.events, STAGED_REPLAY).to_pylist()


def rejects_of(block: Block) -> list[dict[str, Any]]:
    return [row for batch in block.rejects for row in batch.to_pylist()]


def exported(block: Block, dialect: Dialect = "observed") -> list[str]:
    encoder, lines = LineEncoder(dialect), []
    for batch in block.events:
        whole = batch.append_column("app", pa.repeat(pa.scalar(PROJECT), batch.num_rows))
        for encoded in encoder.encode(whole):
            lines += bytes(encoded.data).decode().split("\n")[:-1]
    return lines


def test_a_real_row_comes_back_byte_for_byte() -> None:
    block = replay(LINE)
    assert exported(block) == [LINE]
    assert (block.tally.read, block.tally.rejected, block.tally.hours) == (1, 0, {438_881})
    [row] = rows_of(block)
    assert row["server_upload_time"] == datetime(2020, 1, 25, 17, 3, 12, 253000, tzinfo=UTC)
    assert (row["row"], row["amplitude_id"], row["extra"]) == (0, 45975551903, None)


def test_the_documented_dialect_has_48_keys_and_a_t() -> None:
    members = {key: value for key, value in json.loads(LINE).items() if key in export_keys("documented")}
    for key, kind in EVENT_COLUMNS.items():
        if kind == "time" and members.get(key):
            members[key] = members[key].replace(" ", "T")
    line = json.dumps(members, separators=(",", ":"), ensure_ascii=False)
    block = replay(line)
    assert exported(block, "documented") == [line]
    assert rows_of(block)[0]["plan"] is None


def test_blank_lines_are_no_rows_and_keys_may_come_in_any_order() -> None:
    turned = json.dumps(dict(reversed(json.loads(LINE).items())), ensure_ascii=False)
    block = replay("", LINE, " \t", turned + "\r", b"  " + LINE.encode())
    assert [row["row"] for row in rows_of(block)] == [0, 1, 2]
    assert [json.loads(line) for line in exported(block)] == [json.loads(LINE)] * 3


def test_dictionary_fields_keep_every_byte() -> None:
    properties = (
        '{"a" : 1.10, "big":123456789012345678901234567890,"e":1E5,"u":"\\u00fc\\/","d":{"x":[1,{}]},"a":2}'
    )
    line = LINE.replace('"event_properties":{}', f'"event_properties": {properties} ')
    [row] = rows_of(replay(line))
    assert row["event_properties"] == properties


def test_json_fields_that_are_no_objects() -> None:
    given = {"$insert_key": 7, "amplitude_attribution_ids": ["a"], "sample_rate": 0.5}
    [row] = rows_of(replay(changed(**given)))
    assert (row["$insert_key"], row["amplitude_attribution_ids"], row["sample_rate"]) == ("7", '["a"]', "0.5")


def test_more_keys_are_kept_and_exported_again() -> None:
    line = f'{LINE[:-1]},"zip":"8000","new":{{"a": 1.10}},"nothing":null}}'
    block = replay(LINE, line)
    assert exported(block) == [LINE, line]
    assert block.tally.notes == {
        "zip: beyond the 55 keys, kept": 1,
        "new: beyond the 55 keys, kept": 1,
        "nothing: beyond the 55 keys, kept": 1,
    }


def test_the_dedup_key_is_that_of_an_import() -> None:
    lines = [
        changed(),
        changed(device_id=None),
        changed(device_id="unknown"),
        changed(**{"$insert_id": None}),
        changed(**{"$insert_id": ""}),
        changed(device_id=None, user_id=None),
    ]
    keys = [(row["dedup_hi"], row["dedup_lo"]) for row in rows_of(replay(*lines))]
    of_user = dedup_key(device_of_user("jack@example.com"), "i-1")
    own = dedup_key("4289c8b4-7afe-49ed-8814-51c5fc77c693", "i-1")
    assert keys == [own, of_user, of_user, *[(None, None)] * 3]


@pytest.mark.parametrize(
    ("line", "field", "reason"),
    [
        ("[1]", None, "is not an object but a list of 1"),
        ('"x"', None, 'is not an object but the string "x"'),
        ("null", None, "is not an object but null"),
        ("{", None, "is not JSON: "),
        (f"{LINE},", None, "is not JSON: "),
        (b'{"city":"\xff"}', None, "the byte 0xff is not utf-8"),
        (LINE.replace("Chrome", "\\ud800"), None, "holds half a character"),
        (changed(uuid=...), "uuid", "is missing"),
        (changed(uuid=None), "uuid", "is missing"),
        (changed(uuid="x"), "uuid", '"x" is no UUID'),
        (changed(uuid=UUID + "\n"), "uuid", "is no UUID"),
        (changed(uuid=7), "uuid", "must be text, is 7"),
        (changed(app=...), "app", "is missing"),
        (changed(app=1), "app", "is 1, another project than the source's, 187520"),
        (changed(app="187520"), "app", 'must be a whole number, is "187520"'),
        (changed(amplitude_id=...), "amplitude_id", "is missing"),
        (changed(amplitude_id="45975551903"), "amplitude_id", "must be a whole number"),
        (changed(amplitude_id=1.5), "amplitude_id", "must be a whole number, is 1.5"),
        (changed(amplitude_id=2**63), "amplitude_id", "does not fit in 64 bits"),
        (changed(server_upload_time=...), "server_upload_time", "is missing"),
        (changed(server_upload_time="2026-11-22 12:00:01.000000"), "server_upload_time", "lies after 2026"),
        (changed(server_upload_time="2020-01-25"), "server_upload_time", "is no time of the form"),
        (changed(event_time="2020-01-25 17:03:11.123"), "event_time", "is no time of the form"),
        (changed(event_time="2020-01-25 17:03:11.123000Z"), "event_time", "is no time of the form"),
        (changed(event_time="2020-02-30 17:03:11.123000"), "event_time", "is no time of the form"),
        (changed(event_time="2020-01-25 24:00:00.000000"), "event_time", "is no time of the form"),
        (changed(event_time="2020-01-25 17:03:60.000000"), "event_time", "is no time of the form"),
        (changed(event_time="0000-01-25 17:03:11.123000"), "event_time", "is no time of the form"),
        (changed(event_time="２020-01-25 17:03:11.123000"), "event_time", "is no time of the form"),
        (changed(event_time=1579971791123), "event_time", "must be text"),
        (changed(event_id=1.0), "event_id", "must be a whole number"),
        (changed(event_id=True), "event_id", "must be a whole number, is true"),
        (changed(session_id=-(2**63) - 1), "session_id", "does not fit in 64 bits"),
        (changed(location_lat="1"), "location_lat", "must be a number"),
        (changed(location_lng=2**53 + 1), "location_lng", "is not exact as a double"),
        (LINE.replace('"location_lat":null', '"location_lat":1e400'), None, "1e400 is too large"),
        (changed(paying="true"), "paying", "must be true or false"),
        (changed(city=["Zürich"]), "city", "must be text"),
        (changed(user_id=7), "user_id", "must be text, is 7"),
        (changed(event_properties=[]), "event_properties", "must be an object"),
        (changed(groups="{}"), "groups", "must be an object"),
        (LINE.replace('"plan":{}', '"plan":{"a":1e400}'), "plan", "1e400 is too large for a double"),
        (LINE.replace('"plan":{}', '"plan":{"a":"\\ud800"}'), None, "holds half a character"),
        (LINE.encode().replace(b'"plan":{}', b'"plan":{"a":"\xff"}'), "plan", "the byte 0xff is not UTF-8"),
        (LINE.replace('"plan":{}', '"new":{"a":1e400}'), "new", "1e400 is too large for a double"),
        (LINE.replace('"plan":{}', f'"plan":{"[" * 2000}{"]" * 2000}'), None, "is not JSON: "),
    ],
)  # fmt: skip
def test_a_bad_row_is_rejected_alone(line: str | bytes, field: str | None, reason: str) -> None:
    block = replay(LINE, line, LINE)
    [reject] = rejects_of(block)
    assert (reject["row"], reject["field"]) == (1, field)
    assert reason in reject["reason"], reject["reason"]
    assert reject["raw"] == (
        line if isinstance(line, str) else line.decode(errors="backslashreplace").replace("\\xff", "\\udcff")
    )
    assert exported(block) == [LINE, LINE]
    assert (block.tally.read, block.tally.rejected) == (3, 1)


def test_a_line_beyond_all_measure_is_rejected() -> None:
    line = changed(city="x" * MAX_LINE_BYTES)
    [reject] = rejects_of(replay(LINE, line))
    assert reject["reason"] == "a line is longer than 16,777,216 bytes"
    assert len(reject["raw"]) < 70_000


def test_the_first_fault_is_named_and_the_kinds_are_counted_together() -> None:
    block = replay(*[changed(app=n, uuid="x") for n in range(3)], changed(app=8), changed(app=9), LINE)
    assert [reject["field"] for reject in rejects_of(block)] == ["uuid"] * 3 + ["app"] * 2
    assert block.tally.reasons["uuid: … is no UUID"] == 3


def test_the_moment_of_reading_is_no_future() -> None:
    assert not rejects_of(replay(changed(server_upload_time="2026-11-22 12:00:00.000000")))


def test_joined_pieces_are_the_same_rows() -> None:
    lines = [changed(event_id=n, city="x" * 400_000) for n in range(25)]
    text = "\n".join(lines).encode()
    cut = list(JsonRows([text[at : at + 1_000_000] for at in range(0, len(text), 1_000_000)]).numbered())
    pieces = list(joined(cut))
    assert (len(cut), len(pieces)) == (11, 3)
    pipeline = ReplayPipeline(PROJECT, READ_AT)
    rows = [row for first, piece in pieces for row in rows_of(pipeline.block(first, piece))]
    assert [(row["row"], row["event_id"]) for row in rows] == [(n, n) for n in range(25)]
    assert sum(piece.count for _, piece in pieces) == 25


def test_exported_files_come_by_hour_and_partition() -> None:
    folder = "out/187520/187520_2020-01"
    keys = [
        "other/name.json.gz",
        f"{folder}-25_9#0.json.gz",
        f"{folder}-25_10#2.json.gz",
        f"{folder}-25_10#10.json.gz",
        f"{folder}-26_0#0.json.gz",
    ]
    assert sorted({*keys}, key=export_order) == keys


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | text
scalars |= st.floats(allow_nan=False, allow_infinity=False)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(text, anything, max_size=3)
moments = st.datetimes(datetime(1, 1, 1), datetime(2026, 11, 22)).map(
    lambda moment: moment.isoformat(" ", "microseconds")
)
OF_KIND = {
    "text": text,
    "integer": st.integers(-(2**63), 2**63 - 1),
    "decimal": st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
    "time": moments,
    "json": objects,
}
REQUIRED = {
    "uuid": st.uuids().map(str),
    "app": st.just(PROJECT),
    "amplitude_id": OF_KIND["integer"],
    "server_upload_time": moments,
}
lines = st.fixed_dictionaries(
    {key: REQUIRED.get(key, st.none() | OF_KIND[kind]) for key, kind in EVENT_COLUMNS.items()}
)
extras = st.dictionaries(text.filter(lambda key: key not in EVENT_COLUMNS), anything, max_size=2)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(lines, extras), min_size=1, max_size=4), st.booleans())
def test_any_exported_line_comes_back(
    members: Iterable[tuple[dict[str, Any], dict[str, Any]]], ascii: bool
) -> None:
    given = [json.dumps({**in_order(known), **extra}, ensure_ascii=ascii) for known, extra in members]
    block = replay(*given)
    assert not rejects_of(block)
    once = exported(block)
    # As JSON text, so that 1, 1.0 and true are told apart; a whole double may be written as an integer.
    assert [canonical(line) for line in once] == [canonical(line) for line in given]
    assert exported(replay(*once)) == once


def in_order(known: dict[str, Any]) -> dict[str, Any]:
    return {key: known[key] for key in EVENT_COLUMNS}


def canonical(line: str) -> str:
    members = json.loads(line)
    for key in ("location_lat", "location_lng"):
        if members[key] is not None:
            members[key] = float(members[key])
    return json.dumps(members)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60) | st.sampled_from([LINE.encode()]), st.integers(0, 1500), st.binary(max_size=4))
def test_no_bytes_break_a_block(line: bytes, at: int, put: bytes) -> None:
    """Whatever a line is, it becomes a row or a reject, and the rows beside it stay."""
    hostile = (line[:at] + put + line[at + len(put) :]).replace(b"\n", b" ")
    block = replay(LINE, hostile, LINE)
    is_row = bool(hostile.strip(b" \t\r\x0b\x0c"))
    assert block.tally.read == 2 + is_row
    assert len(rows_of(block)) + len(rejects_of(block)) == block.tally.read
    assert {exported(block)[0], exported(block)[-1]} == {LINE}


def test_faults_of_one_batch_do_not_touch_its_other_rows() -> None:
    good = [changed(uuid=f"00000000-0000-4000-8000-{n:012d}", event_id=n) for n in range(200)]
    given = [changed(uuid="x") if n % 7 == 0 else line for n, line in enumerate(good)]
    given[50] = changed(event_time="never")
    block = replay(*given)
    expected = [n for n in range(200) if n % 7 and n != 50]
    assert [row["event_id"] for row in rows_of(block)] == [row["row"] for row in rows_of(block)] == expected
    assert {row["server_upload_time"] for row in rows_of(block)} == {
        datetime(2020, 1, 25, 17, 3, 12, tzinfo=UTC) + timedelta(milliseconds=253)
    }

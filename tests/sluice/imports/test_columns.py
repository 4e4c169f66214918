"""Columns give what the rows give one by one, whatever the rows hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sluice.config.taxonomies import Taxonomy
from sluice.converter import Converter
from sluice.imports.blocks import Block
from sluice.imports.identity import RowNames
from sluice.imports.records import BadRow
from sluice.imports.rows import RowPipeline
from sluice.imports.taxonomy import TaxonomyCheck
from sluice.imports.times import EventTimes

READ_AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TIME = 1357034400000
BASE = {"event_type": "click", "user_id": "user-1", "device_id": "device-1", "time": TIME}
FIELDS = [
    *BASE,
    *("insert_id", "session_id", "event_id", "location_lat", "location_lng", "paying", "price", "revenue"),
    *("event_properties", "user_properties", "groups", "group_properties", "plan", "platform", "ip"),
    *("library", "os_version", "colour"),
]


@dataclass
class Rows:
    """Records that stand for a piece of a file."""

    records: list[Any]

    @property
    def count(self) -> int:
        return len(self.records)

    def reader(self) -> Reader:
        return Reader(self.records)


class Reader:
    def __init__(self, records: list[Any]) -> None:
        self._records = records
        self._last: Any = None

    def __iter__(self) -> Iterator[Any]:
        for record in self._records:
            self._last = record
            yield record if isinstance(record, BadRow) else dict(record)

    def raw(self) -> str:
        return repr(self._last)


def pipeline(
    upload_time: str = "now",
    taxonomy: TaxonomyCheck | None = None,
    function: Any = None,
    *,
    require: bool = True,
) -> RowPipeline:
    mapping = function or {name: name for name in FIELDS} | {"$skip": "skip"}
    config = {"fileType": "json", "compressionType": "none", "convertToAmplitudeFunc": mapping}
    converter = Converter.from_config({"converterConfig": config | {"ignoreEventFlag": "$skip"}})
    times = EventTimes(upload_time, READ_AT, date(2000, 1, 1), require_time=require)  # type: ignore[arg-type]
    return RowPipeline(converter, RowNames("source", "bucket", "file"), times, taxonomy)


def both(records: list[Any], *arguments: Any, **settings: Any) -> tuple[Block, Block]:
    """The block by columns, and the block row by row."""
    by_column, by_row = pipeline(*arguments, **settings), pipeline(*arguments, **settings)
    by_row._by_column = False
    return by_column.block(7, Rows(records)), by_row.block(7, Rows(records))


def same(records: list[Any], *arguments: Any, **settings: Any) -> Block:
    block, expected = both(records, *arguments, **settings)
    assert [row for batch in block.events for row in batch.to_pylist()] == [
        row for batch in expected.events for row in batch.to_pylist()
    ]
    assert [row for batch in block.rejects for row in batch.to_pylist()] == [
        row for batch in expected.rejects for row in batch.to_pylist()
    ]
    assert block.tally == expected.tally
    return block


LONG = "x" * 1025
DEEP: Any = 1
for _ in range(41):
    DEEP = {"d": DEEP}
SPECIAL: list[dict[str, Any]] = [
    {"event_type": value} for value in (None, "", " ", "$identify", 7, True, [], {}, LONG, "\ud800", "é")
]
SPECIAL += [
    {field: value}
    for field in ("user_id", "device_id")
    for value in (
        *(
            None,
            "",
            "na",
            "Unknown",
            " unknown ",
            "UNDEFINED",
            "anonymous",
            "LMY47D",
            "unKnown",
            "12345",
            12345,
        ),
        *(
            "0" * 32,
            "-".join("0" * 32),
            "0000-1",
            "1234",
            " 12345",
            "12345\u2003",
            "\u212anown",
            "unicorns",
            1.5,
        ),
        *(LONG, "\ud800-surrogate", ["device"], "Anna-Lena", "-1-1-1", "{}{}{}", "lmy47d ", "é-very-long"),
    )
]
SPECIAL += [{"user_id": None, "device_id": None}, {"user_id": "unknown", "device_id": "unknown"}]
SPECIAL += [
    {"time": value}
    for value in (
        None,
        "",
        str(TIME),
        TIME + 0.0,
        0.5,
        True,
        "x",
        10**14,
        10**19,
        -1,
        946684799999,
        946684800000,
    )
]
SPECIAL += [{"insert_id": value} for value in (None, "", "i", 7, 1.5, True, {}, "\ud800", "é")]
SPECIAL += [
    {field: value}
    for field in ("session_id", "event_id")
    for value in ("", "7", 7, -1, 7.0, 7.5, True, 2**63 - 1, 2**63, "9" * 19, "x")
]
SPECIAL += [{"location_lat": value} for value in ("", "1.5", 1, 2**60 + 1, 10**400, "x", True, -0.0)]
SPECIAL += [{"paying": value} for value in ("", "TRUE", "false", True, False, 1)]
SPECIAL += [{"price": 2.5}, {"price": ""}, {"price": "x"}, {"revenue": -1, "event_properties": {"a": 1}}]
SPECIAL += [
    {field: value}
    for field in ("event_properties", "user_properties", "groups", "group_properties", "plan")
    for value in (
        *(
            {},
            {"a": None},
            {"a": [1, {"b": 2}]},
            {"a": LONG},
            {"a": "{" * 50},
            {"a": "$"},
            {"$set": {"a": 1}},
        ),
        *({"$a": 1}, {"a": 10**30}, {"a": "\ud800"}, {"\ud800": 1}, [], "{}", 5, DEEP, {"a": ["x"] * 11}),
        *({str(n): "v" for n in range(6)}, {str(n): "y" * 900 for n in range(3)}, {"branch": "b", "x": 1}),
        *({"version": 5}, {"source": "s", "version": "1"}, {"a": 1.5, "b": -0.0, "c": True}),
    )
]
SPECIAL += [{"ip": "$remote"}, {"platform": 5}, {"platform": []}, {"platform": "\ud800"}, {"os_version": 1.0}]
SPECIAL += [
    {"library": "own"},
    {"colour": "red"},
    {"colour": {}},
    {"skip": True},
    {"skip": "TRUE"},
    {"skip": 1},
]


@pytest.mark.parametrize("upload_time", ["now", "event_time"])
def test_every_special_value_becomes_the_same_beside_plain_rows(upload_time: str) -> None:
    records = [row for special in SPECIAL for row in (BASE | special, BASE, BASE)]
    block = same([*records, BadRow("torn"), BASE], upload_time)
    assert block.tally.rejected > 50
    assert block.tally.ignored >= 2


def test_every_special_value_becomes_the_same_alone() -> None:
    for special in SPECIAL:
        same([BASE | special])
        same([BASE | special], require=False)


def test_plain_rows_need_no_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RowPipeline, "_by_row", None)
    rows = [
        BASE
        | {
            "insert_id": f"i-{n}",
            "session_id": TIME,
            "event_properties": {"a": 1.5, "b": [n], "c": None},
            "user_properties": {"plan": "pro"},
            "groups": {"company": "Acme"},
            "platform": "Web",
            "skip": n % 3 == 0,
        }
        for n in range(30)
    ]
    block = pipeline().block(0, Rows(rows))
    assert sum(batch.num_rows for batch in block.events) == 20
    assert (block.tally.read, block.tally.ignored) == (30, 10)


def test_where_most_rows_are_special_the_next_piece_goes_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    one = pipeline()
    one.block(0, Rows([BASE | {"time": "soon"}, BASE | {"price": 1}, BASE]))
    monkeypatch.setattr(RowPipeline, "_columns_of", None)
    assert one.block(3, Rows([BASE])).tally.read == 1


def test_a_taxonomy_warns_of_and_rejects_the_same_rows() -> None:
    plan = {"event_types": {"click": {"a": "number"}}, "user_properties": {"plan": "string"}}
    for unplanned in ({}, {"event_types": "reject", "properties": "reject", "value_types": "reject"}):
        check = TaxonomyCheck(Taxonomy.model_validate(plan | ({"unplanned": unplanned} if unplanned else {})))
        records = [
            BASE,
            BASE | {"event_type": "purchase"},
            BASE | {"event_properties": {"a": 1}},
            BASE | {"event_properties": {"a": "one", "b": 2}},
            BASE | {"user_properties": {"plan": 5}, "time": "soon"},
        ]
        same(records, "now", check)


def test_generated_fields_are_the_same() -> None:
    mapping = {name: name for name in BASE} | {
        "event_properties": {"id": ["any", "insert_id"], "at": "_offset"}
    }
    block = same([BASE, BASE | {"insert_id": "own"}, BASE | {"time": "x"}], function=mapping)
    assert "bucket/file:0:0:7" in block.events[0].column("event_properties")[0].as_py()


TEXT = st.text(st.characters(), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.just(TIME) | st.just("user-1"),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=6,
)
ROWS = st.dictionaries(st.sampled_from([*FIELDS, "skip"]), JSON, max_size=4).map(
    lambda changes: BASE | changes
)


@settings(max_examples=150, deadline=None)
@given(records=st.lists(ROWS, min_size=1, max_size=8), upload_time=st.sampled_from(["now", "event_time"]))
@example(records=[BASE | {"location_lat": float("nan")}, BASE], upload_time="now")
@example(records=[BASE | {"event_properties": {"a": {"b": float("inf")}}}, BASE], upload_time="now")
def test_any_rows_become_the_same(records: list[dict[str, Any]], upload_time: str) -> None:
    block = same(records, upload_time)
    for batch in block.events:
        for text in batch.column("event_properties").to_pylist():
            json.loads(text)

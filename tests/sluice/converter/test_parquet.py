"""Parquet as JSON (decisions D-17): every type, also inside others, and rows that cannot be read."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice.converter import RowError
from sluice.converter.parquet import OPTIONS, ParquetJson, UnreadableSchema

NS = 1579971791123456789
ISO = "2020-01-25T17:03:11.123456"
INT64_MAX = (1 << 63) - 1


def values(array: pa.Array) -> list[Any]:
    batch = pa.record_batch({"c": array})
    return [row if isinstance(row, RowError) else row["c"] for row in ParquetJson(batch.schema).rows(batch)]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([NS], pa.timestamp("ns")), ISO),
        (pa.array([NS // 1000], pa.timestamp("us", tz="UTC")), ISO),
        # No time zone database is asked: the instant is the same in every zone.
        (pa.array([NS // 1000], pa.timestamp("us", tz="No/Such")), ISO),
        (pa.array([-1], pa.timestamp("ns")), "1969-12-31T23:59:59.999999"),
        (pa.array([1500], pa.timestamp("ms")), "1970-01-01T00:00:01.500000"),
        (pa.array([1], pa.timestamp("s")), "1970-01-01T00:00:01.000000"),
        (pa.array([datetime.date(2020, 1, 25)], pa.date32()), "2020-01-25"),
        (pa.array([datetime.date(2020, 1, 25)], pa.date64()), "2020-01-25"),
        (pa.array([3_600_000_000_999], pa.time64("ns")), "01:00:00"),
        (pa.array([1500], pa.time32("ms")), "00:00:01.500000"),
        (pa.array([1500], pa.duration("ms")), 1500),
        (pa.array([Decimal("1.50")]), 1.5),
        (pa.array([Decimal("7.00")]), 7),
        (pa.array([Decimal("0.1")]), 0.1),
        (pa.array([Decimal("9007199254740993")]), "9007199254740993"),
        (pa.array([Decimal("1234567890123456789.01")]), "1234567890123456789.01"),
        (pa.array([Decimal("1" * 70)], pa.decimal256(76, 0)), "1" * 70),
        (pa.array([b"\x00\xff"]), "AP8="),
        (pa.array([b"\x00\xff"], pa.binary(2)), "AP8="),
        (pa.array([b"\x00\xff"], pa.large_binary()), "AP8="),
        (pa.array([float("nan")]), None),
        (pa.array([0.5], pa.float32()), 0.5),
        (pa.array([INT64_MAX]), INT64_MAX),
        (pa.array([2**64 - 1], pa.uint64()), 2**64 - 1),
        (pa.array([True]), True),
        (pa.array(["é"], pa.large_string()), "é"),
        (pa.array(["x"]).dictionary_encode(), "x"),
        (pa.nulls(1), None),
        (pa.array([[NS, None]], pa.list_(pa.timestamp("ns"))), [ISO, None]),
        (pa.array([[1.5, float("nan")]], pa.list_(pa.float64(), 2)), [1.5, None]),
        (pa.array([[b"a"]], pa.large_list(pa.binary())), ["YQ=="]),
        (
            pa.array([{"t": NS, "n": [{"d": Decimal("1.5")}], "x": 1}], pa.struct(
                [("t", pa.timestamp("ns")), ("n", pa.list_(pa.struct([("d", pa.decimal128(3, 1))]))),
                 ("x", pa.int8())])),
            {"t": ISO, "n": [{"d": 1.5}], "x": 1},
        ),
        (pa.array([[("k", NS)]], pa.map_(pa.string(), pa.timestamp("ns"))), {"k": ISO}),
        (pa.array([[("k", None)]], pa.map_(pa.string(), pa.float64())), {"k": None}),
        (pa.array([[(True, 1.0)]], pa.map_(pa.bool_(), pa.float64())), {"true": 1.0}),
        (pa.array([[(7, 1)]], pa.map_(pa.int32(), pa.int64())), {"7": 1}),
        (pa.array([[("k", 1), ("k", 2)]], pa.map_(pa.string(), pa.int64())), {"k": 2}),
        (pa.array([[]], pa.map_(pa.string(), pa.int64())), {}),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)  # fmt: skip
def test_each_type_becomes_json(array: pa.Array, expected: object) -> None:
    [value] = values(array)
    assert value == expected
    assert type(value) is type(expected)
    assert values(pa.nulls(1, array.type)) == [None]


def test_int96_of_any_year_is_a_time(tmp_path: Any) -> None:
    moment = datetime.datetime(2999, 12, 31, 23, 59, 59, 123456)
    table = pa.table({"t": pa.array([moment], pa.timestamp("us"))})
    pq.write_table(table, tmp_path / "a", use_deprecated_int96_timestamps=True)
    parquet = pq.ParquetFile(tmp_path / "a", **OPTIONS)
    assert parquet.schema.column(0).physical_type == "INT96"
    [batch] = parquet.iter_batches()
    assert ParquetJson(batch.schema).rows(batch) == [{"t": "2999-12-31T23:59:59.123456"}]


@pytest.fixture
def damaged() -> pa.RecordBatch:
    """Three rows; the second has a cell in each column that no JSON can hold."""
    text = pa.StringArray.from_buffers(
        3, pa.array([0, 1, 2, 3], pa.int32()).buffers()[1], pa.py_buffer(b"a\xffb")
    )
    moment = pa.array([0, 1 << 62, 0], pa.timestamp("us"))
    return pa.record_batch({"n": pa.array([1, 2, 3]), "text": text, "moment": moment})


def test_a_cell_that_cannot_be_read_costs_its_row_only(damaged: pa.RecordBatch) -> None:
    first, second, third = ParquetJson(damaged.schema).rows(damaged)
    assert first == {"n": 1, "text": "a", "moment": "1970-01-01T00:00:00.000000"}
    assert isinstance(second, RowError)
    assert second.field == "text"
    assert "can't decode byte 0xff" in second.reason
    assert isinstance(third, dict)
    [_, late, _] = ParquetJson(damaged.schema, {"moment"}).rows(damaged)
    assert isinstance(late, RowError)
    assert "outside of the years 1 to 9999" in late.reason


def test_the_text_of_a_row_shows_what_can_be_read(damaged: pa.RecordBatch) -> None:
    text = ParquetJson(damaged.schema).text(damaged.slice(1, 1))
    assert text.startswith('{"n": 2, "text": "(cannot be read: ')


def test_only_the_wanted_columns_are_read(damaged: pa.RecordBatch) -> None:
    assert ParquetJson(damaged.schema, {"n", "absent"}).rows(damaged) == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert ParquetJson(damaged.schema, ()).rows(damaged) == [{}, {}, {}]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (pa.schema([("a", pa.int8()), ("a", pa.int8())]), "names a column twice: 'a'"),
        (
            pa.schema([("s", pa.struct([("a", pa.int8()), ("a", pa.int8())]))]),
            "names a column of s twice: 'a'",
        ),
        (pa.schema([("m", pa.month_day_nano_interval())]), "The column m has the type"),
    ],
)
def test_a_schema_without_json_says_which_column(schema: pa.Schema, message: str) -> None:
    with pytest.raises(UnreadableSchema, match=message):
        ParquetJson(schema)

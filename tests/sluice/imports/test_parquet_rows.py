"""Parquet files: rows from ranged reads of one version, in bounded memory, and each fault with its reason."""

from __future__ import annotations

import json
import re
import tracemalloc
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice.imports import parquet_rows
from sluice.imports.errors import FileError
from sluice.imports.objects import SourceObject
from sluice.imports.parquet_rows import ParquetRows
from sluice.imports.ranges import RangedFile
from sluice.imports.records import BadRow


class Client:
    """An S3 client with one object, which becomes another one after some requests."""

    def __init__(self, content: bytes, changed_after: int | None = None) -> None:
        self._content = content
        self._changed_after = changed_after
        self.requests: list[tuple[int, int]] = []

    def get_object(self, **request: Any) -> dict[str, Any]:
        assert request["IfMatch"] == '"etag"'
        if len(self.requests) == self._changed_after:
            raise FileError("The object was changed after it was discovered")
        first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", request["Range"]).groups())  # type: ignore[union-attr]
        self.requests.append((first, last))
        return {"Body": BytesIO(self._content[first : last + 1])}


def reader(content: bytes, wanted: Any = None, **client: Any) -> ParquetRows:
    return ParquetRows(
        SourceObject(Client(content, **client), "bucket", "key", '"etag"', len(content)),  # type: ignore[arg-type]
        wanted,
    )


def parquet(table: pa.Table, **options: Any) -> bytes:
    target = BytesIO()
    pq.write_table(table, target, **options)
    return target.getvalue()


TABLE = pa.table({"n": list(range(1000)), "name": [f"name {n}" for n in range(1000)]})


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "brotli", "lz4"])
@pytest.mark.parametrize("group", [1000, 300])
def test_reads_the_rows_in_their_order(compression: str, group: int) -> None:
    assert list(reader(parquet(TABLE, compression=compression, row_group_size=group))) == TABLE.to_pylist()


def test_batches_and_blocks_of_any_size_give_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_rows, "_BATCH_ROWS", 7)
    monkeypatch.setattr(parquet_rows, "_MAX_BLOCK", 100)
    monkeypatch.setattr(parquet_rows, "_MIN_BLOCK", 100)
    assert list(reader(parquet(TABLE, compression="none"))) == TABLE.to_pylist()


def test_a_file_without_rows_has_none() -> None:
    assert list(reader(parquet(TABLE.slice(0, 0)))) == []


def test_the_raw_text_of_a_row_has_the_columns_that_were_not_wanted_as_well() -> None:
    rows = reader(parquet(TABLE), {"name"})
    seen = [(row, json.loads(rows.raw())) for row in rows]
    assert seen[999] == ({"name": "name 999"}, {"n": 999, "name": "name 999"})


def test_a_cell_that_cannot_be_read_costs_its_row_only() -> None:
    table = pa.table({"t": pa.array([0, 1 << 62, 0], pa.timestamp("us"))})
    first, second, third = reader(parquet(table))
    assert first == third == {"t": "1970-01-01T00:00:00.000000"}
    assert second == BadRow("t: cannot be read from Parquet: a time outside of the years 1 to 9999")


def damaged_footer() -> bytes:
    content = parquet(TABLE)
    length = int.from_bytes(content[-8:-4], "little")
    return content[: -8 - length] + b"\xff" * length + content[-8:]


def damaged_page() -> bytes:
    content = bytearray(parquet(TABLE, compression="none", write_page_checksum=True))
    content[content.index(b"name 500")] ^= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(parquet(TABLE)[:-1], "ends early: its last bytes are not b'PAR1'", id="cut-off"),
        pytest.param(parquet(TABLE)[:500], "ends early", id="cut-off-in-the-data"),
        pytest.param(b"PAR1", "ends early", id="nothing-but-magic"),
        pytest.param(b"PAR1PAR1", "ends early", id="too-short"),
        pytest.param(b'{"a": 1}\n{"a": 2}\n', "is not Parquet: it begins with b'{\"a\"'", id="json"),
        pytest.param(b"", "is not Parquet", id="empty"),
        pytest.param(b"\x1f\x8b\x08\0" * 9, "is gzip .* without gzip around it", id="gzip"),
        pytest.param(b"PARE" + b"\0" * 20 + b"PARE", "encrypted footer", id="encrypted"),
        pytest.param(damaged_footer(), "has a broken footer", id="broken-footer"),
        pytest.param(b"PAR1" + b"\xff" * 8 + b"PAR1", "has a broken footer", id="footer-beyond-the-file"),
        pytest.param(damaged_page(), "is broken after 0 rows .*checksum", id="broken-page"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(content: bytes, message: str) -> None:
    with pytest.raises(FileError, match=message):
        list(reader(content))


def test_two_columns_of_one_name_are_an_error_of_the_file() -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(FileError, match="names a column twice: 'a'"):
        list(reader(parquet(twice)))


def test_a_flipped_byte_gives_rows_or_a_file_error_and_nothing_else() -> None:
    content = parquet(TABLE.slice(0, 20), compression="snappy")
    refused = 0
    for place in range(0, len(content), 7):
        broken = bytearray(content)
        broken[place] ^= 0x55
        try:
            for row in reader(bytes(broken)):
                assert isinstance(row, (dict, BadRow))
        except FileError:
            refused += 1
    assert refused > 10


def test_an_object_that_changes_while_it_is_read_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_rows, "_MAX_BLOCK", 1000)
    monkeypatch.setattr(parquet_rows, "_MIN_BLOCK", 1000)
    content = parquet(TABLE, compression="none")
    for requests in (0, 1, 4, 10):
        with pytest.raises(FileError, match=r"^The object was changed after it was discovered$"):
            list(reader(content, changed_after=requests))


def test_many_rows_of_nothing_are_taken_for_a_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_rows, "_BOMB_ROWS", 100_000)
    content = parquet(pa.table({"n": pa.nulls(1_000_000, pa.int8())}))
    with pytest.raises(FileError, match=r"1,000,000 rows in [\d,]+ bytes: it is taken for a bomb"):
        list(reader(content))


def test_memory_does_not_grow_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_rows, "_BUFFER_BYTES", 256 << 10)
    pool, held = pa.default_memory_pool(), []
    for rows in (20_000, 80_000):
        text = [f"{number * 2654435761 % 2**32:032x}" * 4 for number in range(rows)]
        # One row group: what is read of it must go, too.
        content = parquet(pa.table({"s": text}), compression="none", use_dictionary=False)
        del text
        arrow, most = pool.bytes_allocated(), 0
        tracemalloc.start()
        try:
            for number, _ in enumerate(reader(content)):
                if number % 1000 == 0:
                    # What Python and Arrow hold together, beyond the file itself.
                    python = tracemalloc.get_traced_memory()[0]
                    most = max(most, python + pool.bytes_allocated() - arrow)
        finally:
            tracemalloc.stop()
        held.append(most)
    assert len(content) > 10_000_000
    assert held[1] < 1.2 * held[0]


def test_a_ranged_file_fetches_each_block_once_and_forgets_old_ones() -> None:
    data = bytes(range(256)) * 4
    fetched: list[tuple[int, int]] = []

    def fetch(start: int, end: int) -> bytes:
        fetched.append((start, end))
        return data[start:end]

    file = RangedFile(fetch, len(data), 100, 2)
    assert file.read(150) == data[:150]
    assert file.read(10) == data[150:160]
    assert fetched == [(0, 100), (100, 200)]
    file.seek(-24, 2)
    assert (file.tell(), file.read(100), file.read(1)) == (1000, data[1000:], b"")
    file.seek(5)
    assert file.read(1) == data[5:6]
    assert fetched == [(0, 100), (100, 200), (1000, 1024), (0, 100)]


def test_a_ranged_file_that_is_shorter_than_listed_is_an_error() -> None:
    file = RangedFile(lambda start, end: b"x", 50, 10, 2)
    with pytest.raises(FileError, match="shorter than its listing"):
        file.read(5)
    assert isinstance(file.failure, FileError)

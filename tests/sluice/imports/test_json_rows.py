"""JSON lines: each line one record or one bad row, and every fault of a whole file one clear error."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.imports import json_rows
from sluice.imports.compression import decompress
from sluice.imports.errors import FileError
from sluice.imports.json_rows import JsonRows
from sluice.imports.records import BadRow
from sluice.raw_text import MAX_RAW_CHARS


def blocks(data: bytes, size: int = 7) -> Iterator[bytes]:
    return (data[i : i + size] for i in range(0, len(data), size))


def read(data: bytes, size: int = 7, encoding: str = "utf-8") -> list[object]:
    return list(JsonRows(blocks(data, size), encoding))


@pytest.mark.parametrize(
    ("data", "encoding", "rows"),
    [
        pytest.param(b'{"a":1}\n{"a":2}\n', "utf-8", [{"a": 1}, {"a": 2}], id="plain"),
        pytest.param(b'{"a":1}\r\n{"a":2}', "utf-8", [{"a": 1}, {"a": 2}], id="windows-no-last-line-end"),
        pytest.param(b'\n \t\r\n{"a":1}\n\n', "utf-8", [{"a": 1}], id="blank-lines-are-no-rows"),
        pytest.param(b'\xef\xbb\xbf{"a":"\xc3\xa9"}\n', "utf-8", [{"a": "é"}], id="byte-order-mark"),
        pytest.param('{"a":"é"}\n'.encode("latin-1"), "latin-1", [{"a": "é"}], id="latin-1"),
        pytest.param('{"a":"é"}\n{}'.encode("utf-16"), "utf-16", [{"a": "é"}, {}], id="utf-16-as-set"),
        pytest.param(b'{"a":1,"b":2,"a":3}', "utf-8", [{"a": 3, "b": 2}], id="last-of-equal-keys"),
        pytest.param('{"a":"x\u2028y"}\n'.encode(), "utf-8", [{"a": "x\u2028y"}], id="only-real-line-ends"),
        pytest.param(b'{"a":"\\ud83d\\ude00"}', "utf-8", [{"a": "😀"}], id="surrogate-pair"),
        pytest.param(b"", "utf-8", [], id="no-rows"),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_reads_one_object_a_line(data: bytes, encoding: str, rows: list[object], size: int) -> None:
    assert read(data, size, encoding) == rows


@pytest.mark.parametrize(
    "number",
    [2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, -(10**18), 10**19, 10**30, -(10**400)],
)
@pytest.mark.parametrize("size", [4, 10_000])
def test_integers_keep_every_digit(number: int, size: int) -> None:
    [row] = read(b'{"a": %d, "b": [{"c": %d}]}' % (number, number), size)
    assert row == {"a": number, "b": [{"c": number}]}
    assert type(row["a"]) is int  # type: ignore[index]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param(b'{"a":1', "is not JSON", id="cut-off"),
        pytest.param(b'{"a":1}{"a":2}', "is not JSON", id="two-on-a-line"),
        pytest.param(b'{"a":NaN}', "is not JSON", id="nan"),
        pytest.param(b"5", "is not an object but the number 5", id="number"),
        pytest.param(b"[1]", "is not an object but a list of 1", id="list"),
        pytest.param(b"null", "is not an object but null", id="null"),
        pytest.param(b'"x"', "is not an object but the string", id="string"),
        pytest.param(b'{"a":"\\ud800"}', "lone surrogate", id="lone-surrogate"),
        pytest.param(b'{"\\udfff":1}', "lone surrogate", id="lone-surrogate-in-a-key"),
        pytest.param(b'{"a":"\\ud800","b":%d}' % 10**30, "lone surrogate", id="surrogate-beside-long-number"),
        pytest.param(b'{"a":"\xe9"}', "the byte 0xe9 is not utf-8: set `encoding`", id="latin-1"),
        pytest.param(b'{"a":"\xed\xa0\x80"}', "the byte 0xed is not utf-8", id="surrogate-in-utf-8"),
        pytest.param(b'{"a":1e400}', "the number 1e400 is too large for a double", id="infinity"),
        pytest.param(b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}", "is not JSON", id="deep"),
        pytest.param(b'{"a":' + b"9" * 5000 + b"}", "is not JSON", id="endless-number"),
        pytest.param(b'{"a":1}\0', "NUL", id="nul"),
    ],
)
@pytest.mark.parametrize("size", [5, 10_000])
def test_a_bad_line_costs_its_row_only(line: bytes, reason: str, size: int) -> None:
    reader = JsonRows(blocks(b'{"n":1}\n\n' + line + b'\n{"n":2}\n', size))
    rows = [(row, reader.raw()) for row in reader]
    assert [row for row, _ in rows[::2]] == [{"n": 1}, {"n": 2}]
    bad, raw = rows[1]
    assert isinstance(bad, BadRow)
    assert reason in bad.reason
    assert raw.encode("utf-8", "surrogateescape") == line


def test_a_broken_line_says_at_which_column() -> None:
    [bad] = read(b'{"a": x}')
    assert bad == BadRow("is not JSON: unexpected character, expected a JSON value at column 7")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b'[{"a":1},{"a":2}]', "JSON array: write one object per line", id="array-on-a-line"),
        pytest.param(b'\n [\n{"a":1}\n]', "JSON array: write one object per line", id="array-over-lines"),
        pytest.param('{"a":1}\n'.encode("utf-16"), "is UTF-16 text, but is read as utf-8", id="utf-16"),
        pytest.param(b"\xfe\xff\0{", "is UTF-16 text", id="utf-16-big-endian"),
        pytest.param('{"a":1}\n'.encode("utf-32"), "is UTF-32 text", id="utf-32"),
        pytest.param('{"a":1}\n'.encode("utf-16-le"), "is UTF-16 or UTF-32 text", id="utf-16-without-mark"),
        pytest.param('{"a":1}\n'.encode("utf-32-be"), "is UTF-16 or UTF-32 text", id="utf-32-without-mark"),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_a_file_that_cannot_be_read_says_why(data: bytes, message: str, size: int) -> None:
    with pytest.raises(FileError, match=message):
        read(data, size)


def test_a_file_that_is_not_the_encoding_set_says_so() -> None:
    with pytest.raises(FileError, match="not utf-16 text"):
        read(b'{"a": 1}\n{"', encoding="utf-16")


def test_json_over_several_lines_is_hinted_at() -> None:
    reader = JsonRows([b'{\n "a": 1\n}\n'])
    assert [type(row) for row in reader] == [BadRow, BadRow, BadRow]
    assert reader.hint() == "the objects stand over several lines each: write one object per line"


@pytest.mark.parametrize("ending", [b"\n", b'"}\n', b'"}'])
def test_a_line_of_100_mb_costs_its_row_and_no_memory(ending: bytes) -> None:
    def content() -> Iterator[bytes]:
        yield b'{"a":1}\n{"a":"'
        for _ in range(100):
            yield b"x" * 1_000_000
        yield ending
        yield b'\n{"a":2}' if ending.endswith(b"\n") else b""

    rows = []
    for piece in JsonRows(content()).pieces():
        assert len(piece.text) < json_rows.MAX_LINE_BYTES + 2_000_000
        reader = piece.reader()
        rows += [(row, reader.raw()) for row in reader]
    assert rows[0] == ({"a": 1}, '{"a":1}')
    assert rows[1][0] == BadRow("a line is longer than 16,777,216 bytes")
    assert rows[1][1].startswith('{"a":"xxx')
    assert len(rows[1][1]) < MAX_RAW_CHARS + 100
    assert [row for row, _ in rows[2:]] == ([{"a": 2}] if ending.endswith(b"\n") else [])


@pytest.mark.parametrize("over", [0, 1])
def test_the_limit_of_a_line_is_exact(monkeypatch: pytest.MonkeyPatch, over: int) -> None:
    monkeypatch.setattr(json_rows, "MAX_LINE_BYTES", 100)
    line = b'{"a":"%s"}' % (b"x" * (92 + over))
    assert len(line) == 100 + over
    for size in (1, 99, 100, 101, 1000):
        first, second = read(line + b"\n{}", size)
        assert isinstance(first, BadRow) == bool(over)
        assert second == {}


def test_a_gzip_bomb_of_one_line_ends_as_a_file_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluice.imports.compression._BOMB_BYTES", 32 << 20)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    data = b"".join(packer.compress(b" " * (1 << 20)) for _ in range(128)) + packer.flush()
    with pytest.raises(FileError, match="gzip bomb"):
        list(JsonRows(decompress(blocks(data, 1 << 16), "gzip")))


def test_a_cut_off_gzip_fails_after_its_rows() -> None:
    text = b"".join(b'{"a":%d}\n' % number for number in range(100_000))
    rows = iter(JsonRows(decompress(blocks(gzip.compress(text)[:-9], 1 << 16), "gzip")))
    assert next(rows) == {"a": 0}
    with pytest.raises(FileError, match="ends early"):
        list(rows)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**17, 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), max_size=6),
    ascii_only=st.booleans(),
    size=st.integers(1, 60),
)
def test_what_the_json_module_writes_is_read_back(
    rows: list[dict[str, object]], ascii_only: bool, size: int
) -> None:
    data = "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in rows).encode()
    assert json.dumps(read(data, size)) == json.dumps(rows)


LINES = st.one_of(
    st.sampled_from([b"", b" \t", b"{}", b"{", b"[]", b"null", b'{"a":"\\ud800"}', b'{"a":1e999}', b"\0"]),
    st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"")),
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.integers().map(lambda number: b'{"n":%d}' % number),
)


@settings(max_examples=120, deadline=None)
@given(lines=st.lists(LINES, max_size=10), size=st.integers(1, 50))
def test_every_line_has_one_fate(lines: list[bytes], size: int) -> None:
    # A good first line keeps the file from being taken for an array or for another encoding.
    reader = JsonRows(blocks(b"\n".join([b'{"first":0}', *lines]), size))
    fates = [(row, reader.raw()) for row in reader]
    assert fates[0][0] == {"first": 0}
    kept = [line for line in lines if line and not line.isspace()]
    assert [raw for _, raw in fates[1:]] == [
        line.decode("utf-8", "surrogateescape").rstrip("\r") for line in kept
    ]
    for (row, _), line in zip(fates[1:], kept, strict=True):
        expected = plain_parse(line)
        assert isinstance(row, BadRow) if expected is None else row == expected


def plain_parse(line: bytes) -> dict[str, object] | None:
    """The object that a line is by Python's own parser; None for anything else, as no object is null."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        value = json.loads(line.decode(), parse_constant=refuse)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        return None
    return value if isinstance(value, dict) else None

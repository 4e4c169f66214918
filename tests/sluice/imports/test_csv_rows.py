"""CSV reading: settings, record numbers, and every fault as one bad row or one clear file error."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.imports import csv_rows
from sluice.imports.csv_rows import CsvFormat, CsvRows
from sluice.imports.errors import FileError
from sluice.imports.records import BadRow
from sluice.raw_text import MAX_RAW_CHARS


def blocks(data: bytes, size: int = 7) -> Iterator[bytes]:
    return (data[i : i + size] for i in range(0, len(data), size))


def read(data: bytes, size: int = 7, **layout: object) -> list[object]:
    return list(CsvRows(blocks(data, size), CsvFormat(**layout)))  # type: ignore[arg-type]


def with_raw(data: bytes, size: int = 7, **layout: object) -> list[tuple[object, str]]:
    reader = CsvRows(blocks(data, size), CsvFormat(**layout))  # type: ignore[arg-type]
    return [(row, reader.raw()) for row in reader]


@pytest.mark.parametrize(
    ("data", "layout", "rows"),
    [
        pytest.param(b"a,b\n1,2\n3,4\n", {}, [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}], id="plain"),
        pytest.param(b"a,b\r\n1,2\r\n", {}, [{"a": "1", "b": "2"}], id="windows-line-ends"),
        pytest.param(b"a,b\r1,2\r", {}, [{"a": "1", "b": "2"}], id="old-mac-line-ends"),
        pytest.param(b"a,b\n1,2", {}, [{"a": "1", "b": "2"}], id="no-last-line-end"),
        pytest.param(b"a,b\n\n1,\n\n", {}, [{"a": "1", "b": ""}], id="blank-lines-are-no-rows"),
        pytest.param(b'a,b\n"1\r\nx","2"\n', {}, [{"a": "1\r\nx", "b": "2"}], id="line-end-in-quotes"),
        pytest.param(b'a\n"say ""hi"""\n', {}, [{"a": 'say "hi"'}], id="doubled-quote"),
        pytest.param(b"a\n'it\\'s'\n", {"quote": "'", "escape": "\\"}, [{"a": "it's"}], id="escape"),
        pytest.param(b'a;b\n"x;";2\n', {"delimiter": ";"}, [{"a": "x;", "b": "2"}], id="semicolon"),
        pytest.param(b'a\n"x"\n', {"quote": None}, [{"a": '"x"'}], id="no-quoting"),
        pytest.param(b"1,2\n", {"columns": ["x", "y"]}, [{"x": "1", "y": "2"}], id="given-columns"),
        pytest.param(b"\xef\xbb\xbfa\n\xc3\xa9\n", {}, [{"a": "é"}], id="byte-order-mark"),
        pytest.param(b"a\n\xe9\n", {"encoding": "latin-1"}, [{"a": "é"}], id="latin-1"),
        pytest.param("a\né\n".encode("utf-16"), {"encoding": "utf-16"}, [{"a": "é"}], id="utf-16"),
        pytest.param("a\nx\u2028y\x0bz\n".encode(), {}, [{"a": "x\u2028y\x0bz"}], id="only-real-line-ends"),
        pytest.param(b"a,b\n", {}, [], id="header-only"),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_reads_what_the_settings_say(
    data: bytes, layout: dict[str, object], rows: list[object], size: int
) -> None:
    assert read(data, size, **layout) == rows


@pytest.mark.parametrize(
    ("data", "layout", "message"),
    [
        pytest.param(b"", {}, "empty", id="empty"),
        pytest.param(b"\n\n", {}, "no header line", id="blank"),
        pytest.param(b"a,b,a\n1,2,3\n", {}, "names a column twice: 'a'", id="column-twice"),
        pytest.param("a,b\n1,2\n".encode("utf-16"), {}, "set `encoding`", id="utf-16-read-as-utf-8"),
        pytest.param(b"a\n\xe9\n\xe9", {"encoding": "utf-16"}, "not utf-16 text", id="utf-8-read-as-utf-16"),
        pytest.param(b'"a\n', {}, "header line cannot be read", id="header-quote-open"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(data: bytes, layout: dict[str, object], message: str) -> None:
    with pytest.raises(FileError, match=message):
        read(data, **layout)


def test_a_row_with_another_number_of_columns_is_bad_alone() -> None:
    assert with_raw(b"a,b\n1\n1,2,3\n4,5\n") == [
        (BadRow("expected 2 columns, found 1"), "1"),
        (BadRow("expected 2 columns, found 3"), "1,2,3"),
        ({"a": "4", "b": "5"}, "4,5"),
    ]


def test_an_undecodable_byte_costs_its_row_only() -> None:
    rows = with_raw(b"a,b\n1,ok\n2,caf\xe9\n3,ok\n")
    assert rows[0] == ({"a": "1", "b": "ok"}, "1,ok")
    bad, raw = rows[1]
    assert isinstance(bad, BadRow)
    assert "the byte 0xe9 is not utf-8" in bad.reason
    assert raw == "2,caf\udce9"
    assert rows[2] == ({"a": "3", "b": "ok"}, "3,ok")


def test_a_nul_character_costs_its_row_only() -> None:
    first, second = read(b"a\n1\0\n2\n")
    assert isinstance(first, BadRow)
    assert "NUL" in first.reason
    assert second == {"a": "2"}


def test_text_after_a_closing_quote_is_an_error_and_not_a_guess() -> None:
    first, second = with_raw(b'a,b\n"x"y,2\n3,4\n')
    assert isinstance(first[0], BadRow)
    assert first[0].reason.startswith("is not valid CSV")
    assert first[1] == '"x"y,2'
    assert second == ({"a": "3", "b": "4"}, "3,4")


def test_a_quote_that_never_closes_ends_with_the_file() -> None:
    [(row, raw)] = with_raw(b'a,b\n1,"2\n3,4\n')
    assert row == BadRow("the file ends inside a quoted cell: a quote is not closed")
    assert raw == '1,"2\n3,4'


def test_a_cell_beyond_the_limit_costs_its_row_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows, "MAX_CELL_CHARS", 1000)
    assert read(b"a,b\n1," + b"x" * 2000 + b"\n3,4\n", 64) == [
        BadRow("a cell is longer than 1,000 characters: is a quote not closed?"),
        {"a": "3", "b": "4"},
    ]


def test_a_line_of_100_mb_costs_its_row_and_no_memory() -> None:
    def content() -> Iterator[bytes]:
        yield b"a,b\n1,2\n3,"
        for _ in range(100):
            yield b"x" * 1_000_000
        yield b"\n5,6\n"

    # The limit is the whole process's: another reader may have set its own before.
    csv.field_size_limit(1 << 30)
    rows = []
    for piece in CsvRows(content(), CsvFormat()).pieces():
        assert len(piece.text) < 3 * csv_rows.MAX_CELL_CHARS
        reader = piece.reader()
        rows += [(row, reader.raw()) for row in reader]
    assert [row for row, _ in rows] == [
        {"a": "1", "b": "2"},
        BadRow("a line is longer than 16,777,216 characters"),
        {"a": "5", "b": "6"},
    ]
    assert rows[1][1].startswith("3,xxx")
    assert len(rows[1][1]) < MAX_RAW_CHARS + 100


def test_a_header_in_another_delimiter_is_hinted_at() -> None:
    reader = CsvRows([b"a;b;c\n1;2;3\n"], CsvFormat())
    assert list(reader) == [{"a;b;c": "1;2;3"}]
    assert reader.hint() == "the header is one column, 'a;b;c': csvDelimiter is ',', should it be ';'?"


CELLS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=12)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(CELLS, min_size=3, max_size=3).filter(any), max_size=8),
    size=st.integers(1, 40),
)
def test_what_the_csv_module_writes_is_read_back(rows: list[list[str]], size: int) -> None:
    target = io.StringIO()
    writer = csv.writer(target, quoting=csv.QUOTE_ALL)
    writer.writerow(["a", "b", "c"])
    writer.writerows(rows)
    data = target.getvalue().encode()
    read_rows = with_raw(data, size)
    assert [list(row.values()) for row, _ in read_rows] == rows  # type: ignore[attr-defined]
    # The raw texts are the file's lines, without one left over.
    assert "".join(raw.rstrip("\r\n") for _, raw in read_rows).replace("\r\n", "") == data.decode().split(
        "\r\n", 1
    )[1].replace("\r\n", "")


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200), size=st.integers(1, 50))
def test_no_bytes_raise_anything_but_a_file_error(data: bytes, size: int) -> None:
    reader = CsvRows(blocks(b"a,b\n" + data, size), CsvFormat())
    try:
        for row in reader:
            assert isinstance(row, BadRow) or len(row) == 2
            assert isinstance(reader.raw(), str)
    except FileError:
        pytest.fail("a file with a good header has rows, good or bad")

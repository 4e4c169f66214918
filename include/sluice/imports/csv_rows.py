"""CSV as records: a header or given columns, any delimiter, quote and escape (decisions I-2).

The file is decoded block by block and split by the csv module, in C. A row that cannot be read is one bad
row; the next one begins on the next line. Cells stay strings, empty ones stay "".
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sluice.converter import ConverterConfig
from sluice.imports.errors import FileError
from sluice.imports.records import BadRow, FileReader, Record
from sluice.raw_text import MAX_RAW_CHARS, cut_raw

# A cell above this makes a bad row, and so does a line; a row may span lines inside quotes, up to the last
# limit, beyond which a quote that never closes would take the rest of the file into memory.
MAX_CELL_CHARS = 4 << 20
MAX_LINE_CHARS = 16 << 20
MAX_ROW_CHARS = 64 << 20

# Bytes that the encoding does not know arrive as these (PEP 383), so that one bad byte costs one row.
_UNDECODED = re.compile("[\udc80-\udcff]")
_DELIMITERS = ",;\t|"
_LINE_ENDS = ("\n", "\r\n", "\r")
# In place of a line beyond the limit: whatever the parser's state, a cell this long ends the row in an error.
_OVERLONG = "x" * (MAX_CELL_CHARS + 1) + "\n"


@dataclass(frozen=True)
class CsvFormat:
    """How a CSV file is written; `columns` are the names if there is no header line."""

    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = None
    columns: Sequence[str] | None = None
    encoding: str = "utf-8"

    @classmethod
    def of(cls, config: ConverterConfig) -> CsvFormat:
        """Take the format from a converter's settings."""
        return cls(
            delimiter=config.csv_delimiter,
            quote=config.csv_quote,
            escape=config.csv_escape,
            columns=None if config.csv_header else config.csv_columns,
            encoding=config.encoding,
        )

    def dialect(self) -> dict[str, Any]:
        """Return the csv module's parameters."""
        return {
            "delimiter": self.delimiter,
            "quotechar": self.quote,
            "quoting": csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            "escapechar": self.escape,
            "doublequote": self.escape is None,
            # Text after a closing quote is an error of the row, not a guess.
            "strict": True,
        }


class CsvRows(FileReader):
    """The rows of one CSV file, streamed; memory holds one block and one row.

    Where rows end, only a parser of quotes and escapes knows: blocks that hold any go through the csv module
    once here and once more in their piece's reader. Without them every line is a row.
    """

    def __init__(self, blocks: Iterable[bytes], layout: CsvFormat) -> None:
        self._blocks = blocks
        self._layout = layout
        self._names: list[str] = []
        # The lines that are in no piece yet, the number of the first, and heads of those that are too long.
        self._lines: list[str] = []
        self._first_line = 0
        self._overlong: dict[int, str] = {}
        # Of these lines, how many the parser has, and after how many the last row ended.
        self._parsed = 0
        self._row_end = 0

    def pieces(self) -> Iterator[CsvPiece]:
        """Yield a piece for each block. Raises FileError for a file without header or with a broken one."""
        # Process-wide in the csv module, so another reader may have set its own; the default of 128 KiB is
        # below what a cell of JSON may hold.
        csv.field_size_limit(MAX_CELL_CHARS)
        windows = self._windows()
        if not self._read_window(windows):
            raise FileError("The file is empty: it has not even a header line.")
        self._names = self._header(windows)
        while self._lines or self._read_window(windows):
            count = self._count_rows(windows)
            lines, overlong = self._take()
            if count:
                yield CsvPiece("".join(lines), count, self._names, self._layout, overlong)

    def columns(self) -> list[str] | None:
        """Return the names of the header, or those that the converter gives."""
        return self._names or None

    def hint(self) -> str | None:
        """Say so if the header looks as if it was written with another delimiter."""
        if len(self._names) == 1:
            for delimiter in _DELIMITERS:
                if delimiter in self._names[0]:
                    return (
                        f"the header is one column, {self._names[0][:80]!r}: csvDelimiter is"
                        f" {self._layout.delimiter!r}, should it be {delimiter!r}?"
                    )
        return None

    def _count_rows(self, windows: Iterator[list[str]]) -> int:
        """Find the rows of the lines at hand, and of as many more as the last of these rows needs."""
        held = len(self._lines)
        if not self._has_marks():
            self._row_end = held
            return held - sum(map(self._lines.count, _LINE_ENDS))
        count = 0
        rows = csv.reader(self._feed(windows), **self._layout.dialect())
        # A row that needed more lines ends in a later window, whose other rows are the next piece's.
        while self._row_end < held:
            try:
                cells = next(rows, None)
            except csv.Error:
                count += 1
            else:
                count += bool(cells)
            self._row_end = self._parsed
        return count

    def _has_marks(self) -> bool:
        marks = [mark for mark in (self._layout.quote, self._layout.escape) if mark]
        return any(mark in line for mark in marks for line in self._lines) if marks else False

    def _feed(self, windows: Iterator[list[str]]) -> Iterator[str]:
        while True:
            while self._parsed < len(self._lines):
                self._parsed += 1
                yield self._lines[self._parsed - 1]
            # The parser asks for more in the middle of a row only.
            if sum(map(len, self._lines[self._row_end :])) > MAX_ROW_CHARS:
                raise FileError(
                    f"The row that begins in line {self._first_line + self._row_end + 1:,} does not end"
                    f" within {MAX_ROW_CHARS:,} characters: a quote is probably not closed there."
                )
            if not self._read_window(windows):
                return

    def _read_window(self, windows: Iterator[list[str]]) -> bool:
        lines = next(windows, None)
        self._lines += lines or ()
        return lines is not None

    def _take(self) -> tuple[list[str], dict[int, str]]:
        """Take off the lines up to the last row's end, and the heads of the long ones by their place."""
        end = self._row_end
        taken, self._lines = self._lines[:end], self._lines[end:]
        last = self._first_line + end
        overlong = {n - self._first_line: head for n, head in self._overlong.items() if n < last}
        self._overlong = {n: head for n, head in self._overlong.items() if n >= last}
        self._first_line, self._row_end, self._parsed = last, 0, 0
        return taken, overlong

    def _header(self, windows: Iterator[list[str]]) -> list[str]:
        if self._layout.columns is not None:
            return list(self._layout.columns)
        rows = csv.reader(self._feed(windows), **self._layout.dialect())
        try:
            names = next((cells for cells in rows if cells), None)
        except csv.Error as error:
            raise FileError(f"The header line cannot be read: {error}.") from error
        self._row_end = self._parsed
        self._take()
        if names is None:
            raise FileError(
                "The file has no header line, only blank ones: if it has none by design, list the names in"
                " csvColumns and set csvHeader to false."
            )
        text = "".join(names)
        if "\0" in text or _UNDECODED.search(text):
            raise FileError(
                f"The header line is not {self._layout.encoding} text: set `encoding` in the converter to the"
                " file's (a file of Windows programs is often utf-16 or cp1252)."
            )
        twice = sorted({name for name in names if name and names.count(name) > 1})
        if twice:
            raise FileError(f"The header names a column twice: {', '.join(map(repr, twice[:5]))}.")
        return names

    def _windows(self) -> Iterator[list[str]]:
        """Yield the lines of one block after the other."""
        count = 0
        begun: list[str] = []
        length = 0
        for text in filter(None, self._texts()):
            if "\n" not in text and "\r" not in text:
                begun.append(text)
                length += len(text)
                if length > MAX_LINE_CHARS:
                    begun = ["".join(begun)[: MAX_RAW_CHARS + 1]]
                continue
            begun.append(text)
            lines = _lines_of("".join(begun))
            begun = [] if lines[-1][-1] in "\r\n" else [lines.pop()]
            if length > MAX_LINE_CHARS:
                self._replace_overlong(count, lines)
            length = len(begun[0]) if begun else 0
            count += len(lines)
            yield lines
        if begun:
            lines = ["".join(begun)]
            if length > MAX_LINE_CHARS:
                self._replace_overlong(count, lines)
            yield lines

    def _replace_overlong(self, number: int, lines: list[str]) -> None:
        self._overlong[number] = lines[0][: MAX_RAW_CHARS + 1]
        lines[0] = _OVERLONG

    def _texts(self) -> Iterator[str]:
        """Decode block by block; a carriage return waits for the line feed that may follow it."""
        encoding = self._layout.encoding
        # A byte order mark is no part of the first column's name.
        name = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
        decoder = codecs.getincrementaldecoder(name)(errors="surrogateescape")
        held = ""
        try:
            for block in self._blocks:
                text = held + decoder.decode(block)
                held = "\r" if text.endswith("\r") else ""
                yield text[:-1] if held else text
            yield held + decoder.decode(b"", final=True)
        except UnicodeError as error:
            raise FileError(
                f"The file is not {encoding} text ({error}): set `encoding` in the converter to the file's."
            ) from error


@dataclass(frozen=True)
class CsvPiece:
    """Lines with whole rows; `overlong` holds the heads of lines beyond the limit, by their place."""

    text: str
    count: int
    names: list[str]
    layout: CsvFormat
    overlong: dict[int, str]

    def reader(self) -> CsvLines:
        """Return the reader of the lines."""
        return CsvLines(self)


class CsvLines:
    """The records of lines with whole rows."""

    def __init__(self, piece: CsvPiece) -> None:
        self._piece = piece
        self._lines = _lines_of(piece.text)
        self._row_start = 0
        self._row_end = 0

    def __iter__(self) -> Iterator[Record | BadRow]:
        """Yield each record or bad row."""
        csv.field_size_limit(MAX_CELL_CHARS)
        names = self._piece.names
        width = len(names)
        suspect = _has_fault(self._piece.text)
        rows = csv.reader(self._lines, **self._piece.layout.dialect())
        while True:
            try:
                for cells in rows:
                    self._row_end = rows.line_num
                    if not cells:
                        pass
                    elif suspect and (reason := self._text_fault()):
                        yield BadRow(reason)
                    elif len(cells) != width:
                        yield BadRow(f"expected {width} columns, found {len(cells)}")
                    else:
                        yield dict(zip(names, cells, strict=True))
                    self._row_start = self._row_end
                return
            except csv.Error as error:
                self._row_end = rows.line_num
                yield BadRow(self._parse_fault(error))
                self._row_start = self._row_end

    def raw(self) -> str:
        """Return the text of the row that was yielded last, as it stands in the file, cut if very long."""
        text = ""
        for number in range(self._row_start, self._row_end):
            text += self._piece.overlong.get(number) or self._lines[number]
            if len(text) > MAX_RAW_CHARS:
                break
        return cut_raw(text.rstrip("\r\n"))

    def _text_fault(self) -> str | None:
        text = "".join(self._lines[self._row_start : self._row_end])
        if "\0" in text:
            return "holds a NUL character: is the file binary, or UTF-16 with another `encoding` set?"
        if bad := _UNDECODED.search(text):
            return (
                f"the byte 0x{ord(bad[0]) - 0xDC00:02x} is not {self._piece.layout.encoding}:"
                " set `encoding` in the converter to the file's"
            )
        return None

    def _parse_fault(self, error: csv.Error) -> str:
        if any(number in self._piece.overlong for number in range(self._row_start, self._row_end)):
            return f"a line is longer than {MAX_LINE_CHARS:,} characters"
        message = str(error)
        if "field larger" in message:
            return f"a cell is longer than {MAX_CELL_CHARS:,} characters: is a quote not closed?"
        if "unexpected end" in message:
            return "the file ends inside a quoted cell: a quote is not closed"
        return f"is not valid CSV: {message}"


def _lines_of(text: str) -> list[str]:
    return io.StringIO(text, newline="").readlines()


def _has_fault(text: str) -> bool:
    if "\0" in text:
        return True
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False

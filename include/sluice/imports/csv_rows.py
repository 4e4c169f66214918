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
from sluice.imports.records import MAX_RAW_CHARS, BadRow, Record, cut_raw

# A cell above this makes a bad row, and so does a line; a row may span lines inside quotes, up to the last
# limit, beyond which a quote that never closes would take the rest of the file into memory.
MAX_CELL_CHARS = 4 << 20
MAX_LINE_CHARS = 16 << 20
MAX_ROW_CHARS = 64 << 20

# Bytes that the encoding does not know arrive as these (PEP 383), so that one bad byte costs one row.
_UNDECODED = re.compile("[\udc80-\udcff]")
_DELIMITERS = ",;\t|"
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


class CsvRows:
    """The rows of one CSV file, streamed; memory holds one block and one row."""

    def __init__(self, blocks: Iterable[bytes], layout: CsvFormat) -> None:
        self._blocks = blocks
        self._layout = layout
        self._window: list[str] = []
        # Line numbers from 0: the window's first line, the row's first line, the line after the row.
        self._window_start = 0
        self._row_start = 0
        self._row_end = 0
        self._suspect = False
        self._overlong: dict[int, str] = {}
        self._names: list[str] = []

    def __iter__(self) -> Iterator[Record | BadRow]:
        """Yield each record or bad row. Raises FileError for a file without header or with a broken one."""
        # Process-wide in the csv module, so another reader may have set its own; the default of 128 KiB is
        # below what a cell of JSON may hold.
        csv.field_size_limit(MAX_CELL_CHARS)
        rows = csv.reader(self._lines(), **self._dialect())
        names = self._names = self._header(rows)
        width = len(names)
        self._row_start = rows.line_num
        while True:
            try:
                for cells in rows:
                    self._row_end = rows.line_num
                    if not cells:
                        pass
                    elif self._suspect and (reason := self._text_fault()):
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
            text += self._overlong.get(number) or self._window[number - self._window_start]
            if len(text) > MAX_RAW_CHARS:
                break
        return cut_raw(text.rstrip("\r\n"))

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

    def _dialect(self) -> dict[str, Any]:
        layout = self._layout
        return {
            "delimiter": layout.delimiter,
            "quotechar": layout.quote,
            "quoting": csv.QUOTE_MINIMAL if layout.quote else csv.QUOTE_NONE,
            "escapechar": layout.escape,
            "doublequote": layout.escape is None,
            # Text after a closing quote is an error of the row, not a guess.
            "strict": True,
        }

    def _header(self, rows: Iterator[list[str]]) -> list[str]:
        if self._layout.columns is not None:
            return list(self._layout.columns)
        try:
            names = next((cells for cells in rows if cells), None)
        except csv.Error as error:
            raise FileError(f"The header line cannot be read: {error}.") from error
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

    def _lines(self) -> Iterator[str]:
        for lines, suspect in self._windows():
            # The row that is being read may have begun in an earlier window.
            begun = self._window[self._row_start - self._window_start :]
            if sum(map(len, begun)) > MAX_ROW_CHARS:
                raise FileError(
                    f"The row that begins in line {self._row_start + 1:,} does not end within"
                    f" {MAX_ROW_CHARS:,} characters: a quote is probably not closed there."
                )
            self._suspect = suspect or (self._suspect and bool(begun))
            self._window = begun + lines
            self._window_start = self._row_start
            yield from lines
        if not self._window:
            raise FileError("The file is empty: it has not even a header line.")

    def _windows(self) -> Iterator[tuple[list[str], bool]]:
        """Yield the lines of one block after the other, and whether a text fault is among them."""
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
            whole = "".join(begun)
            lines = io.StringIO(whole, newline="").readlines()
            begun = [] if lines[-1][-1] in "\r\n" else [lines.pop()]
            if length > MAX_LINE_CHARS:
                self._replace_overlong(count, lines)
            length = len(begun[0]) if begun else 0
            count += len(lines)
            yield lines, _has_fault(whole)
        if begun:
            lines = ["".join(begun)]
            if length > MAX_LINE_CHARS:
                self._replace_overlong(count, lines)
            yield lines, _has_fault(lines[0])

    def _replace_overlong(self, number: int, lines: list[str]) -> None:
        self._overlong = {n: head for n, head in self._overlong.items() if n >= self._row_start}
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

    def _text_fault(self) -> str | None:
        text = "".join(
            self._window[self._row_start - self._window_start : self._row_end - self._window_start]
        )
        if "\0" in text:
            return "holds a NUL character: is the file binary, or UTF-16 with another `encoding` set?"
        if bad := _UNDECODED.search(text):
            return (
                f"the byte 0x{ord(bad[0]) - 0xDC00:02x} is not {self._layout.encoding}:"
                " set `encoding` in the converter to the file's"
            )
        return None

    def _parse_fault(self, error: csv.Error) -> str:
        if any(number in self._overlong for number in range(self._row_start, self._row_end)):
            return f"a line is longer than {MAX_LINE_CHARS:,} characters"
        message = str(error)
        if "field larger" in message:
            return f"a cell is longer than {MAX_CELL_CHARS:,} characters: is a quote not closed?"
        if "unexpected end" in message:
            return "the file ends inside a quoted cell: a quote is not closed"
        return f"is not valid CSV: {message}"


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

"""JSON lines as records: one object a line (decisions D-18).

Blocks are cut into lines and each line is parsed by itself, so a broken one costs one row. Integers keep all
their digits, and of a key that stands twice in an object the last one counts, as in every common parser.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import orjson

from sluice.converter import RowError
from sluice.converter.jsontext import BrokenJson, parse, show
from sluice.imports.errors import FileError
from sluice.imports.records import BadRow, FileReader, Record
from sluice.imports.values import printable
from sluice.raw_text import MAX_RAW_CHARS, cut_raw

# What memory holds of a file: one line, beside one block.
MAX_LINE_BYTES = 16 << 20
# So many bytes have at least the characters that a reject keeps, and one more.
_RAW_BYTES = 4 * (MAX_RAW_CHARS + 1)

# orjson reads integers above 64 bits as doubles: a block that may hold one takes the exact parser. Unsigned
# ones fit up to 19 digits; with a sign, 19 digits may be too many. (Ten times as quick as an expression.)
_ALL_ZERO = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBERS = (b"0" * 20, b"-" + b"0" * 19)
_POSITION = re.compile(r":? ?line 1 column (\d+) \(char \d+\)")

# The longer marks first: UTF-32's begins with UTF-16's.
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class JsonRows(FileReader):
    """The rows of one file of JSON lines, streamed; memory holds one block and one line."""

    def __init__(self, blocks: Iterable[bytes], encoding: str = "utf-8") -> None:
        self._blocks = blocks
        self._encoding = encoding
        self._transcoded = codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig")
        self._pretty = False

    def pieces(self) -> Iterator[JsonPiece]:
        """Yield a piece for each block. Raises FileError for a JSON array and for another encoding."""
        first = True
        for text in self._texts():
            lines = text.split(b"\n")
            count = len(lines) - lines.count(b"") - sum(map(bytes.isspace, lines))
            if not count:
                continue
            if first:
                first = False
                self._look_at_first(next(line for line in lines if line and not line.isspace()))
            yield JsonPiece(text, count, self._transcoded)

    def hint(self) -> str | None:
        """Say so if the file looks like JSON that is written over several lines."""
        if self._pretty:
            return "the objects stand over several lines each: write one object per line"
        return None

    def _look_at_first(self, line: bytes) -> None:
        begin = line.lstrip()
        if begin.startswith(b"["):
            raise FileError(
                "The file is a JSON array: write one object per line, without brackets around them and"
                " without commas between them."
            )
        self._pretty = begin.rstrip() == b"{"

    def _texts(self) -> Iterator[bytes]:
        """Yield whole lines, those that end in one block, without the last line's end.

        A line beyond the limit is given with its beginning only, which is still beyond the limit.
        """
        begun: list[bytes] = []
        length = 0
        for block in self._utf8():
            end = block.rfind(b"\n")
            if end < 0:
                # What exceeds the limit is dropped as it comes.
                if length <= MAX_LINE_BYTES:
                    begun.append(block)
                    length += len(block)
                continue
            whole = block[:end]
            if length > MAX_LINE_BYTES:
                found = whole.find(b"\n")
                whole = whole[found:] if found >= 0 else b""
            yield b"".join([*begun, whole])
            begun = [block[end + 1 :]]
            length = len(begun[0])
        if begun:
            yield b"".join(begun)

    def _utf8(self) -> Iterator[bytes]:
        """Give the file's blocks as UTF-8, without its byte order mark."""
        blocks = iter(self._blocks)
        if self._transcoded:
            blocks = self._transcode(blocks)
        head = b""
        for block in blocks:
            head += block
            if len(head) >= 4:
                break
        self._refuse_other_encodings(head)
        yield from chain([head.removeprefix(codecs.BOM_UTF8)], blocks)

    def _transcode(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Undecodable bytes stay as they are where the encoding allows that, and spoil their line only."""
        decoder = codecs.getincrementaldecoder(self._encoding)(errors="surrogateescape")
        try:
            for block in blocks:
                yield decoder.decode(block).encode("utf-8", "surrogateescape")
            yield decoder.decode(b"", final=True).encode("utf-8", "surrogateescape")
        except UnicodeError as error:
            raise FileError(
                f"The file is not {self._encoding} text ({error}): set `encoding` in the converter to the"
                " file's."
            ) from error

    def _refuse_other_encodings(self, head: bytes) -> None:
        name = next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)
        if name is None and b"\0" in head[:4]:
            # Its first character is ASCII, so in UTF-8 none of the first bytes can be zero.
            name = "UTF-16 or UTF-32"
        if name:
            raise FileError(
                f"The file is {name} text, but is read as {self._encoding}: write it as UTF-8, or set"
                " `encoding` in the converter to the file's, such as utf-16."
            )


@dataclass(frozen=True)
class JsonPiece:
    """Whole lines; `transcoded` says that the file was written in another encoding than UTF-8."""

    text: bytes
    count: int
    transcoded: bool

    def lines(self) -> list[bytes]:
        """Return the lines that are rows."""
        return [line for line in self.text.split(b"\n") if line and not line.isspace()]

    def reader(self) -> JsonLines:
        """Return the reader of the lines."""
        return JsonLines(self.text, self.transcoded)


class JsonLines:
    """The records of whole lines."""

    def __init__(self, text: bytes, transcoded: bool) -> None:
        self._text = text
        self._transcoded = transcoded
        self._line = b""

    def __iter__(self) -> Iterator[Record | BadRow]:
        """Yield each record or bad row."""
        loads = orjson.loads
        exact = _may_hold_long_numbers(self._text)
        for line in self._text.split(b"\n"):
            if not line or line.isspace():
                continue
            self._line = line
            if len(line) > MAX_LINE_BYTES:
                self._line = line[:_RAW_BYTES]
                yield BadRow(f"a line is longer than {MAX_LINE_BYTES:,} bytes")
                continue
            if not exact:
                try:
                    row = loads(line)
                except ValueError:
                    # The other parser knows why, or reads it after all.
                    yield self._exactly(line)
                    continue
                yield row if type(row) is dict else _no_object(row)
            else:
                yield self._exactly(line)

    def raw(self) -> str:
        """Return the line that was yielded last, as it stands in the file, cut if very long."""
        return raw_text(self._line)

    def _exactly(self, line: bytes) -> Record | BadRow:
        """Parse a line without losing a digit, or say why it is no row."""
        try:
            text = line.decode()
            row = parse(text)
            # The exact parser lets a lone surrogate pass.
            if "\\u" in text:
                json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return BadRow("holds half a character (a lone surrogate, \\ud800 to \\udfff), which is no text")
        except UnicodeDecodeError as error:
            hint = "" if self._transcoded else ": set `encoding` in the converter to the file's"
            return BadRow(f"the byte 0x{line[error.start]:02x} is not utf-8{hint}")
        except RowError as error:
            return BadRow(error.reason)
        except (BrokenJson, RecursionError) as error:
            if b"\0" in line:
                return BadRow("holds a NUL character: is the file binary, or UTF-16?")
            return BadRow(f"is not JSON: {_POSITION.sub(_at_column, printable(str(error)))}")
        return row if type(row) is dict else _no_object(row)


def raw_text(line: bytes) -> str:
    """Return a line as it stands in the file, cut if very long."""
    return cut_raw(line[:_RAW_BYTES].decode("utf-8", "surrogateescape").rstrip("\r"))


def _may_hold_long_numbers(text: bytes) -> bool:
    zeros = text.translate(_ALL_ZERO)
    return any(run in zeros for run in _LONG_NUMBERS)


def _no_object(row: object) -> BadRow:
    return BadRow(f"is not an object but {printable(show(row))}")


def _at_column(found: re.Match[str]) -> str:
    return f" at column {found[1]}"

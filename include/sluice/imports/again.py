"""Importing rejected rows again, after a fix, from what the lake keeps of them.

The customer's bucket is not touched. The rows go through the converter of today as a file of their own, which
waits for the source's next run; they keep their place (bucket, key, row), so their uuid and their default
insert_id are those that they would have had.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from sluice.converter import Converter
from sluice.errors import SluiceError
from sluice.imports.blocks import Block, Pipeline, Reject, reject_batch
from sluice.imports.converters import remember
from sluice.imports.csv_rows import CsvFormat, CsvPiece
from sluice.imports.json_rows import JsonPiece
from sluice.imports.records import BadRow, FileReader, Piece, RowReader
from sluice.imports.rejects import RejectedRow, rejects_of_load
from sluice.imports.session import ImportRun
from sluice.imports.tally import Tally
from sluice.ledger import again
from sluice.ledger.again import Rejects
from sluice.ledger.files import SourceFile
from sluice.raw_text import CUT, MAX_RAW_CHARS

# What stands for a byte that was no text, and for NUL, in the text that is kept.
_ESCAPED = re.compile(r"\\udc[89a-f][0-9a-f]|\\0")


class NotAgain(SluiceError):
    """Rejected rows that cannot be imported again; the message says why."""


@dataclass(frozen=True)
class Taken:
    """The rejected rows of one file that wait for the next run; `new` if they did not before."""

    key: str
    rows: int
    new: bool


def import_again(run: ImportRun, keys: Collection[str] = ()) -> list[Taken]:
    """Let the open rejects of a source's files, or of those named, wait for its next run.

    Only files that are done: one that failed as a whole is retried as a whole. Saying it twice takes the rows
    once. Raises NotAgain for a key without open rejects, a failed file, or rows whose columns are not known.
    """
    source = run.source
    found = [one for one in again.open_rejects(run.ledger, source.id) if not keys or one.key in keys]
    for key in sorted(set(keys) - {one.key for one in found}):
        raise NotAgain(
            f"{key} has no rejected rows that are open: `sluice import rejects {source.id}` lists them."
        )
    if keys:
        for one in found:
            if one.state != "done":
                raise NotAgain(
                    f"{one.key} is failed as a whole, so none of its rows is in the lake:"
                    f" `sluice import retry {source.id} {one.key}` takes all of it again."
                )
    found = [one for one in found if one.state == "done"]
    converter = remember(run.lake, run.converter_path)
    for one in found:
        _require_columns(one, converter)
    return [_take(run, one, converter) for one in found]


def _take(run: ImportRun, rejects: Rejects, converter: Converter) -> Taken:
    new = not rejects.waits and again.take(run.ledger, run.source.id, rejects, converter.hash)
    return Taken(rejects.key, rejects.rows, new)


def _require_columns(rejects: Rejects, converter: Converter) -> None:
    if converter.config.file_type == "csv" and converter.config.csv_header and rejects.columns is None:
        raise NotAgain(
            f"The header of {rejects.key} is not known: the ledger's record of it is gone, or the converter"
            " read other files than CSV then. Export the rows, put the header before them, and upload them"
            " as a new file."
        )


class RejectedRows(FileReader):
    """The rejected rows of one file as the pieces of a file, under the numbers that they have there."""

    def __init__(
        self, run: ImportRun, file: SourceFile, converter: Converter, seen: Callable[[int], None]
    ) -> None:
        self._run = run
        self._file = file
        self._seen = seen
        self._file_type = converter.config.file_type
        self._csv = CsvFormat.of(converter.config)
        # The header as it stood in the file, unless the converter names the columns.
        self._names = list(self._csv.columns or (file.report or {}).get("columns") or ())

    def numbered(self) -> Iterator[tuple[int, Piece]]:
        """Yield each row as a piece, with its number in the file."""
        run = self._run
        bucket, number = again.held_in(self._file)
        for row in rejects_of_load(
            run.lake, run.ledger, run.source.project, run.source.id, bucket, self._file.key, number
        ):
            yield row.row, self._read(row)
            self._seen(len(row.raw))

    def pieces(self) -> Iterator[Piece]:
        """Yield each row as a piece."""
        return (piece for _, piece in self.numbered())

    def columns(self) -> list[str] | None:
        """Return the names of the file's columns."""
        return self._names or None

    def hint(self) -> str | None:
        """Say nothing: that most of these rows are bad is no surprise."""
        return None

    def _read(self, row: RejectedRow) -> Piece:
        reason = fault_of_kept(row, self._file_type)
        if reason is None:
            piece: Piece
            if self._file_type == "csv":
                piece = CsvPiece(row.raw + "\n", 1, self._names, self._csv, {})
            else:
                # Rows of Parquet are kept as JSON.
                piece = JsonPiece(row.raw.encode(), 1, transcoded=False)
            found = sum(1 for _ in piece.reader())
            if found == 1:
                return piece
            reason = f"is {found} rows by the converter's settings of today"
        return KeptReject(Reject(row.row, row.field, reason, row.raw))


def fault_of_kept(row: RejectedRow, file_type: str) -> str | None:
    """Say why a rejected row cannot be read from what is kept of it, or None if it can."""
    if row.raw.endswith(CUT) and len(row.raw) >= MAX_RAW_CHARS:
        return f"only its first {MAX_RAW_CHARS:,} characters are kept: upload it in a new file"
    # Without a field, the row could not be read as a record, so what is kept may be less than it was.
    if row.field is None and file_type == "parquet":
        return f"{row.reason}; what is kept of it cannot say it: upload it in a new file"
    if row.field is None and _ESCAPED.search(row.raw):
        return f"{row.reason}; its bytes are kept as escapes only: upload it in a new file"
    return None


@dataclass(frozen=True)
class KeptReject:
    """A rejected row that cannot be read again: a piece, and its own reader, that stays a reject."""

    reject: Reject
    count: int = 1

    def reader(self) -> RowReader:
        """Return the piece itself."""
        return self

    def __iter__(self) -> Iterator[BadRow]:
        """Yield the row as a bad one."""
        yield BadRow(self.reject.reason)

    def raw(self) -> str:
        """Return what is kept of the row."""
        return self.reject.raw


@dataclass(frozen=True)
class StillRejecting:
    """A pipeline that leaves alone what cannot be read again."""

    pipeline: Pipeline

    def block(self, first: int, piece: Piece) -> Block:
        """Convert one piece by the pipeline, unless it is a reject already."""
        if not isinstance(piece, KeptReject):
            return self.pipeline.block(first, piece)
        tally = Tally(read=1)
        tally.reject(piece.reject.field, piece.reject.reason)
        return Block([], [reject_batch([piece.reject])], tally)

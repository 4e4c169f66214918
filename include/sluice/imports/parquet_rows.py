"""Parquet as records (decisions D-17), read in pieces from the object itself.

The file is not copied: its footer, and then a few pages of every column at a time, come by ranged reads that
all name the version that was found. Memory depends on neither the file's nor its row groups' size, but on
that of a page, of which pyarrow holds one per column.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from sluice.converter import RowError
from sluice.converter.parquet import OPTIONS, ParquetJson, UnreadableSchema
from sluice.imports.errors import FileError
from sluice.imports.ranges import RangedFile
from sluice.imports.records import BadRow, FileReader, Record
from sluice.imports.streams import batches_of, stream_of
from sluice.raw_text import cut_raw

if TYPE_CHECKING:
    from sluice.imports.objects import SourceObject

_MAGIC = b"PAR1"
_ENCRYPTED = b"PARE"
_GZIP_MAGIC = b"\x1f\x8b"
# Magic, footer, the footer's length, magic.
_LEAST_BYTES = 12

# What the columns' buffers share, and the bounds of one.
_BUFFER_BYTES = 64 << 20
_MIN_BLOCK = 128 << 10
_MAX_BLOCK = 2 << 20
# A batch by its size in the file, before decompression of values that repeat; and by rows.
_BATCH_BYTES = 8 << 20
_BATCH_ROWS = 4096

# Values that repeat cost nothing in Parquet: a file beyond both marks was made to fill a lake.
_BOMB_ROWS = 10_000_000
_BOMB_ROWS_PER_BYTE = 10

_BROKEN = (pa.ArrowException, OSError, EOFError, ValueError, OverflowError)


class ParquetRows(FileReader):
    """The rows of one Parquet file; `wanted` are the columns that the records need, None for all."""

    def __init__(self, content: SourceObject, wanted: Collection[str] | None = None) -> None:
        self._content = content
        self._wanted = None if wanted is None else frozenset(wanted)

    def pieces(self) -> Iterator[ParquetPiece]:
        """Yield a piece for each batch. Raises FileError for what is no Parquet, or broken."""
        metadata = self._footer()
        block = min(max(_BUFFER_BYTES // max(metadata.num_columns, 1), _MIN_BLOCK), _MAX_BLOCK)
        # A column's buffer may begin in the middle of a block, so it takes two.
        file = self._content.file(block, 2 * metadata.num_columns + 8)
        with self._reading(file, "is broken"):
            parquet = pq.ParquetFile(file, metadata=metadata, buffer_size=block, **OPTIONS)
        with parquet:
            yield from self._pieces(parquet, file)

    def hint(self) -> str | None:
        """Nothing about a Parquet file can be set wrongly."""
        return None

    def _pieces(self, parquet: pq.ParquetFile, file: RangedFile) -> Iterator[ParquetPiece]:
        try:
            ParquetJson(parquet.schema_arrow)
        except UnreadableSchema as error:
            raise FileError(str(error)) from error
        batches = parquet.iter_batches(_rows_of_a_batch(parquet.metadata), use_threads=False)
        done = 0
        while True:
            with self._reading(file, f"is broken after {done:,} rows"):
                batch = next(batches, None)
            if batch is None:
                return
            yield ParquetPiece(batch, self._wanted)
            done += batch.num_rows
            # One block may hold rows for many minutes.
            self._content.seen(0)

    def _footer(self) -> pq.FileMetaData:
        file = self._content.file(_MAX_BLOCK, 2)
        self._check_frame(file)
        with self._reading(file, "has a broken footer"):
            metadata = pq.read_metadata(file)
        if metadata.num_rows > max(_BOMB_ROWS, _BOMB_ROWS_PER_BYTE * self._content.size):
            raise FileError(
                f"The file has {metadata.num_rows:,} rows in {self._content.size:,} bytes: it is taken for a"
                " bomb of values that repeat; split it if its content is meant."
            )
        return metadata

    def _check_frame(self, file: RangedFile) -> None:
        head = file.read(len(_MAGIC))
        if head.startswith(_GZIP_MAGIC):
            raise FileError(
                "The file is gzip (magic bytes 1f 8b): Parquet compresses inside, so upload it without gzip"
                " around it; compressionType stays none."
            )
        if head == _ENCRYPTED:
            raise FileError("The file is Parquet with an encrypted footer: write it without encryption.")
        if head != _MAGIC:
            raise FileError(
                f"The file is not Parquet: it begins with {head!r}, not with {_MAGIC!r}. Set fileType in the"
                " converter to the file's."
            )
        file.seek(max(len(_MAGIC), self._content.size - len(_MAGIC)))
        if self._content.size < _LEAST_BYTES or file.read(len(_MAGIC)) != _MAGIC:
            raise FileError(
                f"The Parquet file ends early: its last bytes are not {_MAGIC!r}, so the upload or the writer"
                " was cut off; upload it again under a new name."
            )
        file.seek(0)

    @contextmanager
    def _reading(self, file: RangedFile, fault: str) -> Iterator[None]:
        try:
            yield
        except _BROKEN as error:
            if file.failure is not None:
                # Not the file but the way to it: pyarrow may have wrapped what the store answered.
                raise file.failure from error
            raise FileError(
                f"The Parquet file {fault} ({error}): it was damaged or written by a faulty program; write it"
                " again under a new name."
            ) from error


class ParquetPiece:
    """A batch as it stands in the file; `wanted` are the columns that the records need, None for all."""

    def __init__(self, batch: pa.RecordBatch, wanted: frozenset[str] | None) -> None:
        self._batch = batch
        self._wanted = wanted

    @property
    def count(self) -> int:
        """How many rows it has."""
        return int(self._batch.num_rows)

    def reader(self) -> ParquetBatch:
        """Return the reader of the batch."""
        return ParquetBatch(self._batch, self._wanted)

    def __reduce__(self) -> tuple[Any, ...]:
        # Arrow's stream, as a pickled batch would carry the whole buffers that it is a slice of.
        return _unpickled, (stream_of([self._batch]), self._wanted)


def _unpickled(stream: bytes, wanted: frozenset[str] | None) -> ParquetPiece:
    [batch] = batches_of(stream)
    return ParquetPiece(batch, wanted)


class ParquetBatch:
    """The records of one batch."""

    def __init__(self, batch: pa.RecordBatch, wanted: frozenset[str] | None) -> None:
        self._batch = batch
        self._wanted = wanted
        self._place = 0

    def __iter__(self) -> Iterator[Record | BadRow]:
        """Yield each record or bad row."""
        rows = ParquetJson(self._batch.schema, self._wanted).rows(self._batch)
        for self._place, row in enumerate(rows):
            yield BadRow(str(row)) if isinstance(row, RowError) else row

    def raw(self) -> str:
        """Return the row that was yielded last as JSON text with all its columns, cut if very long."""
        return cut_raw(ParquetJson(self._batch.schema).text(self._batch.slice(self._place, 1)))


def _rows_of_a_batch(metadata: pq.FileMetaData) -> int:
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    largest = max((group.total_byte_size / group.num_rows for group in groups if group.num_rows), default=0)
    return max(1, min(_BATCH_ROWS, int(_BATCH_BYTES / max(largest, 1))))

"""Reads Parquet files that are ordered by amplitude_id side by side, a bounded range of ids at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from sluice.cohorts.list_files import AMPLITUDE_ID
from sluice.errors import SluiceError

# What a batch of one file may take in memory: by rows, and by bytes where a row is long.
_MIN_ROWS, _ROWS = 1_000, 1 << 17
_BYTES = 64 << 20


class UnorderedList(SluiceError):
    """A file that has to be ordered by amplitude_id is not."""


@dataclass(frozen=True)
class Source:
    """Rows ordered by amplitude_id, which is the first column: a batch after the other."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


def read_file(path: Path, columns: Sequence[str], executor: Executor) -> Source:
    """Open a file; while a batch is worked on, the executor reads the next one.

    The columns come as they are asked for. Raises UnorderedList on the way.
    """
    file = pq.ParquetFile(path)
    schema = pa.schema([file.schema_arrow.field(name) for name in columns])
    return Source(schema, _in_order(path, _ahead(_batches(file, columns), executor)))


def ids_of(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """Return the amplitude_ids of a batch, without a copy."""
    ids: npt.NDArray[np.int64] = batch.column(AMPLITUDE_ID).to_numpy(zero_copy_only=True)
    return ids


def side_by_side(sources: Sequence[Source]) -> Iterator[list[pa.RecordBatch]]:
    """Yield, range by range, the rows of each source: an id's rows are never in two ranges."""
    buffers = [_Buffer(source) for source in sources]
    while True:
        for buffer in buffers:
            buffer.fill_if_empty()
        open_ends = [buffer.last_id for buffer in buffers if not buffer.ended]
        if not open_ends:
            yield [buffer.take_all() for buffer in buffers]
            return
        # More rows of the last id may follow, so the range ends before it.
        bound = min(open_ends)
        rows = [buffer.take_below(bound) for buffer in buffers]
        if any(len(part) for part in rows):
            yield rows
        else:
            for buffer in buffers:
                if not buffer.ended and buffer.last_id == bound:
                    buffer.fill()


class _Buffer:
    """The rows of a source that were read and not yet given out."""

    def __init__(self, source: Source) -> None:
        self._batches = source.batches
        self._rows = pa.RecordBatch.from_arrays(
            [pa.array([], field.type) for field in source.schema], schema=source.schema
        )
        self.ended = False

    @property
    def last_id(self) -> int:
        return int(ids_of(self._rows)[-1])

    def fill_if_empty(self) -> None:
        if not self.ended and not len(self._rows):
            self.fill()

    def fill(self) -> None:
        batch = next(self._batches, None)
        if batch is None:
            self.ended = True
        elif len(self._rows):
            self._rows = pa.concat_batches([self._rows, batch])
        else:
            self._rows = batch

    def take_below(self, bound: int) -> pa.RecordBatch:
        end = int(np.searchsorted(ids_of(self._rows), bound))
        taken, self._rows = self._rows.slice(0, end), self._rows.slice(end)
        return taken

    def take_all(self) -> pa.RecordBatch:
        taken, self._rows = self._rows, self._rows.slice(len(self._rows))
        return taken


def _batches(file: pq.ParquetFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    metadata = file.metadata
    size = sum(metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups))
    per_row = max(1, size // max(1, metadata.num_rows))
    rows = max(_MIN_ROWS, min(_ROWS, _BYTES // per_row))
    for batch in file.iter_batches(rows, columns=list(dict.fromkeys(columns))):
        if len(batch):
            yield batch.select(list(columns))


def _ahead(batches: Iterator[pa.RecordBatch], executor: Executor) -> Iterator[pa.RecordBatch]:
    coming = executor.submit(next, batches, None)
    while (batch := coming.result()) is not None:
        coming = executor.submit(next, batches, None)
        yield batch


def _in_order(path: Path, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    last = None
    for batch in batches:
        ids = ids_of(batch)
        if (last is not None and ids[0] < last) or bool((ids[1:] < ids[:-1]).any()):
            raise UnorderedList(
                f"{path.name} is not ordered by {AMPLITUDE_ID}: it was not written by this version of Sluice."
                " Let the sync run again."
            )
        last = ids[-1]
        yield batch

"""Reads data files whose times overlap as one sequence in the total order, with memory that does not grow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from sluice.lake.data_files import is_sorted
from sluice.lake.reorder import reorder
from sluice.lake.schema import EVENTS, ORDER

# Gives the rows of one file with the columns of a schema.
ReadRows = Callable[[pq.ParquetFile, pa.Schema], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class TimedFile:
    """A data file of `events`, and the first and last server_upload_time that it can hold."""

    path: str
    first: datetime
    last: datetime

    @classmethod
    def of(cls, path: str, first: datetime | None, last: datetime | None) -> TimedFile:
        """Name a file; without bounds, as another engine may write it, it can hold any time."""
        return cls(path, first or datetime.min.replace(tzinfo=UTC), last or datetime.max.replace(tzinfo=UTC))


def in_order(
    filesystem: pafs.FileSystem,
    files: Iterable[TimedFile],
    read: ReadRows,
    schema: pa.Schema,
    batch_rows: int,
    *,
    whole_files: bool = False,
) -> Iterator[pa.RecordBatch]:
    """Yield what `read` gives of the files, by (server_upload_time, loaded_at, seq).

    A sorted file that overlaps no other in time is simply read; the others are read twice, first for the
    order of their rows, and put into it on the way: 170 bytes of memory a row. With `whole_files` what is
    read of a file is fetched in few requests and held in memory, which suits small ones.
    """
    for group in _overlapping(sorted(files, key=lambda file: (file.first, file.path))):
        if len(group) == 1:
            with _open(filesystem, group[0], whole_files) as parquet:
                if is_sorted(parquet, ORDER):
                    yield from read(parquet, schema)
                    continue
        yield from _sorted(filesystem, group, read, schema, batch_rows, whole_files)


def _overlapping(files: Iterable[TimedFile]) -> list[list[TimedFile]]:
    """Group files, which come by their first time, so that the times of two groups never overlap."""
    groups: list[list[TimedFile]] = []
    last = datetime.min.replace(tzinfo=UTC)
    for file in files:
        if groups and file.first <= last:
            groups[-1].append(file)
        else:
            groups.append([file])
        last = max(last, file.last)
    return groups


@contextmanager
def _open(filesystem: pafs.FileSystem, file: TimedFile, whole: bool) -> Iterator[pq.ParquetFile]:
    with (
        filesystem.open_input_file(file.path) as source,
        pq.ParquetFile(source, pre_buffer=whole) as parquet,
    ):
        yield parquet


def _sorted(
    filesystem: pafs.FileSystem,
    files: Sequence[TimedFile],
    read: ReadRows,
    schema: pa.Schema,
    batch_rows: int,
    whole_files: bool,
) -> Iterator[pa.RecordBatch]:
    def rows(wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
        for file in files:
            with _open(filesystem, file, whole_files) as parquet:
                yield from read(parquet, wanted)

    order = pa.schema([EVENTS.field(name) for name in ORDER])
    keys = pa.Table.from_batches(rows(order), order)
    by_key = pc.sort_indices(keys, [(name, "ascending") for name in ORDER]).to_numpy()
    places = np.empty(len(by_key), dtype=np.int64)
    places[by_key] = np.arange(len(by_key))
    yield from reorder(rows(schema), places, schema, batch_rows)

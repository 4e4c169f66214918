"""Writes a table's Parquet files, in the order of the rows and with memory that does not grow.

deltalake's own writer neither keeps the order of rows nor lets a commit follow later; so the files are
written here, and a commit names them. A file that no commit names is not part of the table; maintenance
removes it.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

# Rows held in memory before they become a row group, or earlier if they are large; a reader of one hour
# prunes by row group.
ROW_GROUP_ROWS = 20_000
ROW_GROUP_BYTES = 64 << 20
# About 200 MB of events of 1 KB.
FILE_ROWS = 1_000_000

# Of these nearly every row has another value: a dictionary would be built in vain.
_DISTINCT_COLUMNS = frozenset(
    {"$insert_id", "client_event_time", "dedup_hi", "dedup_lo", "event_time", "row", "seq", "uuid"}
)

# Columns with bounds in the log, by which readers skip files.
BOUNDED_COLUMNS = ("server_upload_time", "loaded_at", "amplitude_id", "n")


# A file's metadata: the columns by which all its rows are sorted. What another writer makes of the rows, such
# as a compaction, does not have it.
_SORTED_BY = "sluice.sorted_by"


def write_data_files(
    filesystem: pafs.FileSystem,
    batches: Iterable[pa.RecordBatch],
    partition_by: list[str],
    sorted_by: Sequence[str] = (),
    file_bytes: int | None = None,
) -> list[AddAction]:
    """Write batches as data files of a table and return the actions that a commit needs to add them.

    `filesystem` is rooted at the table. Rows of one partition must be adjacent, or a partition gets more
    files than it needs. Each file keeps the rows' order, and says so if it is that of `sorted_by`. A file
    ends after 1,000,000 rows, or with `file_bytes` once it has as many bytes, however many its rows are.
    """
    actions: list[AddAction] = []
    metadata = {_SORTED_BY: ",".join(sorted_by)}
    for partition, pieces in groupby(_split(batches, partition_by), key=itemgetter(0)):
        rows = (rows for _, rows in pieces)
        actions.extend(_write_partition(filesystem, partition, rows, metadata, file_bytes))
    return actions


def is_sorted(file: pq.ParquetFile, sorted_by: Sequence[str]) -> bool:
    """Whether the file says of itself that all its rows are sorted by these columns."""
    metadata = file.metadata.metadata or {}
    return metadata.get(_SORTED_BY.encode()) == ",".join(sorted_by).encode()


def _split(
    batches: Iterable[pa.RecordBatch], partition_by: list[str]
) -> Iterator[tuple[dict[str, str], pa.RecordBatch]]:
    """Cut each batch where a partition column's value changes; the pieces no longer hold these columns."""
    for batch in batches:
        rest = batch.drop_columns(partition_by)
        for start, end in pairwise(_breaks(batch, partition_by)):
            values = {name: _partition_text(batch.column(name)[start].as_py()) for name in partition_by}
            yield values, rest.slice(start, end - start)


def _breaks(batch: pa.RecordBatch, names: list[str]) -> list[int]:
    """Return the places at which one of the columns, none of which has nulls, changes; the ends included."""
    rows = batch.num_rows
    if not rows:
        return []
    changes = np.zeros(rows - 1, dtype=bool)
    for name in names:
        column = batch.column(name)
        changes |= pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    return [0, *(np.flatnonzero(changes) + 1).tolist(), rows]


def _partition_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _write_partition(
    filesystem: pafs.FileSystem,
    partition: dict[str, str],
    batches: Iterator[pa.RecordBatch],
    metadata: dict[str, str],
    file_bytes: int | None,
) -> Iterator[AddAction]:
    folder = "/".join(f"{name}={quote(value, safe='')}" for name, value in partition.items())
    if _has_folders(filesystem):
        filesystem.create_dir(folder, recursive=True)
    groups = _row_groups(batches)
    first = next(groups, None)
    while first is not None:
        path = f"{folder}/part-{uuid.uuid4()}.zstd.parquet"
        statistics = _Statistics()
        with (
            filesystem.open_output_stream(path) as stream,
            pq.ParquetWriter(
                stream,
                first.schema,
                compression="zstd",
                use_dictionary=[name for name in first.schema.names if name not in _DISTINCT_COLUMNS],
                write_statistics=[name for name in first.schema.names if name in BOUNDED_COLUMNS],
                # Without Arrow's own schema a dictionary is read as the values that it stands for.
                store_schema=False,
            ) as writer,
        ):
            group: pa.Table | None = first
            while group is not None and (
                statistics.rows < FILE_ROWS if file_bytes is None else stream.tell() < file_bytes
            ):
                writer.write_table(group, row_group_size=group.num_rows)
                statistics.add(group)
                group = next(groups, None)
            writer.add_key_value_metadata(metadata)
            writer.close()
            size = stream.tell()
        first = group
        yield AddAction(
            path=path,
            size=size,
            partition_values=partition,
            modification_time=int(time.time() * 1000),
            data_change=True,
            stats=statistics.to_json(),
        )


def _has_folders(filesystem: pafs.FileSystem) -> bool:
    """Whether a folder must be made before a file in it: not on S3, where it would cost a request."""
    while isinstance(filesystem, pafs.SubTreeFileSystem):
        filesystem = filesystem.base_fs
    return isinstance(filesystem, pafs.LocalFileSystem)


def _row_groups(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for piece in (piece for batch in batches for piece in _pieces(batch)):
        held.append(piece)
        rows += piece.num_rows
        size += piece.nbytes
        if rows >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
            yield pa.Table.from_batches(held).unify_dictionaries()
            held, rows, size = [], 0, 0
    if held:
        yield pa.Table.from_batches(held).unify_dictionaries()


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for start in range(0, batch.num_rows, ROW_GROUP_ROWS):
        yield batch.slice(start, ROW_GROUP_ROWS)


class _Statistics:
    """The statistics of one file, in the form of the Delta protocol."""

    def __init__(self) -> None:
        self.rows = 0
        self._low: dict[str, Any] = {}
        self._high: dict[str, Any] = {}

    def add(self, table: pa.Table) -> None:
        self.rows += table.num_rows
        for name in BOUNDED_COLUMNS:
            if name not in table.column_names:
                continue
            bounds = pc.min_max(table.column(name)).as_py()
            if bounds["min"] is not None:
                self._low[name] = min(bounds["min"], self._low.get(name, bounds["min"]))
                self._high[name] = max(bounds["max"], self._high.get(name, bounds["max"]))

    def to_json(self) -> str:
        return json.dumps(
            {
                "numRecords": self.rows,
                "minValues": {name: _bound(value, up=False) for name, value in self._low.items()},
                "maxValues": {name: _bound(value, up=True) for name, value in self._high.items()},
                "nullCount": {},
            }
        )


def _bound(value: Any, *, up: bool) -> Any:
    if not isinstance(value, datetime):
        return value
    # The protocol keeps milliseconds: a lower bound is cut, an upper bound is rounded up.
    if up and value.microsecond % 1000:
        value += timedelta(milliseconds=1)
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"

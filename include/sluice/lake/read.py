"""Reads one hour of one project at one version, in its total order and with memory that does not grow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from deltalake import DeltaTable

from sluice.lake.data_files import is_sorted
from sluice.lake.projection import HOUR
from sluice.lake.reorder import reorder
from sluice.lake.schema import EVENTS, ORDER, TIMESTAMP
from sluice.lake.store import Lake

_FIRST, _LAST = "min.server_upload_time", "max.server_upload_time"


@dataclass(frozen=True)
class _File:
    path: str
    first: datetime
    last: datetime


def read_hour(
    lake: Lake,
    project: int,
    hour: datetime,
    version: int,
    columns: Sequence[str] | None = None,
    batch_rows: int = 20_000,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the hour of server_upload_time, by (server_upload_time, loaded_at, seq).

    `columns` defaults to all. The order is a function of the rows alone: compaction does not change it. A
    sorted file that overlaps no other in time is simply read; the others are put in order on the way.
    """
    schema = pa.schema([EVENTS.field(name) for name in columns or EVENTS.names])
    for files in _overlapping(_files(lake.events(version), project, hour)):
        if len(files) == 1:
            with _open(lake, files[0]) as parquet:
                if is_sorted(parquet, ORDER):
                    yield from _read_file(parquet, project, hour, schema, batch_rows)
                    continue
        yield from _read_sorted(lake, files, project, hour, schema, batch_rows)


def _files(table: DeltaTable, project: int, hour: datetime) -> list[_File]:
    """Return the data files that can hold rows of the hour, by their first time."""
    actions = pa.table(table.get_add_actions(flatten=True))
    if not actions.num_rows:
        return []
    for name in {_FIRST, _LAST} - set(actions.column_names):
        actions = actions.append_column(name, pa.nulls(actions.num_rows, TIMESTAMP))
    first, last = pads.field(_FIRST), pads.field(_LAST)
    # A file of which the log gives no bounds, as another engine may write it, can hold any time.
    selected = actions.filter(
        (pads.field("partition.app") == project)
        & (pads.field("partition.upload_date") == pa.scalar(hour.date(), pa.date32()))
        & (first.is_null() | (first < pa.scalar(hour + HOUR, TIMESTAMP)))
        & (last.is_null() | (last >= pa.scalar(hour, TIMESTAMP)))
    )
    files = [
        _File(
            row["path"],
            row[_FIRST] or datetime.min.replace(tzinfo=UTC),
            row[_LAST] or datetime.max.replace(tzinfo=UTC),
        )
        for row in selected.select(["path", _FIRST, _LAST]).to_pylist()
    ]
    return sorted(files, key=lambda file: (file.first, file.path))


def _overlapping(files: Iterable[_File]) -> list[list[_File]]:
    """Group files, which come by their first time, so that the times of two groups never overlap."""
    groups: list[list[_File]] = []
    last = datetime.min.replace(tzinfo=UTC)
    for file in files:
        if groups and file.first <= last:
            groups[-1].append(file)
        else:
            groups.append([file])
        last = max(last, file.last)
    return groups


@contextmanager
def _open(lake: Lake, file: _File) -> Iterator[pq.ParquetFile]:
    with (
        lake.table_filesystem("events").open_input_file(file.path) as source,
        pq.ParquetFile(source) as parquet,
    ):
        yield parquet


def _read_file(
    parquet: pq.ParquetFile, project: int, hour: datetime, schema: pa.Schema, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Stream the rows of one file that lie in the hour, row groups outside it unread."""
    groups = _row_groups(parquet, hour)
    physical = [name for name in schema.names if name in parquet.schema_arrow.names]
    needed = list(dict.fromkeys([*physical, "server_upload_time"]))
    for batch in parquet.iter_batches(batch_rows, row_groups=groups, columns=needed):
        times = batch.column("server_upload_time").cast(TIMESTAMP)
        rows = batch.filter(_within(times, hour))
        if rows.num_rows:
            yield _shape(rows, project, hour, schema)


def _row_groups(parquet: pq.ParquetFile, hour: datetime) -> list[int]:
    column = parquet.schema_arrow.names.index("server_upload_time")
    groups = []
    for index in range(parquet.metadata.num_row_groups):
        bounds = parquet.metadata.row_group(index).column(column).statistics
        if bounds is None or not bounds.has_min_max or (bounds.min < hour + HOUR and bounds.max >= hour):
            groups.append(index)
    return groups


def _within(times: pa.Array, hour: datetime) -> pa.Array:
    return pc.and_(
        pc.greater_equal(times, pa.scalar(hour, TIMESTAMP)), pc.less(times, pa.scalar(hour + HOUR, TIMESTAMP))
    )


def _shape(rows: pa.RecordBatch, project: int, hour: datetime, schema: pa.Schema) -> pa.RecordBatch:
    """Give rows of a file the columns asked for, the partition's among them."""
    constants = {"app": pa.scalar(project, pa.int64()), "upload_date": pa.scalar(hour.date(), pa.date32())}
    columns = [
        pa.repeat(constants[field.name], rows.num_rows)
        if field.name in constants
        else rows.column(field.name).cast(field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _read_sorted(
    lake: Lake, files: list[_File], project: int, hour: datetime, schema: pa.Schema, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Read files twice: first for the rows' order, then for the rows, which are put into it."""

    def rows(wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
        for file in files:
            with _open(lake, file) as parquet:
                yield from _read_file(parquet, project, hour, wanted, batch_rows)

    order = pa.schema([EVENTS.field(name) for name in ORDER])
    keys = pa.Table.from_batches(rows(order), order)
    by_key = pc.sort_indices(keys, [(name, "ascending") for name in ORDER]).to_numpy()
    places = np.empty(len(by_key), dtype=np.int64)
    places[by_key] = np.arange(len(by_key))
    yield from reorder(rows(schema), places, schema, batch_rows)

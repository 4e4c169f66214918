"""Reads one hour of one project at one version, in its total order and with memory that does not grow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from deltalake import DeltaTable

from sluice.lake.merge import TimedFile, in_order
from sluice.lake.projection import HOUR
from sluice.lake.schema import EVENTS, TIMESTAMP
from sluice.lake.store import Lake

_FIRST, _LAST = "min.server_upload_time", "max.server_upload_time"


def read_hour(
    lake: Lake,
    project: int,
    hour: datetime,
    version: int,
    columns: Sequence[str] | None = None,
    batch_rows: int = 20_000,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the hour of server_upload_time, by (server_upload_time, loaded_at, seq).

    `columns` defaults to all. The order is a function of the rows alone: compaction does not change it.
    """
    schema = pa.schema([EVENTS.field(name) for name in columns or EVENTS.names])
    files = _files(lake.events(version), project, hour)
    read = partial(_read_file, project=project, hour=hour, batch_rows=batch_rows)
    yield from in_order(lake.table_filesystem("events"), files, read, schema, batch_rows)


def _files(table: DeltaTable, project: int, hour: datetime) -> list[TimedFile]:
    """Return the data files that can hold rows of the hour."""
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
    return [
        TimedFile.of(row["path"], row[_FIRST], row[_LAST])
        for row in selected.select(["path", _FIRST, _LAST]).to_pylist()
    ]


def _read_file(
    parquet: pq.ParquetFile, schema: pa.Schema, *, project: int, hour: datetime, batch_rows: int
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

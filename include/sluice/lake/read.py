"""Reads one hour of one project at one version, in its total order and with memory that does not grow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from deltalake import DeltaTable

from sluice.lake.projection import HOUR
from sluice.lake.schema import EVENTS, TIMESTAMP
from sluice.lake.sql import connect
from sluice.lake.store import Lake

# The columns of the total order of a project's rows.
_ORDER = ("server_upload_time", "loaded_at", "seq")


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

    `columns` defaults to all. The order is a function of the rows alone: compaction does not change it. Files
    whose times do not overlap are simply read one after the other; only others are sorted.
    """
    names = list(columns or EVENTS.names)
    schema = pa.schema([EVENTS.field(name) for name in names])
    table = DeltaTable(f"{lake.uri}/events", version=version, storage_options=lake.storage_options)
    files = _files(table, project, hour)
    if not files:
        return
    if all(one.last < next_.first for one, next_ in pairwise(files)):
        for file in files:
            yield from _read_file(lake, file, project, hour, schema, batch_rows)
    else:
        yield from _read_sorted(lake, files, project, hour, schema, batch_rows)


def _files(table: DeltaTable, project: int, hour: datetime) -> list[_File]:
    """Return the data files that can hold rows of the hour, by their first time."""
    actions = pa.table(table.get_add_actions(flatten=True))
    if not actions.num_rows:
        return []
    selected = actions.filter(
        (pads.field("partition.app") == project)
        & (pads.field("partition.upload_date") == pa.scalar(hour.date(), pa.date32()))
        & (pads.field("min.server_upload_time") < pa.scalar(hour + HOUR, TIMESTAMP))
        & (pads.field("max.server_upload_time") >= pa.scalar(hour, TIMESTAMP))
    )
    files = [
        _File(row["path"], row["min.server_upload_time"], row["max.server_upload_time"])
        for row in selected.select(["path", "min.server_upload_time", "max.server_upload_time"]).to_pylist()
    ]
    return sorted(files, key=lambda file: (file.first, file.path))


def _read_file(
    lake: Lake, file: _File, project: int, hour: datetime, schema: pa.Schema, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Stream the rows of one file that lie in the hour, row groups outside it unread."""
    filesystem = lake.table_filesystem("events")
    with pq.ParquetFile(filesystem.open_input_file(file.path)) as parquet:
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
        if bounds is None or (bounds.min < hour + HOUR and bounds.max >= hour):
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
    """Read overlapping files through one sort, which may spill to disk."""
    full = pa.schema([EVENTS.field(name) for name in dict.fromkeys([*schema.names, *_ORDER])])
    rows = (batch for file in files for batch in _read_file(lake, file, project, hour, full, batch_rows))
    with connect() as connection:
        connection.register("hour", pa.RecordBatchReader.from_batches(full, rows))
        wanted = ", ".join(f'"{name}"' for name in schema.names)
        ordered = connection.sql(f"SELECT {wanted} FROM hour ORDER BY {', '.join(_ORDER)}")
        for batch in ordered.to_arrow_reader(batch_rows):
            yield pa.RecordBatch.from_arrays(
                [column.cast(field.type) for column, field in zip(batch.columns, schema, strict=True)],
                schema=schema,
            )

"""Reads hours of one project at one version, in their total order and with memory that does not grow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

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
    yield from EventReader(lake, version).read(project, hour, hour + HOUR, columns, batch_rows)


class EventReader:
    """Reads `events` at one version, whose list of data files it asks for only once; threads may share it."""

    def __init__(self, lake: Lake, version: int) -> None:
        self.version = version
        self._filesystem = lake.table_filesystem("events")
        self._actions = _with_bounds(pa.table(lake.events(version).get_add_actions(flatten=True)))

    def read(
        self,
        project: int,
        first: datetime,
        end: datetime,
        columns: Sequence[str] | None = None,
        batch_rows: int = 20_000,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows from `first` until before `end`, two boundaries of hours of one UTC day, in order.

        `columns` defaults to all.
        """
        schema = pa.schema([EVENTS.field(name) for name in columns or EVENTS.names])
        files = self._files(project, first, end)
        read = partial(_read_file, project=project, first=first, end=end, batch_rows=batch_rows)
        yield from in_order(self._filesystem, files, read, schema, batch_rows)

    def scan(
        self,
        project: int,
        first: datetime,
        end: datetime,
        schema: pa.Schema,
        batch_rows: int = 20_000,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the same rows in whatever order the files have them, for those who only count.

        `schema` has the columns; of texts that repeat, it may ask for dictionaries, which are not unpacked
        then.
        """
        packed = [field.name for field in schema if pa.types.is_dictionary(field.type)]
        for file in self._files(project, first, end):
            with (
                self._filesystem.open_input_file(file.path) as source,
                pq.ParquetFile(source, read_dictionary=packed) as parquet,
            ):
                yield from _read_file(
                    parquet, schema, project=project, first=first, end=end, batch_rows=batch_rows
                )

    def _files(self, project: int, first: datetime, end: datetime) -> list[TimedFile]:
        """Return the data files that can hold rows of that time."""
        if not self._actions.num_rows:
            return []
        lowest, highest = pc.field(_FIRST), pc.field(_LAST)
        # A file of which the log gives no bounds, as another engine may write it, can hold any time.
        selected = self._actions.filter(
            (pc.field("partition.app") == project)
            & (pc.field("partition.upload_date") == pa.scalar(first.date(), pa.date32()))
            & (lowest.is_null() | (lowest < pa.scalar(end, TIMESTAMP)))
            & (highest.is_null() | (highest >= pa.scalar(first, TIMESTAMP)))
        )
        return [
            TimedFile.of(row["path"], row[_FIRST], row[_LAST])
            for row in selected.select(["path", _FIRST, _LAST]).to_pylist()
        ]


def _with_bounds(actions: pa.Table) -> pa.Table:
    for name in {_FIRST, _LAST} - set(actions.column_names):
        actions = actions.append_column(name, pa.nulls(actions.num_rows, TIMESTAMP))
    return actions


def _read_file(
    parquet: pq.ParquetFile,
    schema: pa.Schema,
    *,
    project: int,
    first: datetime,
    end: datetime,
    batch_rows: int,
) -> Iterator[pa.RecordBatch]:
    """Stream the rows of one file that lie in the time, row groups outside it unread."""
    groups = _row_groups(parquet, first, end)
    physical = [name for name in schema.names if name in parquet.schema_arrow.names]
    needed = list(dict.fromkeys([*physical, "server_upload_time"]))
    for batch in parquet.iter_batches(batch_rows, row_groups=groups, columns=needed):
        times = batch.column("server_upload_time").cast(TIMESTAMP)
        within = _within(times, first, end)
        # Most row groups are of one hour; a filter would copy all their columns.
        rows = batch if pc.all(within, skip_nulls=False).as_py() else batch.filter(within)
        if rows.num_rows:
            yield _shape(rows, project, first.date(), schema)


def _row_groups(parquet: pq.ParquetFile, first: datetime, end: datetime) -> list[int]:
    column = parquet.schema_arrow.names.index("server_upload_time")
    groups = []
    for index in range(parquet.metadata.num_row_groups):
        bounds = parquet.metadata.row_group(index).column(column).statistics
        if bounds is None or not bounds.has_min_max or (bounds.min < end and bounds.max >= first):
            groups.append(index)
    return groups


def _within(times: pa.Array, first: datetime, end: datetime) -> pa.Array:
    return pc.and_(
        pc.greater_equal(times, pa.scalar(first, TIMESTAMP)), pc.less(times, pa.scalar(end, TIMESTAMP))
    )


def _shape(rows: pa.RecordBatch, project: int, day: date, schema: pa.Schema) -> pa.RecordBatch:
    """Give rows of a file the columns asked for, the partition's among them."""
    constants = {"app": pa.scalar(project, pa.int64()), "upload_date": pa.scalar(day, pa.date32())}
    columns = [
        pa.repeat(constants[field.name], rows.num_rows)
        if field.name in constants
        else rows.column(field.name).cast(field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)

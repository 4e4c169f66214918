"""Puts the side tables' small files together, without the rows that count for nobody (ADR 1, ADR 12).

A side table's row counts if the project's log has the number `n` by the row's attempt. The rows of a number
that the log has passed without that attempt are orphans for ever: the fence refuses their load. No clock is
needed to tell, and what a load that still runs has written, under a number to come, is left alone.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from sqlalchemy import select

from sluice.lake.commits import application_id
from sluice.lake.data_files import write_data_files
from sluice.lake.maintenance.rewrite import (
    MAX_ROWS,
    DataFile,
    Rewritten,
    data_files,
    file_bytes,
    keeper,
    megabytes,
    open_with,
    replace_files,
    rows_in,
    units,
)
from sluice.lake.projection import catch_up
from sluice.lake.sql import connect
from sluice.lake.store import SCHEMAS, SIDE_TABLES, Lake
from sluice.ledger import Ledger
from sluice.ledger.tables import loads

log = logging.getLogger(__name__)

# Tables in which a key's newest row gives its Amplitude ID. An ID that an older row gives, or one without a
# key, stays taken, so only rows of the same key and ID are one.
_KEYS = {"users": "user_id", "devices": "device_id"}
_BATCH_ROWS = 20_000


def fold_side_tables(
    lake: Lake, ledger: Ledger, target_bytes: int, *, dry_run: bool = False
) -> dict[str, Rewritten]:
    """Rewrite the small files of every side table, and those with orphans, without what counts for nobody.

    Small is what has less than half of `target_bytes`. Returns, by table, what was done; with `dry_run` it
    only says what it would do. Raises MaintenanceBusy if another run is at a table.
    """
    return {name: _fold(lake, ledger, name, target_bytes, dry_run) for name in SIDE_TABLES}


@dataclass(frozen=True)
class _Log:
    """A project's log as far as it can be relied on: its last number, and the attempt of each."""

    ledger: Ledger
    project: int
    number: int

    @cached_property
    def attempts(self) -> pa.Array:
        """The attempts that committed; each belongs to one number only."""
        with self.ledger.begin() as connection:
            found = connection.execute(select(loads.c.attempt).where(loads.c.project == self.project))
            return pa.array(found.scalars().all(), pa.string())

    def counts(self, rows: pa.RecordBatch) -> pa.Array:
        """Say for each row of a side table whether it counts."""
        return pc.is_in(rows.column("attempt"), value_set=self.attempts)


def _fold(lake: Lake, ledger: Ledger, name: str, target_bytes: int, dry_run: bool) -> Rewritten:
    result = Rewritten()
    began = time.monotonic()
    filesystem = lake.table_filesystem(name)
    with keeper(ledger, name):
        by_project: dict[int, list[DataFile]] = defaultdict(list)
        for file in data_files(lake.table(name)):
            by_project[int(dict(file.partition)["app"])].append(file)
        events = lake.events()
        catch_up(lake, ledger, events)
        for project, files in sorted(by_project.items()):
            number = events.transaction_version(application_id(project)) or 0
            project_log = _Log(ledger, project, number)
            for unit in units(_chosen(filesystem, files, project_log, target_bytes), MAX_ROWS):
                if len(unit) > 1 or _has_orphans(filesystem, unit[0], project_log):
                    _rewrite(lake, name, unit, project_log, target_bytes, result, dry_run)
    result.seconds = time.monotonic() - began
    log.info("Side table %s: %s", name, result)
    return result


def _chosen(
    filesystem: pafs.FileSystem, files: Sequence[DataFile], project_log: _Log, target_bytes: int
) -> Iterator[DataFile]:
    """Yield the small files and the large ones with orphans, whose loads have all committed or never will."""
    for file in sorted(files, key=lambda file: (file.lowest.get("n", 0), file.path)):
        lowest, highest = file.lowest.get("n"), file.highest.get("n")
        if lowest is None or highest is None or highest > project_log.number:
            continue
        # What a rewrite has put together, of several numbers, has been through here before.
        if 2 * file.size < target_bytes or (
            lowest == highest and _has_orphans(filesystem, file, project_log)
        ):
            yield file


def _has_orphans(filesystem: pafs.FileSystem, file: DataFile, project_log: _Log) -> bool:
    with filesystem.open_input_file(file.path) as source, pq.ParquetFile(source) as parquet:
        batches = parquet.iter_batches(_BATCH_ROWS, columns=["attempt"])
        return any(not pc.all(project_log.counts(batch)).as_py() for batch in batches)


def _rewrite(
    lake: Lake,
    name: str,
    unit: Sequence[DataFile],
    project_log: _Log,
    target_bytes: int,
    result: Rewritten,
    dry_run: bool,
) -> None:
    size = sum(file.size for file in unit)
    what = f"{name} of project {project_log.project}: {len(unit):,} files of {megabytes(size)}"
    if dry_run:
        log.info("%s would be rewritten", what)
        result.files_before += len(unit)
        result.bytes_before += size
        return
    table = open_with(lake, name, unit)
    if table is None:
        log.info("%s: other files came first", what)
        result.refused += 1
        return
    filesystem = lake.table_filesystem(name)
    before = 0

    def rows() -> Iterator[pa.RecordBatch]:
        nonlocal before
        for file in unit:
            with filesystem.open_input_file(file.path) as source, pq.ParquetFile(source) as parquet:
                before += parquet.metadata.num_rows
                for batch in parquet.iter_batches(_BATCH_ROWS):
                    yield _with_project(batch.filter(project_log.counts(batch)), name, project_log.project)

    kept = _newest(rows(), name, _KEYS[name]) if name in _KEYS else rows()
    added = write_data_files(
        filesystem,
        (batch for batch in kept if batch.num_rows),
        table.metadata().partition_columns,
        file_bytes=file_bytes(unit, target_bytes),
    )
    if not replace_files(lake, name, table, unit, added):
        result.refused += 1
        return
    after = sum(action.size for action in added)
    result.commits += 1
    result.files_before += len(unit)
    result.files_after += len(added)
    result.bytes_before += size
    result.bytes_after += after
    result.rows += rows_in(added)
    result.dropped += before - rows_in(added)
    log.info("%s became %s of %s, %s rows", what, len(added), megabytes(after), f"{rows_in(added):,}")


def _with_project(batch: pa.RecordBatch, name: str, project: int) -> pa.RecordBatch:
    there = set(batch.schema.names)
    columns = [
        batch.column(field.name).cast(field.type)
        if field.name in there
        else pa.repeat(pa.scalar(project if field.name == "app" else None, field.type), batch.num_rows)
        for field in SCHEMAS[name]
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMAS[name])


def _newest(rows: Iterator[pa.RecordBatch], name: str, key: str) -> Iterator[pa.RecordBatch]:
    """Yield, of the rows of a key with the same Amplitude ID, the one with the largest `n`."""
    with connect() as connection:
        connection.register("given", pa.RecordBatchReader.from_batches(SCHEMAS[name], rows))
        connection.execute("CREATE TEMP TABLE state AS SELECT * FROM given")
        newest = connection.sql(
            f"""
            SELECT * FROM state
            QUALIFY {key} IS NULL OR row_number() OVER (PARTITION BY {key}, amplitude_id ORDER BY n DESC) = 1
            ORDER BY n, amplitude_id
            """
        ).to_arrow_reader(_BATCH_ROWS)
        for batch in newest:
            yield batch.cast(SCHEMAS[name])

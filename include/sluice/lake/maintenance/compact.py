"""Puts the small data files of closed days together: large files, their rows in the total order."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.transaction import AddAction

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
from sluice.lake.merge import TimedFile, in_order
from sluice.lake.projection import catch_up, closed_until
from sluice.lake.schema import EVENTS, ORDER
from sluice.lake.store import Lake, LakeError
from sluice.ledger import Ledger

log = logging.getLogger(__name__)

_DAY = timedelta(days=1)
_BATCH_ROWS = 20_000


def compact_events(
    lake: Lake,
    ledger: Ledger,
    target_bytes: int,
    projects: Collection[int] | None = None,
    *,
    dry_run: bool = False,
) -> Rewritten:
    """Rewrite the small data files of the projects' closed days (all projects by default) into large ones.

    Small is what has less than half of `target_bytes`; a day with one small file is left alone. Each commit
    replaces the files that it read and no other, so rows that a load adds to the day meanwhile stay. With
    `dry_run` it only says what it would do. Raises MaintenanceBusy if another run is at it.
    """
    result = Rewritten()
    began = time.monotonic()
    with keeper(ledger, "events"):
        events = lake.events()
        catch_up(lake, ledger, events)
        chosen = [file for file in data_files(events) if projects is None or _app(file) in projects]
        plan = list(plan_units(chosen, _closed_days(ledger, {_app(file) for file in chosen}), target_bytes))
        log.info(
            "%s data files, %s of them small and of closed days, in %s units",
            f"{len(chosen):,}", f"{sum(map(len, plan)):,}", f"{len(plan):,}",
        )  # fmt: skip
        for number, unit in enumerate(plan, 1):
            _rewrite(lake, unit, target_bytes, result, dry_run, f"{number} of {len(plan)}")
    result.seconds = time.monotonic() - began
    log.info("Compaction of events: %s", result)
    return result


def plan_units(
    files: Iterable[DataFile], closed: dict[int, date], target_bytes: int
) -> Iterator[list[DataFile]]:
    """Yield, day by day, the files that are put together, in the order of their times.

    `closed` gives, by project, the first day that is not closed.
    """
    days: dict[tuple[tuple[str, Any], ...], list[DataFile]] = defaultdict(list)
    for file in files:
        app, day = _app(file), dict(file.partition)["upload_date"]
        if 2 * file.size < target_bytes and app in closed and day < closed[app]:
            days[file.partition].append(file)
    for _, small in sorted(days.items()):
        in_time = sorted(small, key=lambda file: (_timed(file).first, file.path))
        for unit in units(in_time, MAX_ROWS):
            if len(unit) > 1:
                yield unit


def _closed_days(ledger: Ledger, projects: Iterable[int]) -> dict[int, date]:
    """Return, by project, the first day that is not closed as a whole.

    The hours of a project that nobody exports are never closed: its days count once they are over for a day.
    """
    yesterday = ledger.now() - _DAY
    return {project: (closed_until(ledger, project) or yesterday).date() for project in projects}


def _app(file: DataFile) -> int:
    return int(dict(file.partition)["app"])


def _timed(file: DataFile) -> TimedFile:
    name = "server_upload_time"
    return TimedFile.of(file.path, file.lowest.get(name), file.highest.get(name))


def _rewrite(
    lake: Lake, unit: Sequence[DataFile], target_bytes: int, result: Rewritten, dry_run: bool, place: str
) -> None:
    began = time.monotonic()
    size = sum(file.size for file in unit)
    what = f"{place}: {unit[0].values}, {len(unit):,} files of {megabytes(size)}"
    if dry_run:
        log.info("%s would be rewritten", what)
        result.files_before += len(unit)
        result.bytes_before += size
        return
    table = open_with(lake, "events", unit)
    if table is None:
        log.info("%s: other files came first", what)
        result.refused += 1
        return
    added = _write(lake, table, unit, target_bytes)
    if not replace_files(lake, "events", table, unit, added):
        result.refused += 1
        return
    after = sum(action.size for action in added)
    result.commits += 1
    result.files_before += len(unit)
    result.files_after += len(added)
    result.bytes_before += size
    result.bytes_after += after
    result.rows += rows_in(added)
    log.info(
        "%s became %s of %s, %s rows, in %.1f s",
        what, len(added), megabytes(after), f"{rows_in(added):,}", time.monotonic() - began,
    )  # fmt: skip


def _write(lake: Lake, table: DeltaTable, unit: Sequence[DataFile], target_bytes: int) -> list[AddAction]:
    """Write the unit's rows, in their total order, as new files. Raises LakeError if a row got lost."""
    filesystem = lake.table_filesystem("events")
    constants = dict(unit[0].partition)
    expected = 0

    def read(parquet: pq.ParquetFile, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        nonlocal expected
        # Files that overlap are read for their order alone before.
        if schema is EVENTS:
            expected += parquet.metadata.num_rows
        yield from _rows_of(parquet, schema, constants)

    rows = in_order(filesystem, map(_timed, unit), read, EVENTS, _BATCH_ROWS, whole_files=True)
    added = write_data_files(
        filesystem, rows, table.metadata().partition_columns, ORDER, file_bytes(unit, target_bytes)
    )
    known = [file.rows for file in unit if file.rows is not None]
    if rows_in(added) != expected or (len(known) == len(unit) and sum(known) != expected):
        raise LakeError(
            f"Compacting {unit[0].values} of the lake at {lake.uri} read {expected:,} rows and wrote"
            f" {rows_in(added):,}, where the log has {sum(known):,}. Nothing was committed: compare the data"
            " files with the log, a file may have been replaced by hand."
        )
    return added


def _rows_of(
    parquet: pq.ParquetFile, schema: pa.Schema, constants: dict[str, Any]
) -> Iterator[pa.RecordBatch]:
    """Stream a whole file with the columns of a schema; what it does not have is null or the partition's."""
    there = set(parquet.schema_arrow.names)
    for batch in parquet.iter_batches(_BATCH_ROWS, columns=[name for name in schema.names if name in there]):
        columns = [
            batch.column(field.name).cast(field.type)
            if field.name in there
            else pa.repeat(pa.scalar(constants.get(field.name), field.type), batch.num_rows)
            for field in schema
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)

"""The three CSV files of a sync to S3 (amplitude-spec 2.2; decisions K-1 to K-4, K-12, K-16)."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sluice.cohorts.csv_rows import CsvEncoder
from sluice.cohorts.diff import Lists
from sluice.cohorts.list_files import AMPLITUDE_ID, VALUE, property_column
from sluice.cohorts.pairs import find
from sluice.cohorts.sorted_blocks import Source, read_file, side_by_side
from sluice.ledger.syncs import TurnFile

if TYPE_CHECKING:
    from sluice.config import S3CohortDestination, Sync

log = logging.getLogger(__name__)

# In the order of delivery: a consumer starts on `existing`, so it is the last.
DIFFTYPES = ("exiting", "entering", "existing")
# Threads that encode, and batches that wait to be written: what memory a slow disk may take.
_ENCODERS = 2
_WAITING = 4


class AsOf(Protocol):
    """What of a turn stands in the names: its as-of time, in UTC (decisions K-1)."""

    @property
    def as_of(self) -> datetime:
        """When the cohort was looked at."""


def object_keys(sync: Sync, destination: S3CohortDestination, as_of: datetime) -> dict[str, str]:
    """Return the object key of each difftype: `path/project_cohort_<timestamp>_difftype[_routingkey].csv`.

    Rule: amplitude-spec 2.2, decisions K-1 and K-12.
    """
    path = destination.path.strip("/")
    stem = f"{sync.cohort.project}_{sync.cohort.id}_{as_of.astimezone(UTC):{destination.timestamp_format}}"
    suffix = f"_{sync.config.routing_key}" if sync.config.routing_key else ""
    folder = f"{path}/" if path else ""
    return {difftype: f"{folder}{stem}_{difftype}{suffix}.csv" for difftype in DIFFTYPES}


def write_csv_files(
    lists: Lists,
    sync: Sync,
    destination: S3CohortDestination,
    turn: AsOf,
    folder: Path,
    *,
    existing_only: bool = False,
) -> list[TurnFile]:
    """Write a turn's files to `folder` in the order of delivery, and return them.

    The bytes are a function of the lists and the destination. `existing` is what `existing_mode` says
    (decisions K-2); with `existing_only` it is the full list, and the only file (decisions K-18).
    """
    encoder = CsvEncoder(
        lists.properties, header_style=destination.header_style, csv_safe=destination.csv_safe
    )
    keys = object_keys(sync, destination, turn.as_of)
    with (
        ThreadPoolExecutor(1, thread_name_prefix="sluice-csv-reader") as reader,
        ThreadPoolExecutor(_ENCODERS, thread_name_prefix="sluice-csv-encoder") as encoders,
    ):
        rows = {
            "exiting": lambda: _read(lists.exiting_path, lists, reader).batches,
            "entering": lambda: _read(lists.entering_path, lists, reader).batches,
            "existing": lambda: _existing(
                lists, "full" if existing_only else destination.existing_mode, reader
            ),
        }
        return [
            _write(folder, f"{difftype}.csv", keys[difftype], rows[difftype](), encoder, encoders)
            for difftype in (DIFFTYPES[-1:] if existing_only else DIFFTYPES)
        ]


def _read(path: Path, lists: Lists, reader: Executor) -> Source:
    there = pq.read_schema(path).names
    properties = [name for name in map(property_column, lists.properties) if name in there]
    return read_file(path, [AMPLITUDE_ID, VALUE, *properties], reader)


def _existing(lists: Lists, mode: str, reader: Executor) -> Iterator[pa.RecordBatch]:
    """Return who is in `existing` (decisions K-2)."""
    if mode == "full":
        return _read(lists.members_path, lists, reader).batches
    baseline = lists.before.baseline
    if baseline is None:
        return iter(())
    if mode == "previous":
        return _read(baseline, lists, reader).batches
    return _carried_over(lists, reader)


def _carried_over(lists: Lists, reader: Executor) -> Iterator[pa.RecordBatch]:
    entering = read_file(lists.entering_path, [AMPLITUDE_ID, VALUE], reader)
    for members, new in side_by_side([_read(lists.members_path, lists, reader), entering]):
        yield members.take(pa.array(np.flatnonzero(find(members, new) < 0)))


def _write(
    folder: Path,
    name: str,
    key: str,
    batches: Iterable[pa.RecordBatch],
    encoder: CsvEncoder,
    encoders: Executor,
) -> TurnFile:
    started = time.monotonic()
    digest = hashlib.sha256()
    rows = size = 0
    with (folder / name).open("wb", buffering=0) as file:

        def write(data: bytes | memoryview) -> None:
            nonlocal size
            view = memoryview(data)
            size += len(view)
            digest.update(view)
            # A raw file may take less than it is given.
            while len(view):
                view = view[file.write(view) :]

        write(encoder.header())
        waiting: deque[Future[list[memoryview]]] = deque()
        for batch in batches:
            rows += len(batch)
            waiting.append(encoders.submit(_encoded, encoder, batch))
            if len(waiting) >= _WAITING:
                for data in waiting.popleft().result():
                    write(data)
        for encoded in waiting:
            for data in encoded.result():
                write(data)
    seconds = time.monotonic() - started
    log.info(
        "%s: %s rows, %.1f MB, %.0f MB/s", name, f"{rows:,}", size / 1e6, size / 1e6 / max(seconds, 1e-3)
    )
    return TurnFile(name, rows, size, digest.hexdigest(), sent=True, key=key)


def _encoded(encoder: CsvEncoder, batch: pa.RecordBatch) -> list[memoryview]:
    return list(encoder.encode(batch))

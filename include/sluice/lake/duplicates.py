"""A sample of the rows that were dropped as duplicates, beside the rows that stayed.

The counts say how many rows went; the sample says why: from which file each came, which row has its key, and
whether the two are the same event. It is the same however often a load is tried: the first rows of each file,
as far as the rows that stayed lie close together, for of each of them a row group of the lake is read.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sluice.lake.key_search import Found
from sluice.lake.keys import Keys
from sluice.lake.schema import ASSIGNED_AT_LOAD, DUPLICATES, JSON_COLUMNS, STAGED_EVENTS
from sluice.lake.snapshot import Snapshot
from sluice.lake.staged import StagedFile, open_staged
from sluice.lake.store import Lake
from sluice.ledger import Ledger

ROWS_PER_FILE = 20
ROWS_PER_LOAD = 100
# Of each file so many are looked at, to find some whose rows that stayed lie close together.
_CANDIDATES_PER_FILE = 200
# Data files of the lake, and rows of each, that are read to compare with what stayed.
_DATA_FILES = 4
_ROWS_READ_PER_FILE = 200_000
_BATCH_ROWS = 4096

# What import and load give to a row, or make of others of its columns: it differs between two copies of one
# event, or says nothing of its own.
_NOT_COMPARED = ASSIGNED_AT_LOAD | {
    "uuid",
    "row",
    "dedup_hi",
    "dedup_lo",
    "event_time",
    "client_upload_time",
    "server_received_time",
    "library",
}
COMPARED = [name for name in STAGED_EVENTS.names if name not in _NOT_COMPARED]
_ORIGIN = ["source", "object", "row", "uuid", "loaded_at"]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Dropped:
    """A duplicate among a load's staged rows, by its place, and where the row is that stayed.

    That is a row of the data file `path`, or without one of this load, at the place `stayed` in either.
    """

    place: int
    stayed: int
    path: str | None = None


def choose_sample(
    rows_per_file: Sequence[int],
    dropped: np.ndarray,
    high: np.ndarray,
    low: np.ndarray,
    keys: Keys,
    found: Found,
) -> list[Dropped]:
    """Choose at most 20 of each file's dropped rows, at most 100 in all.

    `high` and `low` are the keys of all rows, `keys` the distinct ones, `found` those that the lake has.
    """
    sample: list[Dropped] = []
    paths: set[str] = set()
    start = 0
    for rows in rows_per_file:
        places = start + np.flatnonzero(dropped[start : start + rows])[:_CANDIDATES_PER_FILE]
        mine = 0
        for one in _with_stayed(places, high, low, keys, found):
            if min(ROWS_PER_FILE - mine, ROWS_PER_LOAD - len(sample)) <= 0:
                break
            if one.path is not None and one.path not in paths:
                if len(paths) == _DATA_FILES:
                    continue
                paths.add(one.path)
            sample.append(one)
            mine += 1
        start += rows
    return sample


def _with_stayed(
    places: np.ndarray, high: np.ndarray, low: np.ndarray, keys: Keys, found: Found
) -> Iterator[Dropped]:
    asked, index = keys.find(high[places], low[places])
    key_of = dict(zip(asked.tolist(), index.tolist(), strict=True))
    # Where several rows of the lake have the key, the last one in the log's order of files.
    mine = np.flatnonzero(np.isin(found.key, index))
    hits = {int(found.key[hit]): hit for hit in mine}
    for number, place in enumerate(places.tolist()):
        key = key_of[number]
        if (hit := hits.get(key)) is not None:
            yield Dropped(place, int(found.place[hit]), found.files[found.file[hit]].path)
        else:
            yield Dropped(place, int(keys.first[key]))


def sample_rows(
    snapshot: Snapshot,
    source: str,
    files: Sequence[StagedFile],
    sample: Sequence[Dropped],
    instant: datetime,
) -> pa.Table:
    """Return the sample as rows of `duplicates`, but for what all rows of a load share.

    A row whose counterpart lies too deep in its data file to be read cheaply is left out.
    """
    staged = _staged_rows(
        snapshot.lake,
        files,
        {one.place for one in sample} | {one.stayed for one in sample if one.path is None},
    )
    stored = _stored_rows(snapshot, sample)
    rows: list[dict[str, Any]] = []
    for one in sample:
        file, row = staged[one.place]
        if one.path is None:
            other_file, stayed = staged[one.stayed]
            stayed = stayed | {"source": source, "object": other_file.uri, "loaded_at": instant}
        elif (one.path, one.stayed) in stored:
            stayed = stored[one.path, one.stayed]
        else:
            continue
        different = [name for name in COMPARED if _differ(name, row[name], stayed.get(name))]
        rows.append(
            {
                "bucket": file.bucket,
                "key": file.key,
                "row": row["row"],
                "insert_id": row["$insert_id"],
                "device_id": row["device_id"],
                **{f"stayed_{name}": stayed.get(name) for name in _ORIGIN},
                "differs": bool(different),
                "columns": ",".join(different),
            }
        )
    fields = [field for field in DUPLICATES if field.name in _FROM_ROWS]
    return pa.Table.from_pylist(rows, pa.schema(fields))


_FROM_ROWS = {"bucket", "key", "row", "insert_id", "device_id", "differs", "columns"} | {
    f"stayed_{name}" for name in _ORIGIN
}


def _staged_rows(
    lake: Lake, files: Sequence[StagedFile], places: set[int]
) -> dict[int, tuple[StagedFile, dict[str, Any]]]:
    """Read staged rows by their places in the load."""
    found: dict[int, tuple[StagedFile, dict[str, Any]]] = {}
    start = 0
    for file in files:
        mine = sorted(place - start for place in places if start <= place < start + file.rows)
        if mine:
            rows = _rows_at(lambda: open_staged(lake, str(file.events)), mine, STAGED_EVENTS.names)  # noqa: B023
            found |= {start + place: (file, row) for place, row in rows.items()}
        start += file.rows
    return found


def _stored_rows(snapshot: Snapshot, sample: Sequence[Dropped]) -> dict[tuple[str, int], dict[str, Any]]:
    """Read rows of the lake by their data files and their places in these."""
    wanted: dict[str, set[int]] = defaultdict(set)
    for one in sample:
        if one.path is not None:
            wanted[one.path].add(one.stayed)
    filesystem = snapshot.lake.table_filesystem("events")
    columns = [*COMPARED, *_ORIGIN]

    @contextmanager
    def opened(path: str) -> Iterator[pq.ParquetFile]:
        with filesystem.open_input_file(path) as source, pq.ParquetFile(source) as parquet:
            yield parquet

    return {
        (path, place): row
        for path, places in wanted.items()
        for place, row in _rows_at(lambda: opened(path), sorted(places), columns, _ROWS_READ_PER_FILE).items()  # noqa: B023
    }


def _rows_at(
    open_file: Callable[[], AbstractContextManager[pq.ParquetFile]],
    places: Sequence[int],
    columns: Sequence[str],
    at_most: int | None = None,
) -> dict[int, dict[str, Any]]:
    """Read single rows of a Parquet file: of each row group that has some, the rows up to the last of them.

    Once `at_most` rows were passed by, the rest is left out.
    """
    found: dict[int, dict[str, Any]] = {}
    passed = 0
    with open_file() as file:
        there = [name for name in columns if name in file.schema_arrow.names]
        start = 0
        for group in range(file.metadata.num_row_groups):
            end = start + file.metadata.row_group(group).num_rows
            mine = [place for place in places if start <= place < end]
            if mine:
                for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=there):
                    here = [place for place in mine if start <= place < start + batch.num_rows]
                    rows = batch.take(pa.array([place - start for place in here], pa.int64())).to_pylist()
                    found |= dict(zip(here, rows, strict=True))
                    start += batch.num_rows
                    passed += batch.num_rows
                    if start > mine[-1] or (at_most is not None and passed >= at_most):
                        break
                if at_most is not None and passed >= at_most:
                    break
            start = end
    return found


def _differ(name: str, one: Any, other: Any) -> bool:
    if one == other:
        return False
    if name in JSON_COLUMNS and one is not None and other is not None:
        # The same object may be written in several ways.
        return bool(json.loads(one) != json.loads(other))
    return True


@dataclass(frozen=True)
class DuplicateRow:
    """A row that was dropped as a duplicate, where it came from, and the row that stayed.

    `columns` names what differs between the two of what the source's row says, without values.
    """

    bucket: str
    key: str
    row: int
    insert_id: str | None
    device_id: str | None
    stayed_source: str | None
    stayed_object: str | None
    stayed_row: int | None
    stayed_uuid: str | None
    stayed_loaded_at: datetime | None
    differs: bool
    columns: tuple[str, ...]
    dropped_at: datetime


def sampled_duplicates(lake: Lake, ledger: Ledger, project: int, source: str) -> Iterator[DuplicateRow]:
    """Stream the sampled duplicates of a source, those of committed loads only (ADR 1)."""
    snapshot = Snapshot.open(lake, ledger, project)
    committed = {(row["n"], row["attempt"]) for row in snapshot.committed.to_pylist()}
    names = list(DuplicateRow.__dataclass_fields__)
    batches = snapshot.dataset("duplicates").to_batches(
        columns=["n", "attempt", *names],
        filter=pc.field("source") == source,
        batch_size=1024,
        batch_readahead=1,
        fragment_readahead=1,
    )
    for batch in batches:
        for row in batch.to_pylist():
            if (row["n"], row["attempt"]) in committed:
                columns = tuple(row["columns"].split(",")) if row["columns"] else ()
                yield DuplicateRow(**{name: row[name] for name in names} | {"columns": columns})

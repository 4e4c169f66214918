"""Looks a load's keys up among all keys that a project's data files have, in memory that does not grow.

A load has few keys and the lake many, so the lake's keys stream past a set of bitmaps over the load's, which
most of them do not pass; the few that do are compared whole. An index over the lake's keys would have to be
kept up to date; joining them in SQL costs ten times as much (ADR 13).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sluice.lake.key_cache import BLOCK_ROWS, Block, KeyCache
from sluice.lake.keys import KeyKind, Keys
from sluice.lake.schema import TIMESTAMP
from sluice.lake.snapshot import Snapshot
from sluice.lake.staged import batches_of

# Data files at once: where the cache is cold most of the time goes into waiting for the store.
_THREADS = 4
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LOW, _HIGH = "min.loaded_at", "max.loaded_at"


@dataclass(frozen=True)
class KeyFile:
    """A data file; `timed` says that its rows may differ in loaded_at."""

    path: str
    timed: bool


@dataclass(frozen=True)
class Found:
    """Which of the keys the lake has: parallel arrays of indexes of keys and of files, and rows' places."""

    files: Sequence[KeyFile]
    key: np.ndarray
    file: np.ndarray
    place: np.ndarray


def find_keys(snapshot: Snapshot, kind: KeyKind, keys: Keys, since: datetime | None = None) -> Found:
    """Find the keys in the project's rows, of those loaded at or after `since` if that is given."""
    files = key_files(snapshot, since)
    cache = KeyCache(str(snapshot.tables["events"].metadata().id), snapshot.project, kind.name)
    sieve = _Sieve(keys)
    first = None if since is None else (since - _EPOCH) // _MICROSECOND

    def search(file: KeyFile) -> tuple[np.ndarray, np.ndarray]:
        found: list[tuple[np.ndarray, np.ndarray]] = [_NONE]
        for block in cache.blocks(file.path, lambda: read_blocks(snapshot, kind, file)):
            index, at = sieve.find(block.high, block.low)
            if first is not None and block.loaded_at is not None:
                recent = block.loaded_at[index] >= first
                index, at = index[recent], at[recent]
            found.append((at.astype(np.int32), block.place(index)))
        return np.concatenate([key for key, _ in found]), np.concatenate([place for _, place in found])

    if not len(keys):
        files = []
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="keys") as pool:
        hits = list(pool.map(search, files))
    if files:
        cache.tidy(file.path for file in files)
    return Found(
        files,
        np.concatenate([_NONE[0], *(key for key, _ in hits)]),
        np.repeat(np.arange(len(files), dtype=np.int32), [len(key) for key, _ in hits]),
        np.concatenate([_NONE[1], *(place for _, place in hits)]),
    )


_NONE = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64)


def key_files(snapshot: Snapshot, since: datetime | None) -> list[KeyFile]:
    """Return the project's data files that can hold rows loaded at or after `since`, all if that is None."""
    actions = pa.table(snapshot.tables["events"].get_add_actions(flatten=True))
    if not actions.num_rows:
        return []
    for name in {_LOW, _HIGH} - set(actions.column_names):
        actions = actions.append_column(name, pa.nulls(actions.num_rows, TIMESTAMP))
    selected = actions.filter(pc.field("partition.app") == snapshot.project)
    if since is not None:
        high = pc.field(_HIGH)
        # A file of which the log gives no bounds, as another engine may write it, can hold any time.
        selected = selected.filter(high.is_null() | (high >= pa.scalar(since, TIMESTAMP)))
    one_instant = pc.fill_null(pc.equal(selected[_LOW], selected[_HIGH]), False)
    return [
        KeyFile(path, not same)
        for path, same in zip(selected["path"].to_pylist(), one_instant.to_pylist(), strict=True)
    ]


def read_blocks(snapshot: Snapshot, kind: KeyKind, file: KeyFile) -> Iterator[Block]:
    """Read a data file's keys from the lake."""
    columns = [*kind.columns, "loaded_at"] if file.timed else list(kind.columns)
    start = 0
    with (
        snapshot.lake.table_filesystem("events").open_input_file(file.path) as source,
        pq.ParquetFile(source) as parquet,
    ):
        for batch in batches_of(parquet, BLOCK_ROWS, columns):
            high, low, present = kind.halves(batch)
            times = places = None
            if file.timed:
                moments = batch.column("loaded_at").cast(TIMESTAMP).cast(pa.int64())
                # A row without an instant is in no window.
                times = moments.fill_null(np.iinfo(np.int64).min).to_numpy()
            if not present.all():
                places = start + np.flatnonzero(present)
                high, low = high[present], low[present]
                times = times if times is None else times[present]
            yield Block(high, low, start, times, places)
            start += batch.num_rows


class _Sieve:
    """Three bitmaps over different bits of the keys: what passes all of them is looked up exactly."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        # Few enough slots that the first two, which see most keys, stay in a processor's cache.
        first = _bits(len(keys), 4, most=24)
        last = _bits(len(keys), 16, most=26)
        self._stages = [
            _Stage(keys.high, 64 - first, first),
            _Stage(keys.high, 20, first),
            _Stage(keys.low, 64 - last, last),
        ]

    def find(self, high: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (which of the given keys are among the load's, and at which index of it each of them)."""
        one, two, three = self._stages
        left = one.passing(high)
        left = left[two.passing(high[left])]
        left = left[three.passing(low[left])]
        found, at = self._keys.find(high[left], low[left])
        return left[found], at


class _Stage:
    def __init__(self, keys: np.ndarray, shift: int, bits: int) -> None:
        self._shift = np.uint64(shift)
        self._mask = np.uint64((1 << bits) - 1)
        self._seen = np.zeros(1 << bits, dtype=bool)
        for start in range(0, len(keys), BLOCK_ROWS):
            self._seen[self._slots(keys[start : start + BLOCK_ROWS])] = True

    def _slots(self, keys: np.ndarray) -> np.ndarray:
        slots = keys.view(np.uint64) >> self._shift
        slots &= self._mask
        return slots.view(np.int64)

    def passing(self, keys: np.ndarray) -> np.ndarray:
        return np.flatnonzero(self._seen.take(self._slots(keys)))


def _bits(keys: int, slots_per_key: int, *, most: int) -> int:
    return min(max(10, (keys * slots_per_key).bit_length()), most)

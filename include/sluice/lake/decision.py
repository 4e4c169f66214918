"""Decides what becomes of staged rows, from one snapshot: duplicates, Amplitude IDs, times, order.

Only the narrow columns are looked at here, keys and times as arrays, ids in SQL that may spill to disk; the
rows themselves are then streamed past the decision (sluice.lake.enrich).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryFile
from typing import BinaryIO, Literal

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.lake.duplicates import Dropped, choose_sample
from sluice.lake.key_search import find_keys
from sluice.lake.keys import DEDUP, Keys
from sluice.lake.reconciliation import require_staged
from sluice.lake.schema import STAGED_EVENTS, STAGED_REJECTS
from sluice.lake.snapshot import Snapshot
from sluice.lake.sql import engine_for
from sluice.lake.staged import StagedFile, batches_of, open_staged
from sluice.ledger.counters import take_block

# Amplitude's dedup window (amplitude-spec 4.6), measured on `loaded_at`.
DEDUP_WINDOW = timedelta(days=7)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BATCH_ROWS = 100_000

UploadTime = Literal["now", "event_time"]


@dataclass(frozen=True)
class Decision:
    """What becomes of the rows of some staged files.

    The arrays have one item per staged row, in the order of the files and of the rows in each: whether it
    is kept, and its place in the load, which is by server_upload_time (`seq`, -1 of a row that is not kept).
    `assigned` has, by column, what the row gets instead of what was staged, times in epoch microseconds.
    `kept_per_file` and `duplicate_per_file` are counted apart from each other, the former by the rows, the
    latter by the keys. `rejected` has, per file, the rows that the decision refuses, as STAGED_REJECTS; they
    are not kept, and no duplicates. `sample` has some of the duplicates. `failed` says, by a file's number,
    why none of its rows is kept: the decision has rejected too many of them.
    """

    keep: np.ndarray
    seq: np.ndarray
    assigned: Mapping[str, np.ndarray]
    kept_per_file: list[int]
    duplicate_per_file: list[int]
    rejected: list[pa.Table]
    new_users: pa.Table
    new_devices: pa.Table
    sample: Sequence[Dropped] = ()
    failed: Mapping[int, str] = field(default_factory=dict)

    @property
    def in_order(self) -> bool:
        """Whether the kept rows' server_upload_time never falls, so that they need no sorting."""
        seq = self.seq[self.keep]
        return bool(np.all(seq[1:] > seq[:-1]))


# A way to decide the staged files, all of which have events, of a load at an instant.
Decide = Callable[[Snapshot, Sequence[StagedFile], datetime, UploadTime], Decision]


def decide(
    snapshot: Snapshot, files: Sequence[StagedFile], instant: datetime, upload_time: UploadTime
) -> Decision:
    """Decide the rows of the staged files of a load at `instant`.

    The earlier of two rows with one dedup key stays, in the order of files and rows; a key that the
    snapshot has within the last 7 days of `loaded_at` goes (decisions I-5).
    """
    rows = _Rows.empty(sum(file.rows for file in files), upload_time)
    with TemporaryFile(prefix="sluice-ids-") as spool:
        _read_narrow(snapshot, files, rows, spool)
        rows_per_file = [file.rows for file in files]
        keep, duplicate_per_file, sample = _find_duplicates(snapshot, rows_per_file, rows, instant)
        moments = rows.times
        if moments is None:
            moments = np.broadcast_to(np.int64((instant - _EPOCH) // timedelta(microseconds=1)), len(keep))
        del rows
        amplitude_id, new_users, new_devices = _assign_ids(snapshot, keep, spool)
    return Decision(
        keep=keep,
        seq=order_of(keep, moments if upload_time == "event_time" else None),
        assigned={
            "amplitude_id": amplitude_id,
            "server_upload_time": moments,
            # Ingested and processed are one step here (decisions E-21).
            "processed_time": moments,
        },
        kept_per_file=count_per_file(keep, rows_per_file),
        duplicate_per_file=duplicate_per_file,
        rejected=[STAGED_REJECTS.empty_table()] * len(files),
        new_users=new_users,
        new_devices=new_devices,
        sample=sample,
    )


def order_of(keep: np.ndarray, moments: np.ndarray | None) -> np.ndarray:
    """Return each kept row's place by its moment, then as it comes; -1 for the others.

    Without moments the rows stay as they come.
    """
    seq = np.full(len(keep), -1, dtype=np.int64)
    kept = np.flatnonzero(keep)
    if moments is not None:
        kept = kept[np.argsort(moments[kept], kind="stable")]
    seq[kept] = np.arange(len(kept))
    return seq


def count_per_file(some: np.ndarray, rows_per_file: Sequence[int]) -> list[int]:
    """Return how many of each file's rows are among some of all rows."""
    ends = np.cumsum([0, *rows_per_file])
    found = np.concatenate([[0], np.cumsum(some)])[ends]
    return [int(count) for count in np.diff(found)]


def places_per_file(places: np.ndarray, rows_per_file: Sequence[int]) -> list[int]:
    """Return how many of the places lie in each file."""
    files = np.searchsorted(np.cumsum(rows_per_file), places, side="right")
    return [int(count) for count in np.bincount(files, minlength=len(rows_per_file))]


@dataclass
class _Rows:
    """The keys and times of all staged rows; `times` only where the rows have their own."""

    high: np.ndarray
    low: np.ndarray
    present: np.ndarray
    times: np.ndarray | None

    @classmethod
    def empty(cls, rows: int, upload_time: UploadTime) -> _Rows:
        high, low = np.empty(rows, dtype=np.int64), np.empty(rows, dtype=np.int64)
        times = np.empty(rows, dtype=np.int64) if upload_time == "event_time" else None
        return cls(high, low, np.empty(rows, dtype=bool), times)


def _read_narrow(snapshot: Snapshot, files: Sequence[StagedFile], rows: _Rows, spool: BinaryIO) -> None:
    """Read the narrow columns of all files: keys and times into `rows`, ids onto this machine's disk.

    Each staged file is read once for it, for there may be hundreds; a table in the SQL engine would hold on
    to hundreds of megabytes.
    """
    columns = [*DEDUP.columns, *_IDS.names, *(["event_time"] if rows.times is not None else [])]
    place = 0
    with pa.ipc.new_stream(spool, _IDS, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        for file in files:
            with open_staged(snapshot.lake, str(file.events)) as staged:
                require_staged(file, staged.metadata.num_rows)
                for batch in batches_of(staged, _BATCH_ROWS, columns):
                    here = slice(place, place + batch.num_rows)
                    rows.high[here], rows.low[here], rows.present[here] = DEDUP.halves(batch)
                    if rows.times is not None:
                        rows.times[here] = batch.column("event_time").cast(pa.int64()).to_numpy()
                    writer.write_batch(batch.select(_IDS.names))
                    place += batch.num_rows


_IDS = pa.schema([STAGED_EVENTS.field(name) for name in ("user_id", "device_id")])
_PLACED_IDS = pa.schema([pa.field("place", pa.int64()), *_IDS])


def _find_duplicates(
    snapshot: Snapshot, rows_per_file: Sequence[int], rows: _Rows, instant: datetime
) -> tuple[np.ndarray, list[int], Sequence[Dropped]]:
    """Return which rows stay, how many of each file go, and a sample of these.

    A row goes whose key an earlier row of the load, or the snapshot's window, has; one without a key stays.
    """
    keys = Keys(rows.high, rows.low, rows.present)
    found = find_keys(snapshot, DEDUP, keys, since=instant - DEDUP_WINDOW)
    keep = ~rows.present
    keep[keys.first] = True
    keep[keys.first[found.key]] = False
    # By the keys, not as what is left of the rows: of each key that the lake does not have one row stays.
    new = np.setdiff1d(np.arange(len(keys)), found.key)
    having_one = count_per_file(rows.present, rows_per_file)
    staying = places_per_file(keys.first[new], rows_per_file)
    duplicate_per_file = [with_key - first for with_key, first in zip(having_one, staying, strict=True)]
    sample = choose_sample(rows_per_file, ~keep, rows.high, rows.low, keys, found)
    return keep, duplicate_per_file, sample


def _assign_ids(
    snapshot: Snapshot, keep: np.ndarray, spool: BinaryIO
) -> tuple[np.ndarray, pa.Table, pa.Table]:
    """Return each row's Amplitude ID, and the users and devices that are new.

    A user has one ID in a project; a device has its own only in rows without a user.
    """
    # For many rows an engine of its own: what it needs to decide is free again when the rows are written.
    with engine_for(len(keep)) as connection:
        # Rows stream past the ids, and tables past the rows: of a stream the engine does not know that it is
        # the larger side.
        connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
        connection.execute("SET preserve_insertion_order = false")
        new_users = _find_ids(connection, snapshot, "users", "user_id", _kept_ids(spool, keep))
        new_devices = _find_ids(connection, snapshot, "devices", "device_id", _kept_ids(spool, keep))
        ids = np.zeros(len(keep), dtype=np.int64)
        connection.register("kept", _kept_ids(spool, keep))
        reader = connection.sql(
            """
            SELECT place, coalesce(u.amplitude_id, d.amplitude_id) AS amplitude_id
            FROM kept LEFT JOIN users_ids u USING (user_id) LEFT JOIN devices_ids d USING (device_id)
            WHERE coalesce(u.amplitude_id, d.amplitude_id) IS NOT NULL
            """
        ).to_arrow_reader(_BATCH_ROWS)
        for batch in reader:
            ids[batch.column("place").to_numpy()] = batch.column("amplitude_id").to_numpy()
        connection.unregister("kept")
    return ids, new_users, new_devices


def _kept_ids(spool: BinaryIO, keep: np.ndarray) -> pa.RecordBatchReader:
    """Stream place and ids of the kept rows; a row with a user has no device here."""

    def rows() -> Iterator[pa.RecordBatch]:
        place = 0
        spool.seek(0)
        with pa.ipc.open_stream(spool) as reader:
            for batch in reader:
                user, device = batch.columns
                places = pa.array(np.arange(place, place + batch.num_rows))
                device = pc.if_else(user.is_null(), device, pa.scalar(None, pa.string()))
                placed = pa.RecordBatch.from_arrays([places, user, device], schema=_PLACED_IDS)
                yield placed.filter(pa.array(keep[place : place + batch.num_rows]))
                place += batch.num_rows

    return pa.RecordBatchReader.from_batches(_PLACED_IDS, rows())


def _find_ids(
    connection: duckdb.DuckDBPyConnection,
    snapshot: Snapshot,
    table: str,
    key: str,
    kept: pa.RecordBatchReader,
) -> pa.Table:
    """Fill `<table>_ids` with the Amplitude ID of every key of the kept rows; return the new ones."""
    connection.register("kept", kept)
    [(wanted,)] = connection.execute(
        f"""
        CREATE TEMP TABLE {table}_wanted AS
        SELECT {key}, min(place) AS first_seen FROM kept WHERE {key} IS NOT NULL GROUP BY {key}
        """
    ).fetchall()
    connection.unregister("kept")
    if not wanted:
        # Where all rows have a user, as is common, the devices need not be read.
        connection.execute(f"CREATE TEMP TABLE {table}_ids ({key} VARCHAR, amplitude_id BIGINT)")
        return pa.table({key: pa.array([], pa.string()), "amplitude_id": pa.array([], pa.int64())})
    connection.register("side", snapshot.side_rows(table, [key, "amplitude_id", "n"]))
    connection.execute(
        f"""
        CREATE TEMP TABLE {table}_ids AS
        WITH known AS (
            SELECT s.{key}, arg_max(s.amplitude_id, s.n) AS amplitude_id
            FROM side s SEMI JOIN {table}_wanted w ON s.{key} = w.{key} GROUP BY s.{key}
        )
        SELECT w.{key}, k.amplitude_id, w.first_seen
        FROM {table}_wanted w LEFT JOIN known k ON w.{key} = k.{key}
        """
    )
    connection.unregister("side")
    fresh = connection.sql(f"SELECT count(*) FROM {table}_ids WHERE amplitude_id IS NULL").fetchall()[0][0]
    first = _take_unused(snapshot, fresh).start if fresh else 0
    connection.execute(
        f"""
        CREATE TEMP TABLE {table}_new AS
        SELECT {key}, {first} + row_number() OVER (ORDER BY first_seen) - 1 AS amplitude_id
        FROM {table}_ids WHERE amplitude_id IS NULL
        """
    )
    connection.execute(
        f"""
        UPDATE {table}_ids SET amplitude_id = n.amplitude_id FROM {table}_new n
        WHERE {table}_ids.{key} = n.{key}
        """
    )
    new: pa.Table = connection.sql(f"SELECT {key}, amplitude_id FROM {table}_new").to_arrow_table()
    return new


def _take_unused(snapshot: Snapshot, size: int) -> range:
    """Take a block of Amplitude IDs, none of which the snapshot has: the counter may have been lost.

    A new counter begins at a random point above 2^40, so that the IDs of two lakes rarely meet. Where the
    next numbers are taken, as by a replay, ever larger blocks are tried: a million costs twenty looks.
    """
    asked = size
    while True:
        start = (1 << 40) + secrets.randbelow(1 << 51)
        block = take_block(snapshot.ledger, f"amplitude_id:{snapshot.project}", asked, start=start)
        within = (pc.field("amplitude_id") >= block.start) & (pc.field("amplitude_id") < block.stop)
        if not any(snapshot.dataset(table).count_rows(filter=within) for table in ("users", "devices")):
            return block[:size]
        asked *= 2

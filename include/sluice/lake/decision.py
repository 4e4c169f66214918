"""Decides what becomes of staged rows, from one snapshot: duplicates, Amplitude IDs, times, order.

Only the narrow columns are looked at here, in SQL that may spill to disk; the rows themselves are then
streamed past the decision (sluice.lake.enrich).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads

from sluice.lake.fingerprint import SUMS_SQL, Fingerprint
from sluice.lake.schema import STAGED_EVENTS, STAGED_REJECTS
from sluice.lake.snapshot import Snapshot
from sluice.lake.sql import connect
from sluice.lake.staged import StagedFile, open_staged
from sluice.ledger.counters import take_block

# Amplitude's dedup window (amplitude-spec 4.6), measured on `loaded_at`.
DEDUP_WINDOW = timedelta(days=7)

_NARROW = ["row", "dedup_hi", "dedup_lo", "user_id", "device_id", "uuid", "event_time"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR_US = 3_600_000_000

UploadTime = Literal["now", "event_time"]


@dataclass(frozen=True)
class Decision:
    """What becomes of the rows of some staged files.

    The arrays have one item per staged row, in the order of the files and of the rows in each: whether it
    is kept, and its place in the load, which is by server_upload_time (`seq`, -1 of a row that is not kept).
    `assigned` has, by column, what the row gets instead of what was staged, times in epoch microseconds.
    `rejected` has, per file, the rows that the decision refuses, as STAGED_REJECTS; they are not kept, and
    no duplicates.
    """

    keep: np.ndarray
    seq: np.ndarray
    assigned: Mapping[str, np.ndarray]
    kept_per_file: list[int]
    rejected: list[pa.Table]
    hours: dict[datetime, Fingerprint]
    new_users: pa.Table
    new_devices: pa.Table

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
    # An engine of its own: what it needs to decide is free again when the rows are written.
    with connect() as connection:
        return _decide(connection, snapshot, files, instant, upload_time)


def _decide(
    connection: duckdb.DuckDBPyConnection,
    snapshot: Snapshot,
    files: Sequence[StagedFile],
    instant: datetime,
    upload_time: UploadTime,
) -> Decision:
    _stage(connection, snapshot, files, instant, upload_time)
    _find_duplicates(connection, snapshot, instant)
    new_users = _assign_ids(connection, snapshot, "users", "user_id")
    new_devices = _assign_ids(connection, snapshot, "devices", "device_id")
    arrays = connection.sql(
        """
        SELECT s.keep, coalesce(u.amplitude_id, d.amplitude_id, 0) AS amplitude_id, s.upload_time,
               CASE WHEN s.keep THEN
                   row_number() OVER (PARTITION BY s.keep ORDER BY s.upload_time, s.file, s."row") - 1
               ELSE -1 END AS seq
        FROM staged s
        LEFT JOIN users_ids u ON u.user_id = s.user_id
        LEFT JOIN devices_ids d ON d.device_id = s.device_id
        ORDER BY s.file, s."row"
        """
    ).fetchnumpy()
    kept = dict(connection.sql("SELECT file, count(*) FROM staged WHERE keep GROUP BY file").fetchall())
    moments = np.asarray(arrays["upload_time"], dtype=np.int64)
    return Decision(
        keep=np.asarray(arrays["keep"], dtype=bool),
        seq=np.asarray(arrays["seq"], dtype=np.int64),
        assigned={
            "amplitude_id": np.asarray(arrays["amplitude_id"], dtype=np.int64),
            "server_upload_time": moments,
            # Ingested and processed are one step here (decisions E-21).
            "processed_time": moments,
        },
        kept_per_file=[kept.get(index, 0) for index in range(len(files))],
        rejected=[STAGED_REJECTS.empty_table()] * len(files),
        hours=fingerprints(connection),
        new_users=new_users,
        new_devices=new_devices,
    )


def _stage(
    connection: duckdb.DuckDBPyConnection,
    snapshot: Snapshot,
    files: Sequence[StagedFile],
    instant: datetime,
    upload_time: UploadTime,
) -> None:
    """Load the narrow columns of all staged files into the table `staged`."""
    moment = (instant - _EPOCH) // timedelta(microseconds=1)
    source = str(moment) if upload_time == "now" else "epoch_us(event_time)"
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE staged (
            file INTEGER, "row" BIGINT, dedup_hi BIGINT, dedup_lo BIGINT, user_id VARCHAR,
            device_id VARCHAR, uuid VARCHAR, upload_time BIGINT NOT NULL, keep BOOLEAN)
        """
    )
    for index, staged in enumerate(files):
        with open_staged(snapshot.lake, str(staged.events)) as file:
            batches = (batch.select(_NARROW) for batch in file.iter_batches(columns=_NARROW))
            schema = pa.schema([STAGED_EVENTS.field(name) for name in _NARROW])
            connection.register("one_file", pa.RecordBatchReader.from_batches(schema, batches))
            connection.execute(
                f"""
                INSERT INTO staged
                SELECT {index}, "row", dedup_hi, dedup_lo, user_id, device_id, uuid, {source}, true
                FROM one_file
                """
            )
            connection.unregister("one_file")


def _find_duplicates(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, instant: datetime) -> None:
    """Clear `keep` of every row whose key an earlier row of the load, or the snapshot's window, has."""
    window = snapshot.dataset("events").scanner(
        columns=["dedup_hi", "dedup_lo"],
        filter=pads.field("loaded_at") >= pa.scalar(instant - DEDUP_WINDOW, pa.timestamp("us", tz="UTC")),
        batch_size=100_000,
        use_threads=False,
    )
    connection.register("history", window.to_reader())
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE known AS
        SELECT DISTINCT h.dedup_hi, h.dedup_lo FROM history h SEMI JOIN staged s USING (dedup_hi, dedup_lo)
        """
    )
    connection.unregister("history")
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE doubles AS
        SELECT file, "row" FROM (
            SELECT file, "row",
                   row_number() OVER (PARTITION BY dedup_hi, dedup_lo ORDER BY file, "row") AS place
            FROM staged WHERE dedup_hi IS NOT NULL)
        WHERE place > 1
        UNION
        SELECT file, "row" FROM staged SEMI JOIN known USING (dedup_hi, dedup_lo)
        """
    )
    connection.execute(
        """
        UPDATE staged SET keep = false FROM doubles d WHERE staged.file = d.file AND staged."row" = d."row"
        """
    )


def _assign_ids(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, table: str, key: str) -> pa.Table:
    """Fill `<table>_ids` with the Amplitude ID of every key of the kept rows; return the new ones.

    A user has one ID in a project; a device has its own only in rows without a user.
    """
    anonymous = "AND user_id IS NULL" if key == "device_id" else ""
    connection.register("side", snapshot.dataset(table).scanner(batch_size=100_000).to_reader())
    connection.register("committed", snapshot.committed)
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE {table}_ids AS
        WITH wanted AS (
            SELECT {key}, min(file * 1_000_000_000_000 + "row") AS first_seen
            FROM staged WHERE keep AND {key} IS NOT NULL {anonymous} GROUP BY {key}
        ), known AS (
            SELECT s.{key}, arg_max(s.amplitude_id, s.n) AS amplitude_id
            FROM side s SEMI JOIN committed c ON s.n = c.n AND s.attempt = c.attempt
            SEMI JOIN wanted w ON s.{key} = w.{key}
            GROUP BY s.{key}
        )
        SELECT w.{key}, k.amplitude_id, w.first_seen FROM wanted w LEFT JOIN known k ON w.{key} = k.{key}
        """
    )
    connection.unregister("side")
    connection.unregister("committed")
    fresh = connection.sql(f"SELECT count(*) FROM {table}_ids WHERE amplitude_id IS NULL").fetchall()[0][0]
    first = _take_unused(snapshot, fresh).start if fresh else 0
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE {table}_new AS
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

    A new counter begins at a random point above 2^40, so that the IDs of two lakes rarely meet.
    """
    while True:
        start = (1 << 40) + secrets.randbelow(1 << 51)
        block = take_block(snapshot.ledger, f"amplitude_id:{snapshot.project}", size, start=start)
        within = (pads.field("amplitude_id") >= block.start) & (pads.field("amplitude_id") < block.stop)
        if not any(snapshot.dataset(table).count_rows(filter=within) for table in ("users", "devices")):
            return block


def fingerprints(connection: duckdb.DuckDBPyConnection) -> dict[datetime, Fingerprint]:
    """Return the fingerprint of the kept rows of the table `staged` in each hour of their `upload_time`."""
    rows = connection.sql(
        f"""
        SELECT floor(upload_time / {_HOUR_US})::BIGINT AS hour, count(*), {SUMS_SQL}
        FROM (SELECT upload_time, uuid, 0 AS revision FROM staged WHERE keep) GROUP BY hour
        """
    ).fetchall()
    return {
        _EPOCH + timedelta(microseconds=hour * _HOUR_US): Fingerprint.from_sums(count, high, low)
        for hour, count, high, low in rows
    }

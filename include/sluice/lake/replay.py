"""Decides what becomes of replayed rows, which bring their uuid, their Amplitude ID and their times.

A uuid enters a project once, whenever it was loaded and whatever else the row says. A row whose Amplitude ID
this lake holds for another user is refused: kept, it would make one person of two. Everything else is
kept as it is; the users and devices that are new get the IDs that the rows have.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from sluice.event_columns import EVENT_COLUMNS
from sluice.lake.decision import Decision, UploadTime, count_per_file, order_of, places_per_file
from sluice.lake.duplicates import choose_sample
from sluice.lake.key_search import find_keys
from sluice.lake.keys import UUID, Keys
from sluice.lake.reconciliation import require_staged
from sluice.lake.schema import STAGED_REJECTS, STAGED_REPLAY
from sluice.lake.snapshot import Snapshot
from sluice.lake.sql import connect
from sluice.lake.staged import StagedFile, batches_of, open_staged
from sluice.raw_text import cut_raw

_IDS = ["user_id", "device_id", "amplitude_id"]
_STAGED = pa.schema([pa.field("place", pa.int64()), *(STAGED_REPLAY.field(name) for name in _IDS)])
_COLUMNS = [*UUID.columns, *_IDS, "server_upload_time"]
_BATCH_ROWS = 100_000
# Rows of all columns that are looked at at once.
_REJECTED_ROWS = 5_000


def decide_replay(
    snapshot: Snapshot,
    files: Sequence[StagedFile],
    instant: datetime,
    upload_time: UploadTime,
    error_budget: float = 1.0,
) -> Decision:
    """Decide the rows of staged files (STAGED_REPLAY); neither instant nor `upload_time` changes a row.

    Of rows with one uuid the first stays, in the order of files and rows; one that the project has goes. A
    file of which more than the share `error_budget` is rejected, now or before, fails as a whole.
    """
    with connect() as connection:
        rows = _stage(connection, snapshot, files)
        keys = Keys(rows.high, rows.low)
        found = find_keys(snapshot, UUID, keys)
        out = np.zeros(len(rows.high), dtype=bool)
        asked, key = keys.find(rows.high, rows.low)
        out[asked] = np.isin(key, found.key)
        _set_out(connection, out)
        _side(connection, snapshot, "users", "amplitude_id", "user_id IS NOT NULL", "lake_holders")
        in_lake = out.copy()
        refused, failed = _refuse(connection, files, rows, out, error_budget)
        keep = np.zeros(len(out), dtype=bool)
        # A row that is refused keeps no other of its uuid out.
        left = ~out & ~refused
        firsts = Keys(rows.high, rows.low, left).first
        keep[firsts] = True
        _set_out(connection, ~keep)
        new_users, new_devices = _new_ids(connection, snapshot)
        rejected = list(_rejects(connection, snapshot, files, rows, refused))
    stayed = np.zeros(len(out), dtype=bool)
    stayed[asked] = keep[keys.first[key]] | np.isin(key, found.key)
    return Decision(
        keep=keep,
        seq=order_of(keep, rows.times),
        assigned={},
        kept_per_file=count_per_file(keep, rows.per_file),
        duplicate_per_file=[
            known + candidates - first
            for known, candidates, first in zip(
                count_per_file(in_lake & ~rows.of(failed), rows.per_file),
                count_per_file(left, rows.per_file),
                places_per_file(firsts, rows.per_file),
                strict=True,
            )
        ],
        rejected=rejected,
        new_users=new_users,
        new_devices=new_devices,
        sample=choose_sample(
            rows.per_file, ~keep & ~refused & stayed & ~rows.of(failed), rows.high, rows.low, keys, found
        ),
        failed=failed,
    )


@dataclass(frozen=True)
class _Rows:
    """Of all staged rows the keys and the times, in epoch microseconds."""

    high: np.ndarray
    low: np.ndarray
    times: np.ndarray
    per_file: list[int]

    @cached_property
    def starts(self) -> np.ndarray:
        """The place of each file's first row, and after the last file the number of all rows."""
        return np.cumsum([0, *self.per_file])

    def of(self, files: Iterable[int]) -> np.ndarray:
        """Return which rows are of these files."""
        mine = np.zeros(len(self.high), dtype=bool)
        for file in files:
            mine[self.starts[file] : self.starts[file + 1]] = True
        return mine

    def per_file_of(self, some: np.ndarray) -> dict[int, int]:
        """Return how many of these rows each file has, for those that have some."""
        files = np.searchsorted(self.starts, np.flatnonzero(some), side="right") - 1
        numbers, counts = np.unique(files, return_counts=True)
        return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def _stage(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, files: Sequence[StagedFile]) -> _Rows:
    """Read the narrow columns of all files: keys and times into arrays, ids into the table `staged`."""
    connection.execute(
        "CREATE TEMP TABLE staged (place BIGINT, user_id VARCHAR, device_id VARCHAR, amplitude_id BIGINT)"
    )
    halves: list[tuple[np.ndarray, np.ndarray]] = []
    times: list[np.ndarray] = []
    per_file: list[int] = []

    def rows(file: StagedFile) -> Iterator[pa.RecordBatch]:
        place = sum(per_file)
        per_file.append(0)
        with open_staged(snapshot.lake, str(file.events)) as staged:
            for batch in batches_of(staged, _BATCH_ROWS, _COLUMNS):
                high, low, _ = UUID.halves(batch)
                halves.append((high, low))
                times.append(batch.column("server_upload_time").cast(pa.int64()).to_numpy())
                places = np.arange(place + per_file[-1], place + per_file[-1] + batch.num_rows)
                per_file[-1] += batch.num_rows
                yield pa.RecordBatch.from_arrays(
                    [pa.array(places), *(batch.column(name) for name in _IDS)], schema=_STAGED
                )

    for file in files:
        connection.register("one_file", pa.RecordBatchReader.from_batches(_STAGED, rows(file)))
        connection.execute("INSERT INTO staged SELECT * FROM one_file")
        connection.unregister("one_file")
        require_staged(file, per_file[-1])
    empty = [np.empty(0, dtype=np.int64)]
    return _Rows(
        np.concatenate([high for high, _ in halves] or empty),
        np.concatenate([low for _, low in halves] or empty),
        np.concatenate(times or empty),
        per_file,
    )


def _set_out(connection: duckdb.DuckDBPyConnection, out: np.ndarray) -> None:
    """Let the view `rows` be the staged rows without these."""
    connection.register("dropped", pa.table({"place": np.flatnonzero(out)}))
    connection.execute("CREATE OR REPLACE TEMP VIEW rows AS FROM staged ANTI JOIN dropped USING (place)")


def _refuse(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[StagedFile],
    rows: _Rows,
    out: np.ndarray,
    error_budget: float,
) -> tuple[np.ndarray, dict[int, str]]:
    """Return which rows are refused, and by number why files fail; `refused` has who holds the rows' IDs.

    The rows of files that fail are put `out`; what they held is free again, so the others are looked at anew.
    """
    connection.execute("CREATE TEMP TABLE refused (place BIGINT, holder VARCHAR)")
    refused = np.zeros(len(out), dtype=bool)
    failed: dict[int, str] = {}
    while True:
        others = _ids_of_others(connection, len(out))
        new = {}
        for number, mine in rows.per_file_of(others).items():
            rejected, read = files[number].rejected + mine, files[number].rows_read
            if rejected > error_budget * read:
                new[number] = (
                    f"{rejected:,} of {read:,} rows were rejected ({rejected / read:.1%}), more than the"
                    f" source's error budget of {error_budget:.1%}, so none is loaded: {mine:,} ×"
                    " amplitude_id: … is the Amplitude ID of another user in this lake"
                )
        gone = rows.of(new)
        settled = others & gone if new else others
        refused |= settled
        connection.register("settled", pa.table({"place": np.flatnonzero(settled)}))
        connection.execute("INSERT INTO refused FROM others SEMI JOIN settled USING (place)")
        if not new:
            return refused, failed
        failed |= new
        out |= gone
        _set_out(connection, out)


def _ids_of_others(connection: duckdb.DuckDBPyConnection, count: int) -> np.ndarray:
    """Return which rows have an Amplitude ID that is another user's, who is in the table `others`.

    It is the user's who has it in the lake, else the first one's in this load. Rows without a user are
    never refused: an anonymous device has the ID of the user it was last seen with (amplitude-spec 1.6).
    """
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE others AS
        WITH holders AS (
            SELECT amplitude_id, list(DISTINCT user_id) AS users FROM lake_holders GROUP BY amplitude_id
            UNION ALL
            SELECT amplitude_id, [arg_min(user_id, place)] FROM rows
            ANTI JOIN lake_holders USING (amplitude_id)
            WHERE user_id IS NOT NULL GROUP BY amplitude_id
        )
        SELECT place, users[1] AS holder FROM rows JOIN holders USING (amplitude_id)
        WHERE user_id IS NOT NULL AND NOT list_contains(users, user_id)
        """
    )
    others = np.zeros(count, dtype=bool)
    others[connection.sql("SELECT place FROM others").fetchnumpy()["place"]] = True
    return others


def _new_ids(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> tuple[pa.Table, pa.Table]:
    """Return the users and the devices that the lake does not have, with the ID of their first row.

    An ID of a kept row that no side table would have otherwise, as a user's second one, comes as that of a
    device without id: the lake's counter looks into the side tables before it gives an ID away.
    """
    for table, key, those in (
        ("users", "user_id", "user_id IS NOT NULL"),
        ("devices", "device_id", "user_id IS NULL AND device_id IS NOT NULL"),
    ):
        _side(connection, snapshot, table, key, those, f"lake_{table}")
        _side(connection, snapshot, table, "amplitude_id", "true", f"ids_of_{table}")
        connection.execute(
            f"""
            CREATE TEMP TABLE new_{table} AS
            SELECT {key}, arg_min(amplitude_id, place) AS amplitude_id FROM rows
            ANTI JOIN lake_{table} USING ({key}) WHERE {those} GROUP BY {key}
            """
        )
    connection.execute(
        """
        INSERT INTO new_devices
        SELECT DISTINCT NULL, amplitude_id FROM rows
        ANTI JOIN ids_of_users USING (amplitude_id) ANTI JOIN ids_of_devices USING (amplitude_id)
        ANTI JOIN new_users USING (amplitude_id) ANTI JOIN new_devices USING (amplitude_id)
        """
    )
    users, devices = (
        connection.sql(f"SELECT * FROM new_{table}").to_arrow_table() for table in ("users", "devices")
    )
    return users, devices


def _side(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, table: str, by: str, those: str, into: str
) -> None:
    """Fill a table with the rows of a side table that share a value of the column `by` with `those` rows."""
    key = "user_id" if table == "users" else "device_id"
    connection.register("side", snapshot.side_rows(table, [key, "amplitude_id"]))
    connection.execute(
        f"""
        CREATE TEMP TABLE {into} AS
        SELECT * FROM side SEMI JOIN (SELECT {by} FROM rows WHERE {those}) USING ({by})
        """
    )
    connection.unregister("side")


def _rejects(
    connection: duckdb.DuckDBPyConnection,
    snapshot: Snapshot,
    files: Sequence[StagedFile],
    rows: _Rows,
    refused: np.ndarray,
) -> Iterator[pa.Table]:
    """Yield each file's refused rows as STAGED_REJECTS; they lie on disk, not in memory."""

    def of_file(file: StagedFile, place: int) -> Iterator[pa.RecordBatch]:
        with open_staged(snapshot.lake, str(file.events)) as staged:
            for batch in batches_of(staged, _REJECTED_ROWS, STAGED_REPLAY.names):
                mine = np.flatnonzero(refused[place : place + batch.num_rows])
                if mine.size:
                    holders = connection.execute(
                        "SELECT holder FROM refused WHERE place BETWEEN ? AND ? ORDER BY place",
                        [place, place + batch.num_rows - 1],
                    ).fetchall()
                    found = zip(batch.take(mine).to_pylist(), holders, strict=True)
                    yield pa.RecordBatch.from_pylist(
                        [_reject(row, holder, snapshot.project) for row, (holder,) in found], STAGED_REJECTS
                    )
                place += batch.num_rows

    some = rows.per_file_of(refused)
    for number, file in enumerate(files):
        if number in some:
            yield _on_disk(of_file(file, int(rows.starts[number])))
        else:
            yield STAGED_REJECTS.empty_table()


def _reject(row: dict[str, Any], holder: str, project: int) -> dict[str, Any]:
    return {
        "row": row["row"],
        "field": "amplitude_id",
        "reason": f"{row['amplitude_id']} is the Amplitude ID of another user in this lake,"
        f" {json.dumps(holder[:60], ensure_ascii=False)}",
        "raw": cut_raw(_line(row, project)),
    }


def _on_disk(batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """Return batches of STAGED_REJECTS as a table that is mapped from a file, which goes with the table."""
    with tempfile.NamedTemporaryFile(prefix="sluice-rejects-") as file:
        with pa.ipc.new_file(file, STAGED_REJECTS) as writer:
            for batch in batches:
                writer.write_batch(batch)
        file.flush()
        with pa.memory_map(file.name) as mapped:
            return pa.ipc.open_file(mapped).read_all()


def _line(row: dict[str, Any], project: int) -> str:
    """Write a staged row as the exported line that it came from."""
    members = [
        f"{json.dumps(key)}:{_text(kind, project if key == 'app' else row[key])}"
        for key, kind in EVENT_COLUMNS.items()
    ]
    if row["extra"]:
        members.append(row["extra"][1:-1])
    return f"{{{','.join(members)}}}"


def _text(kind: str, value: Any) -> str:
    if value is not None and kind == "json":
        return str(value)
    if isinstance(value, datetime):
        value = value.replace(tzinfo=None).isoformat(" ", "microseconds")
    return json.dumps(value, ensure_ascii=False)

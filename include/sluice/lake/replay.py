"""Decides what becomes of replayed rows, which bring their uuid, their Amplitude ID and their times.

A uuid enters a project once, whenever it was loaded and whatever else the row says. A row whose Amplitude ID
this lake holds for another user is refused: kept, it would make one person of two. Everything else is
kept as it is; the users and devices that are new get the IDs that the rows have.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from sluice.event_columns import EVENT_COLUMNS
from sluice.lake.decision import Decision, UploadTime
from sluice.lake.schema import MAX_RAW_CHARS, STAGED_REJECTS, STAGED_REPLAY
from sluice.lake.snapshot import Snapshot
from sluice.lake.sql import connect
from sluice.lake.staged import StagedFile, open_staged

_NARROW = ["row", "uuid", "user_id", "device_id", "amplitude_id", "server_upload_time"]
# A row's place in the order of files and of the rows in each.
_PLACE = 'file * 1_000_000_000_000 + "row"'


def decide_replay(
    snapshot: Snapshot, files: Sequence[StagedFile], instant: datetime, upload_time: UploadTime
) -> Decision:
    """Decide the rows of staged files (STAGED_REPLAY); neither instant nor `upload_time` changes a row.

    Of rows with one uuid the first stays, in the order of files and rows; one that the project has goes.
    """
    with connect() as connection:
        _stage(connection, snapshot, files)
        _drop_known(connection, snapshot)
        _refuse_ids_of_others(connection, snapshot)
        _drop_doubles(connection)
        new_users = _new_keys(connection, snapshot, "users", "user_id", "user_id IS NOT NULL")
        new_devices = _new_keys(
            connection, snapshot, "devices", "device_id", "user_id IS NULL AND device_id IS NOT NULL"
        )
        arrays = connection.sql(
            """
            SELECT keep, CASE WHEN keep THEN
                row_number() OVER (PARTITION BY keep ORDER BY upload_time, file, "row") - 1 ELSE -1 END AS seq
            FROM staged ORDER BY file, "row"
            """
        ).fetchnumpy()
        kept = dict(connection.sql("SELECT file, count(*) FROM staged WHERE keep GROUP BY file").fetchall())
        return Decision(
            keep=np.asarray(arrays["keep"], dtype=bool),
            seq=np.asarray(arrays["seq"], dtype=np.int64),
            assigned={},
            kept_per_file=[kept.get(index, 0) for index in range(len(files))],
            rejected=[_rejects(connection, snapshot, index, file) for index, file in enumerate(files)],
            new_users=new_users,
            new_devices=pa.concat_tables([new_devices, _taken(connection, snapshot)]),
        )


def _stage(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, files: Sequence[StagedFile]) -> None:
    """Load the narrow columns of all staged files into the table `staged`."""
    connection.execute(
        """
        CREATE TEMP TABLE staged (
            file INTEGER, "row" BIGINT, uuid VARCHAR, user_id VARCHAR, device_id VARCHAR,
            amplitude_id BIGINT, upload_time BIGINT, keep BOOLEAN, holder VARCHAR)
        """
    )
    schema = pa.schema([STAGED_REPLAY.field(name) for name in _NARROW])
    for index, staged in enumerate(files):
        with open_staged(snapshot.lake, str(staged.events)) as file:
            batches = (batch.select(_NARROW) for batch in file.iter_batches(columns=_NARROW))
            connection.register("one_file", pa.RecordBatchReader.from_batches(schema, batches))
            connection.execute(
                f"""
                INSERT INTO staged
                SELECT {index}, "row", uuid, user_id, device_id, amplitude_id, epoch_us(server_upload_time),
                       true, NULL
                FROM one_file
                """
            )
            connection.unregister("one_file")


def _drop_known(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> None:
    """Clear `keep` of every row whose uuid the project has, in whatever hour."""
    history = snapshot.dataset("events").scanner(columns=["uuid"], batch_size=100_000, use_threads=False)
    connection.register("history", history.to_reader())
    connection.execute(
        """
        CREATE TEMP TABLE known AS
        SELECT DISTINCT uuid::UUID AS uuid FROM history
        SEMI JOIN (SELECT uuid::UUID AS wanted FROM staged) ON uuid::UUID = wanted
        """
    )
    connection.unregister("history")
    connection.execute("UPDATE staged SET keep = false FROM known k WHERE staged.uuid::UUID = k.uuid")


def _refuse_ids_of_others(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> None:
    """Clear `keep`, and name the holder, of rows with an Amplitude ID that is another user's.

    It is the user's who has it in the lake, else the first one's in this load. Rows without a user are
    never refused: an anonymous device has the ID of the user it was last seen with (amplitude-spec 1.6).
    """
    _side(connection, snapshot, "users", "amplitude_id", "keep AND user_id IS NOT NULL", "lake_holders")
    connection.execute(
        f"""
        CREATE TEMP TABLE holders AS
        SELECT amplitude_id, list(DISTINCT user_id) AS users FROM lake_holders GROUP BY amplitude_id
        UNION ALL
        SELECT amplitude_id, [arg_min(user_id, {_PLACE})] FROM staged
        ANTI JOIN lake_holders USING (amplitude_id)
        WHERE keep AND user_id IS NOT NULL GROUP BY amplitude_id
        """
    )
    connection.execute(
        """
        UPDATE staged SET keep = false, holder = h.users[1] FROM holders h
        WHERE staged.keep AND staged.amplitude_id = h.amplitude_id
          AND NOT list_contains(h.users, staged.user_id)
        """
    )


def _drop_doubles(connection: duckdb.DuckDBPyConnection) -> None:
    """Clear `keep` of every row but the first of each uuid."""
    connection.execute(
        f"""
        UPDATE staged SET keep = false FROM (
            SELECT uuid::UUID AS uuid, min({_PLACE}) AS first FROM staged WHERE keep GROUP BY ALL
            HAVING count(*) > 1) d
        WHERE staged.keep AND staged.uuid::UUID = d.uuid AND {_PLACE} > d.first
        """
    )


def _new_keys(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, table: str, key: str, those: str
) -> pa.Table:
    """Return the users or devices that the lake does not have, with the ID of their first row; also as
    `new_<table>`.
    """
    _side(connection, snapshot, table, key, f"keep AND {those}", f"lake_{table}")
    connection.execute(
        f"""
        CREATE TEMP TABLE new_{table} AS
        SELECT {key}, arg_min(amplitude_id, {_PLACE}) AS amplitude_id FROM staged
        ANTI JOIN lake_{table} USING ({key})
        WHERE keep AND {those} GROUP BY {key}
        """
    )
    found: pa.Table = connection.sql(f"SELECT * FROM new_{table}").to_arrow_table()
    return found


def _taken(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> pa.Table:
    """Return, as devices without id, the IDs of kept rows that no side table would have otherwise.

    They are a user's or a device's second one. The lake's counter looks into the side tables before it gives
    an ID away, so each one that is in use must be there.
    """
    for table in ("users", "devices"):
        _side(connection, snapshot, table, "amplitude_id", "keep", f"ids_of_{table}")
    found: pa.Table = connection.sql(
        """
        SELECT DISTINCT NULL::VARCHAR AS device_id, amplitude_id FROM staged
        ANTI JOIN ids_of_users USING (amplitude_id)
        ANTI JOIN ids_of_devices USING (amplitude_id)
        ANTI JOIN new_users USING (amplitude_id)
        ANTI JOIN new_devices USING (amplitude_id)
        WHERE keep
        """
    ).to_arrow_table()
    return found


def _side(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, table: str, by: str, those: str, into: str
) -> None:
    """Fill a table with the rows of a side table that share a value of the column `by` with `those` rows."""
    connection.register("side", snapshot.dataset(table).scanner(batch_size=100_000).to_reader())
    connection.register("committed", snapshot.committed)
    connection.execute(
        f"""
        CREATE TEMP TABLE {into} AS
        SELECT s.* FROM side s
        SEMI JOIN (SELECT {by} FROM staged WHERE {those}) w ON s.{by} = w.{by}
        SEMI JOIN committed c ON s.n = c.n AND s.attempt = c.attempt
        """
    )
    connection.unregister("side")
    connection.unregister("committed")


def _rejects(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, index: int, staged: StagedFile
) -> pa.Table:
    """Return a file's refused rows as STAGED_REJECTS; they lie on disk, not in memory."""
    holders = dict(
        connection.execute(
            'SELECT "row", holder FROM staged WHERE file = ? AND holder IS NOT NULL', [index]
        ).fetchall()
    )
    if not holders:
        return STAGED_REJECTS.empty_table()

    def refused() -> Iterator[pa.RecordBatch]:
        numbers = np.fromiter(holders, dtype=np.int64)
        with open_staged(snapshot.lake, str(staged.events)) as file:
            for batch in file.iter_batches(batch_size=5_000):
                mine = batch.filter(pa.array(np.isin(batch.column("row").to_numpy(), numbers)))
                rows = [
                    {
                        "row": row["row"],
                        "field": "amplitude_id",
                        "reason": f"{row['amplitude_id']} is the Amplitude ID of another user in this lake,"
                        f" {json.dumps(holders[row['row']][:60], ensure_ascii=False)}",
                        "raw": _line(row, snapshot.project)[:MAX_RAW_CHARS],
                    }
                    for row in mine.to_pylist()
                ]
                yield pa.RecordBatch.from_pylist(rows, STAGED_REJECTS)

    return _on_disk(refused())


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

"""Stages rows in export form below a lake as a replay does, for tests of the lake."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sluice.lake import Lake, StagedFile
from sluice.lake.schema import STAGED_REPLAY

FIVE = datetime(2020, 1, 25, 17, 3, 12, 253000, tzinfo=UTC)


def row(name: str, **given: Any) -> dict[str, Any]:
    """A staged row whose uuid follows from its name."""
    return {
        "uuid": uuid_of(name),
        "amplitude_id": 45975551903,
        "user_id": "jack@example.com",
        "device_id": "device-1",
        "event_type": name,
        "event_time": FIVE,
        "processed_time": FIVE,
        "server_upload_time": FIVE,
        "event_properties": "{}",
        **given,
    }


def uuid_of(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def stage_replay(lake: Lake, key: str, rows: Iterable[dict[str, Any]]) -> StagedFile:
    """Stage one file of rows."""
    table = pa.Table.from_pylist([{**one, "row": n} for n, one in enumerate(rows)], schema=STAGED_REPLAY)
    path = f"_staging/{uuid.uuid4()}.parquet"
    lake.filesystem().create_dir("_staging")
    pq.write_table(table, path, filesystem=lake.filesystem(), compression="zstd")
    return StagedFile("bucket", key, "etag", rows_read=table.num_rows, ignored=0, rejected=0, events=path)

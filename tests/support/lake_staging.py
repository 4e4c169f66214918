"""Stages rows below a lake as the import does, for tests and benchmarks of the lake."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sluice.lake import Lake, StagedFile
from sluice.lake.schema import STAGED_EVENTS

NOON = datetime(2013, 1, 2, 12, tzinfo=UTC)


def staged_rows(
    insert_ids: Iterable[str],
    *,
    key: str,
    user: Callable[[str], str | None] = lambda _: "somebody",
    device: str = "device",
    at: Callable[[int], datetime] = lambda _: NOON,
) -> pa.Table:
    rows: list[dict[str, Any]] = []
    for index, insert_id in enumerate(insert_ids):
        key_hash = hashlib.blake2b(f"{device}\0{insert_id}".encode(), digest_size=16).digest()
        rows.append(
            {
                "row": index,
                "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{key}:{index}")),
                "$insert_id": insert_id,
                "device_id": device,
                "user_id": user(insert_id),
                "event_type": "tested",
                "event_time": at(index),
                "dedup_hi": int.from_bytes(key_hash[:8], "big", signed=True),
                "dedup_lo": int.from_bytes(key_hash[8:], "big", signed=True),
            }
        )
    return pa.Table.from_pylist(rows, schema=STAGED_EVENTS)


def stage(lake: Lake, key: str, insert_ids: Iterable[str], **how: Any) -> StagedFile:
    """Stage one source file of the given insert ids."""
    rows = staged_rows(insert_ids, key=key, **how)
    path = f"_staging/{uuid.uuid4()}.parquet"
    lake.filesystem().create_dir("_staging")
    pq.write_table(rows, path, filesystem=lake.filesystem(), compression="zstd")
    return StagedFile("bucket", key, "etag", rows_read=rows.num_rows, ignored=0, rejected=0, events=path)

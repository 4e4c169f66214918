"""The row log of a turn: who is added, who is removed, who is skipped and why (amplitude-spec 2.3)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sluice.cohorts.list_files import AMPLITUDE_ID, ROW_LOG, VALUE

if TYPE_CHECKING:
    from sluice.cohorts.diff import Lists

# Reasons that stand in the log.
UNRESOLVED = "unresolved mapping"
TOO_LARGE = "user_properties dropped: with them the user is larger than a message may be"

_SCHEMA = pa.schema(
    [
        pa.field("amplitude_id", pa.int64(), nullable=False),
        pa.field("operation", pa.string(), nullable=False),
        pa.field("value", pa.string()),
        pa.field("reason", pa.string()),
    ]
)
_BATCH_ROWS = 131_072


def write_row_log(lists: Lists, folder: Path, *, streamed: bool, oversized: Path | None = None) -> int:
    """Write the row log of a turn's lists to `folder`; return its rows.

    `operation` is added, removed or skipped, `value` is what matches the member at the destination. A stream
    skips who has no value (decisions K-11): each stands in the log of the turn in which it comes or goes.
    `oversized` is the file of the values that lost their properties, if any did.
    """
    large = pa.array([], pa.string())
    if oversized is not None and oversized.exists():
        large = pq.read_table(oversized)[VALUE].combine_chunks()
    rows = 0
    with pq.ParquetWriter(folder / ROW_LOG, _SCHEMA, compression="zstd") as log:
        for path, operation in ((lists.entering_path, "added"), (lists.exiting_path, "removed")):
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_BATCH_ROWS, columns=[AMPLITUDE_ID, VALUE]):
                    log.write_batch(_entries(batch, operation, large, streamed=streamed))
                    rows += len(batch)
    return rows


def _entries(batch: pa.RecordBatch, operation: str, large: pa.Array, *, streamed: bool) -> pa.RecordBatch:
    value = batch[VALUE]
    done = pa.repeat(operation, len(batch))
    reason = pc.if_else(pc.is_in(value, large), TOO_LARGE, pa.scalar(None, pa.string()))
    if streamed:
        skipped = pc.is_null(value)
        done = pc.if_else(skipped, "skipped", done)
        reason = pc.if_else(skipped, UNRESOLVED, reason)
    return pa.RecordBatch.from_arrays([batch[AMPLITUDE_ID], done, value, reason], schema=_SCHEMA)

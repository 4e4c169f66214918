"""Turns staged rows into rows of `events`: what the load assigns is added, what is not kept is left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.lake.decision import Decision
from sluice.lake.reorder import reorder
from sluice.lake.schema import EVENTS, TIMESTAMP
from sluice.lake.snapshot import Snapshot
from sluice.lake.staged import open_staged

BATCH_ROWS = 20_000


def enriched_rows(
    snapshot: Snapshot, files: Sequence[str], decision: Decision, instant: datetime
) -> Iterator[pa.RecordBatch]:
    """Yield the kept rows of the staged files as rows of `events`, in the order of their `seq`."""
    rows = _enrich(snapshot, files, decision, instant)
    if decision.in_order:
        yield from rows
        return
    yield from reorder(rows, decision.seq[decision.keep], EVENTS, BATCH_ROWS)


def _enrich(
    snapshot: Snapshot, files: Sequence[str], decision: Decision, instant: datetime
) -> Iterator[pa.RecordBatch]:
    start = 0
    for path in files:
        with open_staged(snapshot.lake, path) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                end = start + batch.num_rows
                keep = decision.keep[start:end]
                if keep.any():
                    yield _assign(
                        batch.filter(pa.array(keep)),
                        project=snapshot.project,
                        instant=instant,
                        upload_time=pa.array(decision.upload_time[start:end][keep]).cast(TIMESTAMP),
                        amplitude_id=pa.array(decision.amplitude_id[start:end][keep]),
                        seq=pa.array(decision.seq[start:end][keep]),
                    )
                start = end


def _assign(
    batch: pa.RecordBatch,
    *,
    project: int,
    instant: datetime,
    upload_time: pa.Array,
    amplitude_id: pa.Array,
    seq: pa.Array,
) -> pa.RecordBatch:
    rows = batch.num_rows
    assigned = {
        "amplitude_id": amplitude_id,
        "app": pa.array(np.full(rows, project, dtype=np.int64)),
        "server_upload_time": upload_time,
        # Ingested and processed are one step here (decisions E-21).
        "processed_time": upload_time,
        "upload_date": pc.floor_temporal(upload_time, unit="day").cast(pa.date32()),
        "loaded_at": pa.repeat(pa.scalar(instant, TIMESTAMP), rows),
        "seq": seq,
        "revision": pa.array(np.zeros(rows, dtype=np.int32)),
    }
    columns = [
        assigned[field.name] if field.name in assigned else batch.column(field.name) for field in EVENTS
    ]
    return pa.RecordBatch.from_arrays(columns, schema=EVENTS)

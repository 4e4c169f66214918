"""Turns staged rows into rows of `events`: what the load assigns is added, what is not kept is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.lake.decision import Decision
from sluice.lake.reorder import reorder
from sluice.lake.schema import EVENTS, TIMESTAMP
from sluice.lake.snapshot import Snapshot
from sluice.lake.staged import StagedFile, open_staged

BATCH_ROWS = 20_000

# The same in all rows of a file: as a dictionary of the load's files they cost next to nothing, and in the
# Parquet file they are text like any other.
_ORIGIN = pa.dictionary(pa.int32(), pa.string())
LOADED = pa.schema(
    [field.with_type(_ORIGIN) if field.name in ("source", "object") else field for field in EVENTS]
)


def enriched_rows(
    snapshot: Snapshot, source: str, files: Sequence[StagedFile], decision: Decision, instant: datetime
) -> Iterator[pa.RecordBatch]:
    """Yield the kept rows of a source's staged files as rows of `events`, in the order of their `seq`."""
    rows = _enrich(snapshot, source, files, decision, instant)
    if decision.in_order:
        yield from rows
        return
    yield from reorder(rows, decision.seq[decision.keep], LOADED, BATCH_ROWS)


def _enrich(
    snapshot: Snapshot, source: str, files: Sequence[StagedFile], decision: Decision, instant: datetime
) -> Iterator[pa.RecordBatch]:
    constants = {
        "app": pa.scalar(snapshot.project, pa.int64()),
        "loaded_at": pa.scalar(instant, TIMESTAMP),
        "revision": pa.scalar(0, pa.int32()),
    }
    sources, objects = pa.array([source]), pa.array([file.uri for file in files])
    start = 0
    for index, staged in enumerate(files):
        with open_staged(snapshot.lake, str(staged.events)) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                end = start + batch.num_rows
                keep = decision.keep[start:end]
                if keep.any():
                    rows = batch.filter(pa.array(keep))
                    assigned = {name: pa.repeat(value, rows.num_rows) for name, value in constants.items()}
                    assigned |= {
                        name: _array(values[start:end][keep], name)
                        for name, values in {**decision.assigned, "seq": decision.seq}.items()
                    }
                    assigned["source"] = _repeated(0, sources, rows.num_rows)
                    assigned["object"] = _repeated(index, objects, rows.num_rows)
                    yield _assign(rows, assigned)
                start = end


def _array(values: np.ndarray, column: str) -> pa.Array:
    return pa.array(values).cast(EVENTS.field(column).type)


def _repeated(index: int, values: pa.Array, times: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(np.full(times, index, dtype=np.int32), values)


def _assign(rows: pa.RecordBatch, assigned: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """Return the rows with their assigned columns, and the day of their server_upload_time."""

    def column(name: str) -> pa.Array:
        return assigned[name] if name in assigned else rows.column(name)

    day = pc.floor_temporal(column("server_upload_time"), unit="day").cast(pa.date32())
    return pa.RecordBatch.from_arrays(
        [day if name == "upload_date" else column(name) for name in LOADED.names], schema=LOADED
    )

"""The rejected rows of a source as they stand in the lake."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import select

from sluice.lake import Lake
from sluice.lake.reorder import reorder
from sluice.ledger import Ledger
from sluice.ledger.again import open_rejects
from sluice.ledger.tables import loads

_COLUMNS = ("key", "row", "field", "reason", "raw", "rejected_at")
_BATCH_ROWS = 1024


@dataclass(frozen=True)
class RejectedRow:
    """A row that did not become an event; `row` counts from 0, `raw` is its text."""

    key: str
    row: int
    field: str | None
    reason: str
    raw: str
    rejected_at: datetime


def rejected_rows(
    lake: Lake, ledger: Ledger, project: int, source: str, keys: Collection[str] = ()
) -> Iterator[RejectedRow]:
    """Stream the open rejects of a source's files, or of those named, as their last load has them.

    Rows count only if the log has their commit (ADR 1); those of an attempt before a file's retry, and those
    that were taken again, are past.
    """
    current = {
        (one.held_in, one.key): one.load_number
        for one in open_rejects(ledger, source)
        if not keys or one.key in keys
    }
    attempts = _attempts(ledger, project, source)
    for batch in _batches(lake, project, source, None, ["bucket", "n", "attempt", *_COLUMNS]):
        for row in batch.to_pylist():
            number, attempt = row["n"], row["attempt"]
            if current.get((row["bucket"], row["key"])) == number and attempts.get(number) == attempt:
                yield RejectedRow(**{name: row[name] for name in _COLUMNS})


def rejects_of_load(
    lake: Lake, ledger: Ledger, project: int, source: str, bucket: str, key: str, number: int
) -> Iterator[RejectedRow]:
    """Stream the rejects that one load has of one file, by their row numbers."""
    attempt = _attempts(ledger, project, source).get(number)
    mine = (
        (pc.field("n") == number)
        & (pc.field("attempt") == attempt)
        & (pc.field("bucket") == bucket)
        & (pc.field("key") == key)
    )
    numbers = [batch.column("row").to_numpy() for batch in _batches(lake, project, source, mine, ["row"])]
    rows = np.concatenate(numbers) if numbers else np.empty(0, dtype=np.int64)
    batches = _batches(lake, project, source, mine, list(_COLUMNS))
    if np.any(np.diff(rows) < 0):
        # A compaction, or a load that rejected rows itself, has them in another order.
        places = np.empty(len(rows), dtype=np.int64)
        places[np.argsort(rows)] = np.arange(len(rows))
        first = next(batches)
        batches = reorder(_from(first, batches), places, first.schema, _BATCH_ROWS)
    for batch in batches:
        for row in batch.to_pylist():
            yield RejectedRow(**row)


def _from(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def _batches(
    lake: Lake, project: int, source: str, more: pc.Expression | None, columns: list[str]
) -> Iterator[pa.RecordBatch]:
    table = lake.table("rejects").to_pyarrow_dataset(filesystem=lake.table_filesystem("rejects"))
    mine = (pc.field("app") == project) & (pc.field("source") == source)
    batches: Iterator[pa.RecordBatch] = table.to_batches(
        columns=columns,
        filter=mine if more is None else mine & more,
        batch_size=_BATCH_ROWS,
        batch_readahead=1,
        fragment_readahead=1,
    )
    return (batch for batch in batches if batch.num_rows)


def _attempts(ledger: Ledger, project: int, source: str) -> dict[int, str]:
    """Return the attempt that committed each load of a source."""
    with ledger.begin() as connection:
        rows = connection.execute(
            select(loads.c.number, loads.c.attempt).where(
                loads.c.project == project, loads.c.source == source
            )
        )
        return {row.number: row.attempt for row in rows}

"""The rejected rows of a source as they stand in the lake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import pyarrow.dataset as pads
from sqlalchemy import select

from sluice.lake import Lake
from sluice.ledger import Ledger, files
from sluice.ledger.tables import loads

_COLUMNS = ("key", "row", "field", "reason", "raw", "rejected_at")


@dataclass(frozen=True)
class RejectedRow:
    """A row that did not become an event; `row` counts from 0, `raw` is its text."""

    key: str
    row: int
    field: str | None
    reason: str
    raw: str
    rejected_at: datetime


def rejected_rows(lake: Lake, ledger: Ledger, project: int, source: str) -> Iterator[RejectedRow]:
    """Stream the rejected rows of a source's files, as their last load has them.

    Rows count only if the log has their commit (ADR 1); those of an attempt before a file's retry are past.
    """
    current = files.load_numbers(ledger, source)
    with ledger.begin() as connection:
        rows = connection.execute(
            select(loads.c.number, loads.c.attempt).where(
                loads.c.project == project, loads.c.source == source
            )
        )
        attempts = {row.number: row.attempt for row in rows}
    table = lake.table("rejects").to_pyarrow_dataset(filesystem=lake.table_filesystem("rejects"))
    mine = (pads.field("app") == project) & (pads.field("source") == source)
    batches = table.to_batches(
        columns=["bucket", "n", "attempt", *_COLUMNS],
        filter=mine,
        batch_size=1024,
        batch_readahead=1,
        fragment_readahead=1,
    )
    for batch in batches:
        for row in batch.to_pylist():
            number, attempt = row["n"], row["attempt"]
            if current.get((row["bucket"], row["key"])) == number and attempts.get(number) == attempt:
                yield RejectedRow(**{name: row[name] for name in _COLUMNS})

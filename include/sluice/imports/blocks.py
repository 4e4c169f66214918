"""What a piece of a file becomes: a block of staged rows, with what became of every row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from sluice.event_schema import STAGED_REJECTS
from sluice.imports.events import Cells, event_batch, property_chars
from sluice.imports.records import Piece
from sluice.imports.streams import batches_of, stream_of
from sluice.imports.tally import Tally
from sluice.imports.times import EventTimes

# A batch: by rows, or earlier by characters where rows are large.
BATCH_ROWS = 20_000
BATCH_CHARS = 32 << 20
# A row's fixed cost beside its properties, roughly.
_ROW_CHARS = 500


class Reject(NamedTuple):
    """A row that did not become an event: a row of STAGED_REJECTS."""

    row: int
    field: str | None
    reason: str
    raw: str


@dataclass(frozen=True)
class Block:
    """A piece of a file, converted: batches of STAGED_EVENTS and STAGED_REJECTS in the rows' order."""

    events: list[pa.RecordBatch]
    rejects: list[pa.RecordBatch]
    tally: Tally

    def __reduce__(self) -> tuple[Any, ...]:
        # Arrow's own streams: batches pickled column by column take ten times as long.
        return _unpickled, (stream_of(self.events), stream_of(self.rejects), self.tally)


class Pipeline(Protocol):
    """Converts the pieces of one file, any of them in any order; it can be pickled before it has begun."""

    def block(self, first: int, piece: Piece) -> Block:
        """Convert one piece, whose first row has the number `first` in the file."""
        ...


def _unpickled(events: bytes, rejects: bytes, tally: Tally) -> Block:
    return Block(batches_of(events), batches_of(rejects), tally)


class BlockBuilder:
    """Collects the rows of a block; no batch grows beyond all measure."""

    def __init__(self, times: EventTimes) -> None:
        self._times = times
        self._batches: list[pa.RecordBatch] = []
        self._rows: list[Cells] = []
        self._refused: list[Reject] = []
        self._chars = 0

    def add(self, row: Cells | Reject) -> None:
        """Take one row."""
        if isinstance(row, list):
            self._rows.append(row)
            self._chars += property_chars(row) + _ROW_CHARS
            if len(self._rows) >= BATCH_ROWS or self._chars >= BATCH_CHARS:
                self._flush()
        else:
            self._refused.append(row)

    def block(self, tally: Tally) -> Block:
        """Return all rows that were taken."""
        self._flush()
        return Block(self._batches, [reject_batch(self._refused)] if self._refused else [], tally)

    def _flush(self) -> None:
        if self._rows:
            self._batches.append(event_batch(self._rows, self._times))
            self._rows, self._chars = [], 0


def reject_batch(rejects: list[Reject]) -> pa.RecordBatch:
    """Return rejected rows as a batch of STAGED_REJECTS."""
    columns = zip(*rejects, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, STAGED_REJECTS, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=STAGED_REJECTS)

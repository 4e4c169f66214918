"""Reads data files piece by piece for the engine, a few pieces ahead of it.

Arrow's own scanner reads on until a gigabyte waits, however slowly the engine takes it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa
import pyarrow.dataset as pads

# Uncompressed bytes of the wanted columns that are read at once, and how many such pieces are under way: two
# for the processors, two that wait for the store.
_PIECE_BYTES = 16 << 20
_PIECES_AHEAD = 4
# Rows that the engine takes at once.
_BATCH_ROWS = 20_000


@dataclass(frozen=True)
class Scan:
    """One look at some files: what the engine asks of an Arrow scanner, and no more."""

    files: Sequence[pads.ParquetFileFragment]
    schema: pa.Schema
    columns: Sequence[str]
    rows: pads.Expression | None

    @property
    def projected_schema(self) -> pa.Schema:
        """The columns that come."""
        return pa.schema([self.schema.field(name) for name in self.columns])

    def to_reader(self) -> pa.RecordBatchReader:
        """Stream the rows, in no order."""
        return pa.RecordBatchReader.from_batches(self.projected_schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for table in _ahead(self._read, self._pieces()):
            yield from table.to_batches(_BATCH_ROWS)

    def _read(self, piece: pads.ParquetFileFragment) -> pa.Table:
        return piece.to_table(
            schema=self.schema, columns=list(self.columns), filter=self.rows, use_threads=False
        )

    def _pieces(self) -> Iterator[pads.ParquetFileFragment]:
        """Yield the row groups that can have such rows, several where they are small."""
        for file in self.files:
            chosen = file if self.rows is None else file.subset(self.rows, schema=self.schema)
            groups: list[int] = []
            size = 0
            for group in chosen.row_groups:
                groups.append(group.id)
                size += _bytes(file, group.id, self.columns)
                if size >= _PIECE_BYTES:
                    yield file.subset(row_group_ids=groups)
                    groups, size = [], 0
            if groups:
                yield file.subset(row_group_ids=groups)


def _bytes(file: pads.ParquetFileFragment, group: int, columns: Sequence[str]) -> int:
    facts = file.metadata.row_group(group)
    every = (facts.column(place) for place in range(facts.num_columns))
    return sum(one.total_uncompressed_size for one in every if one.path_in_schema in columns)


def _ahead(
    read: Callable[[pads.ParquetFileFragment], pa.Table], pieces: Iterator[pads.ParquetFileFragment]
) -> Iterator[pa.Table]:
    """Yield what is read of each piece, in their order, with some under way."""
    pool = ThreadPoolExecutor(_PIECES_AHEAD, thread_name_prefix="scan")
    try:
        under_way = deque(pool.submit(read, piece) for piece in islice(pieces, _PIECES_AHEAD))
        while under_way:
            table = under_way.popleft().result()
            if (piece := next(pieces, None)) is not None:
                under_way.append(pool.submit(read, piece))
            yield table
    finally:
        # The engine may have had enough before the end.
        pool.shutdown(cancel_futures=True)

"""Writes a list as one Parquet file in the background."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Executor, Future
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from sluice.cohorts.list_files import AMPLITUDE_ID, VALUE

# Batches that wait to be written: what memory a slow disk may take.
_WAITING = 2


class ListWriter:
    """One list's file; `rows` and `nulls` count what it was given: rows, and those without a value.

    The executor must have a single thread, which keeps the batches in their order.
    """

    def __init__(self, path: Path, schema: pa.Schema, executor: Executor) -> None:
        self.schema = schema
        self.rows = self.nulls = 0
        self._executor = executor
        self._waiting: deque[Future[None]] = deque()
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            compression_level=1,
            # Ids and values hardly repeat: looking for repetitions takes time and saves nothing.
            use_dictionary=[name for name in schema.names if name not in (AMPLITUDE_ID, VALUE)],
            column_encoding={AMPLITUDE_ID: "DELTA_BINARY_PACKED"} if AMPLITUDE_ID in schema.names else None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            while self._waiting and error is None:
                self._waiting.popleft().result()
        finally:
            for future in self._waiting:
                future.cancel()
            self._executor.submit(self._writer.close).result()

    def write(self, columns: Iterable[pa.Array]) -> None:
        """Add rows, in the schema's columns."""
        batch = pa.RecordBatch.from_arrays(list(columns), schema=self.schema)
        if not len(batch):
            return
        self.rows += len(batch)
        self.nulls += batch.column(VALUE).null_count
        while len(self._waiting) >= _WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._executor.submit(self._writer.write_batch, batch))

"""Puts rows into an order that is known beforehand, with memory that does not grow.

A sort in the SQL engine holds on to the batches that it is given, beyond its own memory limit: 1.9 GB for
three million events. Here each row's place is known, so the rows are dealt out to files by place, and one
file at a time is read back.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa

# Rows that are put in order in memory at once.
BUCKET_ROWS = 50_000
# Files that are open at once; beyond 12.8 million rows the buckets grow instead.
MAX_BUCKETS = 256


def reorder(
    batches: Iterable[pa.RecordBatch], places: np.ndarray, schema: pa.Schema, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the batches so that the i-th row comes at the place `places[i]`.

    `places` is a permutation of 0, 1, 2, … with one item for each row.
    """
    buckets = min(-(-len(places) // BUCKET_ROWS), MAX_BUCKETS)
    if buckets <= 1:
        yield from _in_order(pa.Table.from_batches(batches, schema), places, batch_rows)
        return
    bucket_of = places // -(-len(places) // buckets)
    with tempfile.TemporaryDirectory(prefix="sluice-order-") as folder:
        paths = [Path(folder, str(bucket)) for bucket in range(buckets)]
        _deal_out(batches, bucket_of, schema, paths)
        for bucket, path in enumerate(paths):
            with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as reader:
                rows = reader.read_all()
            path.unlink()
            yield from _in_order(rows, places[bucket_of == bucket], batch_rows)


def _deal_out(
    batches: Iterable[pa.RecordBatch], bucket_of: np.ndarray, schema: pa.Schema, paths: list[Path]
) -> None:
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                pa.ipc.new_stream(stack.enter_context(pa.OSFile(str(path), "wb")), schema, options=options)
            )
            for path in paths
        ]
        start = 0
        for batch in batches:
            buckets = bucket_of[start : start + batch.num_rows]
            start += batch.num_rows
            by_bucket = np.argsort(buckets, kind="stable")
            dealt = batch.take(pa.array(by_bucket))
            found, firsts = np.unique(buckets[by_bucket], return_index=True)
            for bucket, first, end in zip(found, firsts, [*firsts[1:], batch.num_rows], strict=True):
                writers[bucket].write_batch(dealt.slice(first, end - first))


def _in_order(rows: pa.Table, places: np.ndarray, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows by their places, which may have gaps."""
    yield from rows.take(pa.array(np.argsort(places))).combine_chunks().to_batches(batch_rows)

"""Record batches on their way: below the lake's filesystem, and from process to process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs


def open_output(filesystem: pafs.FileSystem, path: str) -> pa.NativeFile:
    """Open a file for writing; its folder is made only where folders exist, as on S3 it leaves markers."""
    try:
        return filesystem.open_output_stream(path)
    except FileNotFoundError:
        filesystem.create_dir(str(PurePosixPath(path).parent), recursive=True)
        return filesystem.open_output_stream(path)


def stream_of(batches: Sequence[pa.RecordBatch]) -> bytes:
    """Return batches of one schema as an Arrow stream; b"" for none."""
    if not batches:
        return b""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue())


def batches_of(stream: bytes) -> list[pa.RecordBatch]:
    """Return the batches of an Arrow stream; they share its memory."""
    return list(pa.ipc.open_stream(stream)) if stream else []


def in_row_order(batches: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Put batches of one schema together, sorted by their column `row`; batches of none give none."""
    if len(batches) < 2:
        return list(batches)
    table = pa.Table.from_batches(batches).combine_chunks()
    order = np.argsort(table.column("row").to_numpy())
    return [batch for batch in table.take(pa.array(order)).to_batches() if batch.num_rows]

"""Arrow columns of text, and rows of text joined from columns: what every line format is written with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

# Largest input of one encoding, in bytes: bounds memory, and keeps the text below the 2 GiB that 32-bit
# offsets reach even if every byte were a control character (six bytes escaped).
MAX_INPUT_BYTES = 64 << 20

# One argument of a join: a text that all rows share, or an array with one text a row.
Piece = Any


def bounded(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cut a batch into parts of at most MAX_INPUT_BYTES, or of one row; none of them is empty."""
    if batch.num_rows > 1 and batch.nbytes > MAX_INPUT_BYTES:
        half = batch.num_rows // 2
        yield from bounded(batch.slice(0, half))
        yield from bounded(batch.slice(half))
    elif batch.num_rows:
        yield batch


def append_pieces(pieces: list[Piece], more: list[Piece]) -> None:
    """Add pieces of a join to others; neighbouring constants become one."""
    for piece in more:
        if isinstance(piece, str) and pieces and isinstance(pieces[-1], str):
            pieces[-1] += piece
        else:
            pieces.append(piece)


def offsets(text: pa.StringArray) -> npt.NDArray[np.int32]:
    """Return where each value begins in the array's data, and where the last one ends."""
    return np.frombuffer(text.buffers()[1], np.int32)[text.offset : text.offset + len(text) + 1]


def data_bytes(text: pa.StringArray) -> npt.NDArray[np.uint8]:
    """Return the array's data, whole; `offsets` says which of it are the values."""
    data = text.buffers()[2]
    return np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)


def value_bytes(text: pa.StringArray) -> npt.NDArray[np.uint8]:
    """Return the bytes of the values, one after the other."""
    starts = offsets(text)
    return data_bytes(text)[int(starts[0]) : int(starts[-1])]


def as_string(column: pa.Array) -> pa.StringArray:
    """Return a column of text as plain strings."""
    return column if pa.types.is_string(column.type) else column.cast(pa.string())

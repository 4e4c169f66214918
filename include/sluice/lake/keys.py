"""Keys of 128 bits in two halves, and which of them are the first of their kind in a load."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# The value of each character as a hexadecimal digit; 255 is none.
_DIGITS = np.full(256, 255, dtype=np.uint8)
_DIGITS[np.frombuffer(b"0123456789abcdef", dtype=np.uint8)] = np.arange(16)
_DIGITS[np.frombuffer(b"ABCDEF", dtype=np.uint8)] = np.arange(10, 16)
_HYPHENS = (8, 13, 18, 23)
_UUID_CHARS = 36
_DIGIT_PLACES = np.array([place for place in range(_UUID_CHARS) if place not in _HYPHENS])

# The two halves of each row's key, as int64, and whether it has one.
Halves = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class KeyKind:
    """A key that rows of `events` have: its name, the columns that it needs, and how it is made of them."""

    name: str
    columns: tuple[str, ...]
    halves: Callable[[pa.RecordBatch], Halves]


def _dedup_halves(rows: pa.RecordBatch) -> Halves:
    high, low = rows.column("dedup_hi"), rows.column("dedup_lo")
    present = ~(_nulls(high) | _nulls(low))
    return _integers(high), _integers(low), present


def _integers(column: pa.Array) -> np.ndarray:
    return np.asarray(column.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)


def _nulls(column: pa.Array) -> np.ndarray:
    return np.asarray(column.is_null().to_numpy(zero_copy_only=False), dtype=bool)


def _uuid_halves(rows: pa.RecordBatch) -> Halves:
    """Read UUIDs as the numbers that they are written as; any other text becomes its BLAKE2b hash."""
    column = rows.column("uuid").cast(pa.string())
    present = ~_nulls(column)
    high, low = np.zeros((2, len(column)), dtype=np.int64)
    lengths = np.asarray(pc.binary_length(column).fill_null(0).to_numpy(zero_copy_only=False))
    written = np.flatnonzero(lengths == _UUID_CHARS)
    others = np.flatnonzero(present & (lengths != _UUID_CHARS))
    if written.size:
        text = pa.concat_arrays([column.take(pa.array(written))])
        offsets = np.frombuffer(text.buffers()[1], dtype=np.int32)[text.offset : text.offset + len(text) + 1]
        data = np.frombuffer(text.buffers()[2], dtype=np.uint8)[offsets[0] : offsets[-1]]
        chars = data.reshape(-1, _UUID_CHARS)
        digits = _DIGITS[chars[:, _DIGIT_PLACES]]
        odd = (digits == 255).any(axis=1) | (chars[:, _HYPHENS] != ord("-")).any(axis=1)
        pairs = (digits[:, 0::2] << 4) | (digits[:, 1::2] & 15)
        numbers = np.ascontiguousarray(pairs).view(">i8").astype(np.int64)
        high[written], low[written] = numbers[:, 0], numbers[:, 1]
        others = np.concatenate([others, written[odd]])
    for place in others.tolist():
        digest = hashlib.blake2b(column[place].as_py().encode(), digest_size=16).digest()
        high[place], low[place] = np.frombuffer(digest, dtype=">i8")
    return high, low, present


# The hash of (device_id, insert_id), by which an import knows an event again (decisions I-5).
DEDUP = KeyKind("dedup", ("dedup_hi", "dedup_lo"), _dedup_halves)
# The row's identity, by which a replay knows it again.
UUID = KeyKind("uuid", ("uuid",), _uuid_halves)


class Keys:
    """The distinct keys of a load's rows, to be looked up.

    `high` are their high halves in rising order, `first` the places of the rows that have each of them first.
    """

    def __init__(self, high: np.ndarray, low: np.ndarray, present: np.ndarray | None = None) -> None:
        """Take the halves of each row's key; `present` says which rows have one, all by default."""
        rows = np.argsort(high, kind="stable").astype(np.int32)
        if present is not None and not present.all():
            rows = rows[present[rows]]
        self._low = low
        high = high[rows]
        again = _repeats(high, low, rows)
        if again is not None:
            high, rows = high[~again], rows[~again]
        self.high, self.first = high, rows

    def __len__(self) -> int:
        return len(self.high)

    @property
    def low(self) -> np.ndarray:
        """The low halves, in the order of `high`."""
        return self._low[self.first]

    def find(self, high: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (which of the given keys are among these, and at which index each of them)."""
        found, at = [_NONE], [_NONE]
        asked, index = np.arange(len(high)), np.searchsorted(self.high, high)
        # Once, but for keys of which only the low halves differ.
        while asked.size:
            inside = index < len(self)
            asked, index = asked[inside], index[inside]
            like = self.high[index] == high[asked]
            asked, index = asked[like], index[like]
            same = self._low[self.first[index]] == low[asked]
            found.append(asked[same])
            at.append(index[same])
            asked, index = asked[~same], index[~same] + 1
        return np.concatenate(found), np.concatenate(at)


_NONE = np.empty(0, dtype=np.int64)


def _repeats(high: np.ndarray, low: np.ndarray, rows: np.ndarray) -> np.ndarray | None:
    """Return which of the rows, in the order of their high halves, have a key that an earlier row has."""
    as_before = high[1:] == high[:-1]
    if not as_before.any():
        return None
    # Only rows that share a high half are compared; their low halves may come in any order.
    shared = np.zeros(len(high), dtype=bool)
    shared[1:] |= as_before
    shared[:-1] |= as_before
    places = np.flatnonzero(shared)
    lows = low[rows[places]]
    order = np.lexsort((places, lows, high[places]))
    places, lows = places[order], lows[order]
    equal = (high[places[1:]] == high[places[:-1]]) & (lows[1:] == lows[:-1])
    again = np.zeros(len(high), dtype=bool)
    again[places[1:][equal]] = True
    return again

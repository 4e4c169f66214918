"""Sets of uuids as 128-bit numbers in arrays: 16 bytes each, spilled to disk where they are many."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Uuids = npt.NDArray[np.uint64]

# How many uuids a spool holds in memory, 16 bytes each.
IN_MEMORY = 200_000
# Into how many files it deals them out beyond that: 12 million then give files that fit again.
_SHARES = 64

_TEXT_LENGTH = 36
_DASHES = (8, 13, 18, 23)
_DIGITS = tuple(n for n in range(_TEXT_LENGTH) if n not in _DASHES)
_NO_DIGIT = 255
_NIBBLES = np.full(256, _NO_DIGIT, np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdef", np.uint8)] = range(16)


def pack(texts: pa.StringArray) -> Uuids:
    """Return the number of each uuid as two 64-bit halves, shape (n, 2); equal texts give equal numbers.

    A text that is no uuid in its usual form, as a replayed row may have it, is hashed. There is no null.
    """
    lengths = pc.binary_length(texts).to_numpy(zero_copy_only=False)
    usual = lengths == _TEXT_LENGTH
    packed = np.zeros((len(texts), 16), np.uint8)
    chosen = texts if usual.all() else texts.filter(pa.array(usual))
    rows = np.flatnonzero(usual)
    if len(rows):
        offsets = np.frombuffer(chosen.buffers()[1], np.int32)[chosen.offset :]
        data: Any = chosen.buffers()[2]
        start = int(offsets[0])
        letters = np.frombuffer(data, np.uint8)[start : start + len(rows) * _TEXT_LENGTH]
        letters = letters.reshape(-1, _TEXT_LENGTH)
        nibbles = _NIBBLES[letters[:, _DIGITS]]
        proper = (nibbles != _NO_DIGIT).all(axis=1) & (letters[:, _DASHES] == ord("-")).all(axis=1)
        packed[rows] = (nibbles[:, 0::2] << 4) | (nibbles[:, 1::2] & 15)
        usual[rows[~proper]] = False
    for row in np.flatnonzero(~usual).tolist():
        text = texts[row].as_py().encode()
        packed[row] = np.frombuffer(hashlib.blake2b(text, digest_size=16).digest(), np.uint8)
    return packed.view(">u8").astype(np.uint64)


class UuidSpool:
    """Collects uuids in any order: in memory, and in files of `folder` once there are more than `limit`."""

    def __init__(self, folder: Path, limit: int = IN_MEMORY) -> None:
        self._folder = folder
        self._limit = limit
        self._held: list[Uuids] = []
        self._held_rows = 0
        self.rows = 0
        self.spilled = False

    def add(self, uuids: Uuids) -> None:
        """Take uuids."""
        self._held.append(uuids)
        self._held_rows += len(uuids)
        self.rows += len(uuids)
        if self._held_rows > self._limit:
            self.spill()

    def clear(self) -> None:
        """Forget all."""
        self._held, self._held_rows, self.rows = [], 0, 0
        for path in self._folder.glob("*"):
            path.unlink()

    def spill(self) -> None:
        """Deal what is held out to the files; equal uuids always go to the same."""
        self.spilled = True
        self._folder.mkdir(exist_ok=True)
        held, self._held, self._held_rows = self._all_held(), [], 0
        share = _share(held)
        by_share = np.argsort(share, kind="stable")
        bounds = np.searchsorted(share[by_share], np.arange(_SHARES + 1))
        with ExitStack() as stack:
            for n in np.flatnonzero(np.diff(bounds)).tolist():
                file: BinaryIO = stack.enter_context(open(self._folder / str(n), "ab"))
                file.write(held[by_share[bounds[n] : bounds[n + 1]]].tobytes())

    def shares(self) -> Iterator[Uuids]:
        """Yield all uuids, share by share in a fixed order if they are in files."""
        if not self.spilled:
            yield self._all_held()
            return
        if self._held:
            self.spill()
        for n in range(_SHARES):
            path = self._folder / str(n)
            yield np.fromfile(path, np.uint64).reshape(-1, 2) if path.exists() else _none()

    def _all_held(self) -> Uuids:
        return np.concatenate(self._held) if self._held else _none()


@dataclass(frozen=True)
class Difference:
    """How two bags of uuids differ.

    missing: only in the first; unknown: only in the second; doubled: how often one is in the second again.
    """

    missing: int = 0
    doubled: int = 0
    unknown: int = 0


def difference(wanted: UuidSpool, found: UuidSpool) -> Difference:
    """Compare what should be there with what is; memory is bounded by the shares of the spools."""
    if wanted.spilled or found.spilled:
        for spool in (wanted, found):
            if not spool.spilled:
                spool.spill()
    missing = doubled = unknown = 0
    for should, does in zip(wanted.shares(), found.shares(), strict=True):
        both = np.concatenate([should, does])
        if not len(both):
            continue
        order = np.lexsort((both[:, 1], both[:, 0]))
        sorted_ = both[order]
        starts = np.flatnonzero(np.r_[True, (sorted_[1:] != sorted_[:-1]).any(axis=1)])
        in_found = np.add.reduceat((order >= len(should)).astype(np.int64), starts)
        in_wanted = np.diff(np.r_[starts, len(both)]) - in_found
        missing += int(((in_wanted > 0) & (in_found == 0)).sum())
        unknown += int(((in_wanted == 0) & (in_found > 0)).sum())
        doubled += int(np.maximum(in_found - 1, 0).sum())
    return Difference(missing, doubled, unknown)


def _share(uuids: Uuids) -> npt.NDArray[np.uint64]:
    """Spread uuids evenly whatever their version: those made from a time share their first bits."""
    mixed = uuids[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ uuids[:, 1] * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed ^= mixed >> np.uint64(32)
    return (mixed * np.uint64(0xD6E8FEB86659FD93)) >> np.uint64(58)


def _none() -> Uuids:
    return np.empty((0, 2), np.uint64)

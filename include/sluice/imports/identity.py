"""Who an event belongs to and which event it is: ids, uuid, dedup key (decisions I-3, I-5, I-13, I-21)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b, sha1
from struct import Struct
from typing import Any
from uuid import UUID, uuid5

import numpy as np
import pyarrow as pa

Integers = np.ndarray[Any, np.dtype[np.int64]]

# Fixed for ever: a row's uuid must be the same in every run of every version (decisions I-21).
ROW_NAMESPACE = UUID("5f0b3c59-9a0f-5e0b-8a5c-2f1e6d7c4b3a")
# Likewise the device of a user who sends none.
DEVICE_NAMESPACE = UUID("c2a7d0de-6a3b-5d1c-9f5e-70b1a4e8d962")

MIN_ID_LENGTH = 5

# What the ingestion API refuses as an id (amplitude-spec 6.2), compared trimmed and in small letters.
_INVALID_IDS = frozenset(
    {
        "",
        '""',
        "-1",
        "0",
        "00000000-0000-0000-0000-000000000000",
        "anonymous",
        "lmy47d",
        "n/a",
        "na",
        "nil",
        "none",
        "null",
        "undefined",
        "unknown",
        "{}",
    }
)
_ZERO_ID = "0" * 32

_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_DIGIT_PLACES = np.array([place for place in range(36) if place not in (8, 13, 18, 23)])

_HALVES = Struct(">qq").unpack


@lru_cache(maxsize=1 << 14)
def id_fault(value: str) -> str | None:
    """Say why a user or device id is no id, or None if it is one (decisions I-13)."""
    trimmed = value.strip()
    if trimmed.lower() in _INVALID_IDS or trimmed.replace("-", "") == _ZERO_ID:
        return "stands for no id"
    if len(trimmed) < MIN_ID_LENGTH:
        return f"is shorter than {MIN_ID_LENGTH} characters"
    return None


@lru_cache(maxsize=1 << 16)
def device_of_user(user_id: str) -> str:
    """Return the device id of a user who sent none, always the same for a user (decisions I-5)."""
    return str(uuid5(DEVICE_NAMESPACE, user_id))


def dedup_key(device_id: str, insert_id: str) -> tuple[int, int]:
    """Return the halves of the 128-bit hash by which the load finds duplicates (decisions I-5)."""
    digest = blake2b(f"{device_id}\0{insert_id}".encode(), digest_size=16).digest()
    high, low = _HALVES(digest)
    return high, low


def dedup_keys(device_ids: Iterable[str | None], insert_ids: Iterable[str]) -> tuple[Integers, Integers]:
    """Return the halves of `dedup_key` for many rows."""
    hashes = b"".join(
        [
            blake2b(f"{device_id}\0{insert_id}".encode(), digest_size=16).digest()
            for device_id, insert_id in zip(device_ids, insert_ids, strict=True)
        ]
    )
    halves = np.frombuffer(hashes, ">i8").astype(np.int64).reshape(-1, 2)
    return halves[:, 0], halves[:, 1]


class RowNames:
    """The names that a row gets from its place: its uuid and its default insert id."""

    def __init__(self, source: str, bucket: str, key: str) -> None:
        self._place = source, bucket, key
        # uuid5's own hash, begun once per file: the rows differ in their number only.
        self._prefix = sha1(
            ROW_NAMESPACE.bytes + f"{source}\0{bucket}\0{key}\0".encode(), usedforsecurity=False
        )
        self._insert_id = f"{bucket}/{key}:0:0:"

    def __reduce__(self) -> tuple[Any, ...]:
        return RowNames, self._place

    def uuid(self, row: int) -> str:
        """Return the UUIDv5 of (source, bucket, key, row), stable over every retry (decisions I-21)."""
        digest = self._prefix.copy()
        digest.update(b"%d" % row)
        text = digest.hexdigest()
        # Version 5, and the variant of RFC 9562.
        variant = "89ab"[int(text[16], 16) & 3]
        return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"

    def uuids(self, rows: Sequence[int]) -> pa.Array:
        """Return the uuids of many rows."""
        begin = self._prefix.copy
        hashes = []
        for row in rows:
            digest = begin()
            digest.update(b"%d" % row)
            hashes.append(digest.digest())
        names = np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 20)[:, :16].copy()
        names[:, 6] = names[:, 6] & 0x0F | 0x50
        names[:, 8] = names[:, 8] & 0x3F | 0x80
        # Two digits a byte, then the dashes between them.
        digits = np.stack([names >> 4, names & 0x0F], axis=2).reshape(-1, 32)
        texts = np.full((len(rows), 36), ord("-"), np.uint8)
        texts[:, _DIGIT_PLACES] = _HEX[digits]
        offsets = np.arange(len(rows) + 1, dtype=np.int32) * np.int32(36)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(texts)]
        return pa.Array.from_buffers(pa.string(), len(rows), buffers)

    def insert_id(self, row: int) -> str:
        """Return the insert id of a row that brings none (decisions I-3)."""
        return f"{self._insert_id}{row}"

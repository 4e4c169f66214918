"""The fingerprint of an hour: what it holds, in an order-independent number (ADR 1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import md5

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_MODULUS = 1 << 128
_EMPTY = "0" * 32

# SQL (DuckDB) of the two sums from which `from_sums` makes the digest, for who checks rows by themselves. The
# hash is the MD5 of uuid/revision read as a little-endian number.
SUMS_SQL = """
    sum((md5_number(uuid || '/' || revision) >> 64)::HUGEINT),
    sum((md5_number(uuid || '/' || revision) & 18446744073709551615)::HUGEINT)
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR_US = 3_600_000_000


@dataclass(frozen=True)
class Fingerprint:
    """How many rows, and the sum modulo 2^128 of hash(uuid, revision) over them, as 32 hexadecimal digits.

    Adding two fingerprints gives that of both sets of rows together, in any order; compaction changes none.
    """

    rows: int = 0
    digest: str = _EMPTY

    @classmethod
    def from_sums(cls, rows: int, high: int, low: int) -> Fingerprint:
        """Build a fingerprint from the sums of the high and of the low 64-bit halves."""
        return cls(rows, f"{((int(high) << 64) + int(low)) % _MODULUS:032x}")

    def __add__(self, other: Fingerprint) -> Fingerprint:
        total = (int(self.digest, 16) + int(other.digest, 16)) % _MODULUS
        return Fingerprint(self.rows + other.rows, f"{total:032x}")


class HourSums:
    """Adds up the fingerprints of rows of `events` that go by, by the hour of server_upload_time."""

    def __init__(self) -> None:
        self.hours: dict[datetime, Fingerprint] = {}

    def passing(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the batches as they come."""
        for batch in batches:
            self._add(batch)
            yield batch

    def _add(self, batch: pa.RecordBatch) -> None:
        # Not in SQL: an engine costs as much as 50,000 rows here, and most loads have fewer.
        names = (batch.column(name).cast(pa.string()) for name in ("uuid", "revision"))
        texts = pc.binary_join_element_wise(*names, "/").cast(pa.binary()).to_pylist()
        hashes = b"".join([md5(text, usedforsecurity=False).digest() for text in texts])
        hour = np.floor_divide(batch.column("server_upload_time").cast(pa.int64()).to_numpy(), _HOUR_US)
        hours, starts, counts = np.unique(np.sort(hour), return_index=True, return_counts=True)
        # Quarters of a hash, in numbers that hold the sum of many of them.
        quarters = np.frombuffer(hashes, "<u4").reshape(-1, 4)[np.argsort(hour, kind="stable")]
        sums = np.add.reduceat(quarters, starts, axis=0, dtype=np.uint64) if len(hour) else quarters
        for found, count, (a, b, c, d) in zip(hours.tolist(), counts.tolist(), sums.tolist(), strict=True):
            moment = _EPOCH + timedelta(microseconds=found * _HOUR_US)
            known = self.hours.get(moment, Fingerprint())
            self.hours[moment] = known + Fingerprint.from_sums(count, c + (d << 32), a + (b << 32))

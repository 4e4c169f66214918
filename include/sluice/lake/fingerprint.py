"""The fingerprint of an hour: what it holds, in an order-independent number (ADR 1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from sluice.lake.sql import kept_engine

_MODULUS = 1 << 128
_EMPTY = "0" * 32

# SQL (DuckDB) of the two sums from which `from_sums` makes the digest. The hash is the MD5 of uuid/revision
# read as a little-endian number.
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
        with kept_engine() as connection:
            for batch in batches:
                connection.register("rows", batch.select(["uuid", "revision", "server_upload_time"]))
                sums = connection.execute(
                    f"""
                    SELECT floor(epoch_us(server_upload_time) / {_HOUR_US})::BIGINT AS hour, count(*),
                           {SUMS_SQL}
                    FROM rows GROUP BY hour
                    """
                ).fetchall()
                connection.unregister("rows")
                for hour, count, high, low in sums:
                    moment = _EPOCH + timedelta(microseconds=hour * _HOUR_US)
                    known = self.hours.get(moment, Fingerprint())
                    self.hours[moment] = known + Fingerprint.from_sums(count, high, low)
                yield batch

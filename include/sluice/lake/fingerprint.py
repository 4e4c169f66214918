"""The fingerprint of an hour: what it holds, in an order-independent number (ADR 1)."""

from __future__ import annotations

from dataclasses import dataclass

_MODULUS = 1 << 128
_EMPTY = "0" * 32

# SQL (DuckDB) of the two sums from which `from_sums` makes the digest. The hash is the MD5 of uuid/revision
# read as a little-endian number; DuckDB calls the digest's first eight bytes, its low half, "upper".
SUMS_SQL = """
    sum(md5_number_lower(uuid || '/' || revision)::HUGEINT),
    sum(md5_number_upper(uuid || '/' || revision)::HUGEINT)
"""


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

"""The fingerprint of an hour: what it holds, in an order-independent number (ADR 1)."""

from __future__ import annotations

from dataclasses import dataclass

_MODULUS = 1 << 128
_EMPTY = "0" * 32

# SQL (DuckDB) of the two sums from which `from_sums` makes the digest: the 64-bit halves of
# md5(uuid/revision), each summed without overflow.
SUMS_SQL = """
    sum(md5_number_upper(uuid || '/' || revision)::HUGEINT),
    sum(md5_number_lower(uuid || '/' || revision)::HUGEINT)
"""


@dataclass(frozen=True)
class Fingerprint:
    """How many rows, and the sum modulo 2^128 of hash(uuid, revision) over them, as 32 hexadecimal digits.

    Adding two fingerprints gives that of both sets of rows together, in any order; compaction changes none.
    """

    rows: int = 0
    digest: str = _EMPTY

    @classmethod
    def from_sums(cls, rows: int, upper: int, lower: int) -> Fingerprint:
        """Build a fingerprint from the sums of the upper and of the lower 64-bit halves."""
        return cls(rows, f"{((int(upper) << 64) + int(lower)) % _MODULUS:032x}")

    def __add__(self, other: Fingerprint) -> Fingerprint:
        total = (int(self.digest, 16) + int(other.digest, 16)) % _MODULUS
        return Fingerprint(self.rows + other.rows, f"{total:032x}")

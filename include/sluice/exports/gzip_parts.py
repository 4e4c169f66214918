"""One file's lines as one gzip member, cut into the parts of a multipart upload while it grows."""

from __future__ import annotations

import hashlib

from isal import isal_zlib

# S3 takes no part below 5 MiB but the last, and at most 10,000: 8 MiB reach 78 GiB, and a file has at most 5.
# A small hour has one part, a large one four at a time, so larger parts are memory that grows with the hour.
PART_BYTES = 8 << 20
# Deflate with a gzip header that holds neither a time nor a name: equal lines give equal bytes.
_GZIP = 31
# At level 3 the output depends on how the input is cut; from here on it always gets blocks of this size.
_CUT_SENSITIVE = 3
_BLOCK = 1 << 20


class GzipParts:
    """Compresses what is written to it; gives the compressed bytes in parts of `part_bytes`.

    Levels are ISA-L's, 0 (fastest) to 3. The bytes depend on the lines and the level only, not on how the
    lines were cut into calls.
    """

    def __init__(self, level: int, part_bytes: int = PART_BYTES) -> None:
        self._stream = isal_zlib.compressobj(level, isal_zlib.DEFLATED, _GZIP)
        self._part_bytes = part_bytes
        self._uncut = bytearray() if level >= _CUT_SENSITIVE else None
        self._held = bytearray()
        self._sha256 = hashlib.sha256()
        self.raw_bytes = 0
        self.bytes = 0

    @property
    def sha256(self) -> str:
        """The SHA-256, in hex, of the parts given so far."""
        return self._sha256.hexdigest()

    def write(self, data: memoryview) -> list[bytes]:
        """Compress data and return the parts that are full, mostly none."""
        self.raw_bytes += len(data)
        if self._uncut is None:
            self._held += self._stream.compress(data)
        else:
            self._uncut += data
            whole = len(self._uncut) - len(self._uncut) % _BLOCK
            for start in range(0, whole, _BLOCK):
                self._held += self._stream.compress(self._uncut[start : start + _BLOCK])
            del self._uncut[:whole]
        return self._full_parts()

    def finish(self) -> list[bytes]:
        """End the gzip member and return what is left, the last part of any size."""
        if self._uncut:
            self._held += self._stream.compress(self._uncut)
        self._held += self._stream.flush()
        parts = self._full_parts()
        if self._held:
            parts.append(self._cut(len(self._held)))
        return parts

    def _full_parts(self) -> list[bytes]:
        parts = []
        while len(self._held) >= self._part_bytes:
            parts.append(self._cut(self._part_bytes))
        return parts

    def _cut(self, size: int) -> bytes:
        # Through a view: a slice of the bytearray itself would be one more copy.
        with memoryview(self._held) as held, held[:size] as cut:
            part = bytes(cut)
        del self._held[:size]
        self._sha256.update(part)
        self.bytes += len(part)
        return part

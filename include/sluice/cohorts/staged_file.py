"""One file of a turn: fixed before the first byte leaves, and read as it was fixed or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from sluice.errors import SluiceError
from sluice.ledger.syncs import TurnFile


class StagingError(SluiceError):
    """A staged file is gone, or is not what was fixed."""


def checked(file: TurnFile, chunks: Iterable[bytes], remedy: str) -> Iterator[bytes]:
    """Pass a file's chunks on, the last one only if all of them are what was fixed.

    Raises StagingError, which ends with the `remedy`, if they are not.
    """
    digest = hashlib.sha256()
    size = 0
    last = b""
    for chunk in chunks:
        yield last
        digest.update(chunk)
        size += len(chunk)
        last = chunk
    if size != file.bytes or digest.hexdigest() != file.sha256:
        to = f" for {file.key}" if file.key else ""
        raise StagingError(
            f"The staged file {file.name}{to} is not what was fixed: it has {size:,} bytes of"
            f" {file.bytes:,}, or others. {remedy}"
        )
    yield last

"""One file of a turn: fixed before the first byte leaves, and sent as it is by every try."""

from __future__ import annotations

from dataclasses import dataclass

from sluice.errors import SluiceError


class StagingError(SluiceError):
    """A staged file is gone, or is not what was fixed."""


@dataclass(frozen=True)
class StagedFile:
    """A file as it was written to the turn's folder under `name`; `rows` without a header, `bytes` in all.

    `key` is the object's key at the destination; a file of messages has none. `sha256` is of the bytes, as
    hexadecimal digits.
    """

    name: str
    key: str
    rows: int
    bytes: int
    sha256: str

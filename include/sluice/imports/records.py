"""What every reader gives: the rows of one file as records, and the bad ones with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

# How much of a rejected row's text is kept: a row of 100 MB must not end in the lake as it is.
MAX_RAW_CHARS = 65_536

Record = dict[str, Any]


@dataclass(frozen=True)
class BadRow:
    """A row that could not be read as a record; `reason` is one sentence."""

    reason: str


class RowReader(Protocol):
    """One file's rows in their order, header and blank lines left out."""

    def __iter__(self) -> Iterator[Record | BadRow]:
        """Yield each row once. Raises FileError if the file as a whole cannot be read."""
        ...

    def raw(self) -> str:
        """Return the text of the row that was yielded last, cut to MAX_RAW_CHARS."""
        ...

    def hint(self) -> str | None:
        """Say what may be wrong with the settings, for a file of which most rows are bad; None if unknown."""
        ...


def cut_raw(text: str) -> str:
    """Cut a row's text to what a reject keeps, and say so."""
    return text if len(text) <= MAX_RAW_CHARS else f"{text[:MAX_RAW_CHARS]}… (cut)"

"""What every reader gives: the rows of one file as records, and the bad ones with the reason.

A file is read in two steps, so that several processes can share the work: `pieces` cuts it into pieces of
whole rows, which costs little, and a piece's own reader makes records of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

Record = dict[str, Any]


@dataclass(frozen=True)
class BadRow:
    """A row that could not be read as a record; `reason` is one sentence."""

    reason: str


class RowReader(Protocol):
    """Rows in their order, header and blank lines left out."""

    def __iter__(self) -> Iterator[Record | BadRow]:
        """Yield each row once."""
        ...

    def raw(self) -> str:
        """Return the text of the row that was yielded last, cut to MAX_RAW_CHARS."""
        ...


class Piece(Protocol):
    """Rows of one file that follow each other, none of them cut; it can be pickled."""

    @property
    def count(self) -> int:
        """How many rows `reader` yields, good and bad."""
        ...

    def reader(self) -> RowReader:
        """Return the reader of the piece's rows, which raises no error."""
        ...


class FileReader(ABC):
    """One file's rows, by the piece or one by one."""

    _piece: RowReader | None = None

    @abstractmethod
    def pieces(self) -> Iterator[Piece]:
        """Yield the file's pieces in their order, once. Raises FileError if the file cannot be read."""

    @abstractmethod
    def hint(self) -> str | None:
        """Say what may be wrong with the settings, for a file of which most rows are bad; None if unknown."""

    def numbered(self) -> Iterator[tuple[int, Piece]]:
        """Yield the pieces with the number of their first row in the file. Raises as `pieces` does."""
        first = 0
        for piece in self.pieces():
            yield first, piece
            first += piece.count

    def columns(self) -> list[str] | None:
        """Return the names of the columns if rows do not carry them, once the first piece was read."""
        return None

    def __iter__(self) -> Iterator[Record | BadRow]:
        """Yield each row once. Raises FileError if the file as a whole cannot be read."""
        for piece in self.pieces():
            self._piece = piece.reader()
            yield from self._piece

    def raw(self) -> str:
        """Return the text of the row that was yielded last, cut to MAX_RAW_CHARS."""
        return self._piece.raw() if self._piece else ""

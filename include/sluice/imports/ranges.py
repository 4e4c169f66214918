"""One object as a file that can be read anywhere, without a copy on disk."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from sluice.imports.errors import FileError


class RangedFile(io.RawIOBase):
    """A file of `size` bytes that fetches blocks as they are asked for, and keeps the last used ones.

    `fetch` returns the bytes from one offset to another. Memory holds at most `kept` blocks of `block_bytes`.
    What `fetch` raises passes through whoever reads, and stays in `failure`.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], size: int, block_bytes: int, kept: int) -> None:
        self.failure: BaseException | None = None
        self._fetch = fetch
        self._size = size
        self._block_bytes = block_bytes
        self._kept = kept
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._at = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read anywhere."""
        return True

    def tell(self) -> int:
        """Return the position of the next read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position of the next read."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, up to the end of the file."""
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._size - self._at))
        done = 0
        while done < wanted:
            number, start = divmod(self._at, self._block_bytes)
            piece = memoryview(self._block(number))[start : start + wanted - done]
            view[done : done + len(piece)] = piece
            done += len(piece)
            self._at += len(piece)
        return done

    def _block(self, number: int) -> bytes:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        start = number * self._block_bytes
        end = min(start + self._block_bytes, self._size)
        try:
            block = self._fetch(start, end)
            if len(block) != end - start:
                raise FileError("The object is shorter than its listing said: upload it again.")
        except BaseException as error:
            self.failure = error
            raise
        self._blocks[number] = block
        if len(self._blocks) > self._kept:
            self._blocks.popitem(last=False)
        return block

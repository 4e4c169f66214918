"""A local copy of the keys of immutable data files, so that a load need not read them from the lake again.

It is derived: what is missing, damaged or in the way is read from the data file again, and the whole folder
may be deleted at any time (ADR 13). One file of the cache has the keys of one data file in blocks, each with
its check sum; it appears under its name when it is whole.
"""

from __future__ import annotations

import hashlib
import logging
import os
import struct
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from isal import isal_zlib

log = logging.getLogger(__name__)

# The unit of reading and looking up: what is worked on at once stays in a core's cache.
BLOCK_ROWS = 1 << 16
# Beyond this the files that were not used for the longest time go: the keys of 500 million rows.
LIMIT_BYTES = 8 << 30
# What is younger may be in use, or being written, by another load.
GRACE_SECONDS = 3600.0

_SUFFIX, _NEW_SUFFIX = ".keys", ".new"
# When somebody last looked at the whole cache.
_SWEPT = "swept"
_MAGIC = b"sluice-keys-0001"
# Of each block: rows (0 at the end), flags, and the check sum of what follows.
_HEAD = struct.Struct("<IIII")
_TIMED, _PLACED = 1, 2
_WIDTH = 8


@dataclass(frozen=True)
class Block:
    """Some keys of a data file, in the order of its rows; what a reader is given is valid until the next.

    `loaded_at`, in epoch microseconds, is there where the file mixes instants. The keys are those of the rows
    from `start` on or, where some rows have no key, of the rows at `places`.
    """

    high: np.ndarray
    low: np.ndarray
    start: int
    loaded_at: np.ndarray | None = None
    places: np.ndarray | None = None

    def place(self, index: np.ndarray) -> np.ndarray:
        """Return where in the data file the keys at these indexes of the block stand."""
        return self.start + index if self.places is None else self.places[index]


class _Damaged(Exception):
    """The file is not what was written."""


def root() -> Path:
    """Return the cache's folder: `SLUICE_CACHE`, else `sluice` in the user's cache folder."""
    if given := os.environ.get("SLUICE_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "sluice"


class KeyCache:
    """The keys of one kind of one project's data files in one lake."""

    def __init__(self, lake_id: str, project: int, kind: str) -> None:
        self._root = root() / "keys"
        self._folder = self._root / lake_id / str(project) / kind

    def blocks(self, path: str, read: Callable[[], Iterator[Block]]) -> Iterator[Block]:
        """Yield the keys of a data file: from here, else as `read` gives them, which are then kept.

        Where damage shows only on the way, all blocks come anew, so some of them twice.
        """
        file = self._file(path)
        try:
            yield from _stored(file)
            with suppress(OSError):
                # When it was last of use.
                os.utime(file)
            return
        except FileNotFoundError:
            pass
        except (OSError, _Damaged) as error:
            log.warning("Reading the keys of %s from the lake again: the cache's %s %s", path, file, error)
        writer = _Writer(file)
        try:
            for block in read():
                writer.add(block)
                yield block
            writer.finish()
        finally:
            writer.discard()

    def tidy(self, paths: Iterable[str]) -> None:
        """Remove the keys of data files other than these and, once an hour, what is too much in all."""
        wanted = {self._file(path).name for path in paths}
        before = time.time() - GRACE_SECONDS
        with suppress(OSError), os.scandir(self._folder) as files:
            for file in files:
                # Another load may have removed it meanwhile.
                with suppress(OSError):
                    if file.name not in wanted and file.stat().st_mtime < before:
                        os.unlink(file)
        if self._sweeps_now(before):
            self._sweep(before)

    def _sweeps_now(self, before: float) -> bool:
        """Whether nobody has looked at the whole cache since; then this one does."""
        mark = self._root / _SWEPT
        try:
            if mark.stat().st_mtime >= before:
                return False
        except OSError:
            pass
        with suppress(OSError):
            mark.touch()
        return True

    def _sweep(self, before: float) -> None:
        files: list[tuple[float, int, Path]] = []
        for file in self._root.rglob("*.*"):
            with suppress(OSError):
                status = file.stat()
                if file.suffix == _NEW_SUFFIX and status.st_mtime < before:
                    file.unlink()
                else:
                    files.append((status.st_mtime, status.st_size, file))
        surplus = sum(size for _, size, _ in files) - LIMIT_BYTES
        for _, size, file in sorted(files):
            if surplus <= 0:
                break
            with suppress(OSError):
                file.unlink()
            surplus -= size

    def _file(self, path: str) -> Path:
        return self._folder / (hashlib.blake2b(path.encode(), digest_size=16).hexdigest() + _SUFFIX)


def _stored(path: Path) -> Iterator[Block]:
    """Read a file of the cache. Raises OSError or _Damaged; the blocks until then are right."""
    buffer = memoryview(bytearray(BLOCK_ROWS * _WIDTH * 4))
    with open(path, "rb", buffering=0) as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise _Damaged("begins with something else")
        start = 0
        while True:
            head = file.read(_HEAD.size)
            if len(head) != _HEAD.size:
                raise _Damaged("ends too early")
            rows, flags, check, _ = _HEAD.unpack(head)
            columns = 2 + bool(flags & _TIMED) + bool(flags & _PLACED)
            if rows > BLOCK_ROWS:
                raise _Damaged("has an impossible block")
            content = buffer[: rows * columns * _WIDTH]
            if file.readinto(content) != len(content):
                raise _Damaged("ends too early")
            if isal_zlib.crc32(content, _seed(start, rows, flags)) != check:
                raise _Damaged("has a wrong check sum")
            if not rows:
                return
            arrays = iter(np.frombuffer(content, dtype=np.int64).reshape(columns, rows))
            yield Block(
                next(arrays),
                next(arrays),
                start,
                next(arrays) if flags & _TIMED else None,
                next(arrays) if flags & _PLACED else None,
            )
            start += rows


def _seed(start: int, rows: int, flags: int) -> int:
    """Begin a check sum with what a block's head says, and with how many rows came before it."""
    return int(isal_zlib.crc32(struct.pack("<QII", start, rows, flags)))


class _Writer:
    """Writes a file of the cache; a disk that takes none costs the next load time, not this one its rows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new = path.with_name(uuid.uuid4().hex + _NEW_SUFFIX)
        self._rows = 0
        self._file: BinaryIO | None = None
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = open(self._new, "xb", buffering=0)  # noqa: SIM115
            self._file.write(_MAGIC)
        except OSError as error:
            self._give_up(error)

    def add(self, block: Block) -> None:
        """Take a block."""
        columns = [block.high, block.low, block.loaded_at, block.places]
        flags = (block.loaded_at is not None) * _TIMED | (block.places is not None) * _PLACED
        self._write(len(block.high), flags, [column for column in columns if column is not None])
        self._rows += len(block.high)

    def finish(self) -> None:
        """Give the file its name."""
        self._write(0, 0, [])
        if self._file is not None:
            try:
                self._file.close()
                self._new.replace(self._path)
            except OSError as error:
                self._give_up(error)

    def discard(self) -> None:
        """Remove what was not finished."""
        if self._file is not None:
            self._file.close()
        with suppress(OSError):
            self._new.unlink(missing_ok=True)

    def _write(self, rows: int, flags: int, columns: list[np.ndarray]) -> None:
        if self._file is None:
            return
        check = _seed(self._rows, rows, flags)
        parts = [np.ascontiguousarray(column, dtype="<i8").view(np.uint8).data for column in columns]
        for part in parts:
            check = isal_zlib.crc32(part, check)
        try:
            for piece in (memoryview(_HEAD.pack(rows, flags, check, 0)), *parts):
                if self._file.write(piece) != len(piece):
                    raise OSError("the disk took only a part")
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        log.warning("Keys are not cached below %s: %s", self._path.parent, error)
        if self._file is not None:
            self._file.close()
            self._file = None
        with suppress(OSError):
            self._new.unlink(missing_ok=True)

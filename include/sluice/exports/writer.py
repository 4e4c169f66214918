"""Writes an hour's lines to its files: compressed, split by size, uploaded while they grow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
import pyarrow as pa

from sluice.exports.gzip_parts import PART_BYTES, GzipParts
from sluice.exports.lines import Lines


class PartSink(Protocol):
    """Where one file's parts go: an upload that is open until somebody completes or aborts it."""

    def add(self, part: bytes) -> None:
        """Take the next part; may return before it has arrived."""

    def close(self) -> None:
        """Wait until every part has arrived. Raises what went wrong on the way."""


@dataclass(frozen=True)
class FileFacts:
    """What is known of a written file; sizes in bytes, `raw_bytes` before compression."""

    index: int
    rows: int
    bytes: int
    raw_bytes: int
    sha256: str
    first_upload_time: datetime
    last_upload_time: datetime


class HourWriter:
    """Splits an hour's lines over files and hands their compressed parts to sinks.

    A file ends with the line that brings it to `partition_bytes` uncompressed bytes, so the split depends on
    the lines alone. `open_sink(index)` opens the file of that index, from 0; an hour without lines opens
    none.
    """

    def __init__(
        self,
        open_sink: Callable[[int], PartSink],
        *,
        level: int,
        partition_bytes: int,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._open_sink = open_sink
        self._level = level
        self._partition_bytes = partition_bytes
        self._part_bytes = part_bytes
        self._file: _File | None = None
        self._files: list[FileFacts] = []
        self.rows = 0

    def write(self, lines: Lines, upload_times: pa.Array) -> None:
        """Write lines; `upload_times` holds the server_upload_time of each."""
        offsets, start = lines.offsets, 0
        while start < len(lines):
            if self._file is None:
                index = len(self._files)
                gzip = GzipParts(self._level, self._part_bytes)
                self._file = _File(index, gzip, self._open_sink(index))
            full = int(offsets[start]) + self._partition_bytes - self._file.gzip.raw_bytes
            end = min(max(int(np.searchsorted(offsets, full)), start + 1), len(lines))
            piece = lines.data[int(offsets[start]) : int(offsets[end])]
            self._file.write(piece, end - start, upload_times[start].as_py(), upload_times[end - 1].as_py())
            self.rows += end - start
            if self._file.gzip.raw_bytes >= self._partition_bytes:
                self._end_file()
            start = end

    def finish(self) -> list[FileFacts]:
        """End the last file and return the facts of all, in order."""
        self._end_file()
        return self._files

    def _end_file(self) -> None:
        if self._file is not None:
            self._files.append(self._file.finish())
            self._file = None


@dataclass
class _File:
    index: int
    gzip: GzipParts
    sink: PartSink
    rows: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def write(self, data: memoryview, rows: int, first: datetime, last: datetime) -> None:
        for part in self.gzip.write(data):
            self.sink.add(part)
        self.rows += rows
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)

    def finish(self) -> FileFacts:
        for part in self.gzip.finish():
            self.sink.add(part)
        self.sink.close()
        assert self.first is not None
        assert self.last is not None
        return FileFacts(
            index=self.index,
            rows=self.rows,
            bytes=self.gzip.bytes,
            raw_bytes=self.gzip.raw_bytes,
            sha256=self.gzip.sha256,
            first_upload_time=self.first,
            last_upload_time=self.last,
        )

"""Converted rows on their way to the load: Parquet files below the lake's `_staging/`.

A staged file counts only once the ledger names it, after it is written whole: what a killed worker leaves
behind is never read, and goes with its run's folder.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from sluice.imports.blocks import Block
from sluice.imports.streams import open_output

log = logging.getLogger(__name__)

ROOT = "_staging"
# A row group: by rows, or earlier by bytes where rows are large.
GROUP_ROWS = 20_000
GROUP_BYTES = 32 << 20
# No run takes longer than this: what lies below `_staging/` longer was left behind.
_LEFT_BEHIND = timedelta(days=2)

_UNSAFE = re.compile(r"[^A-Za-z0-9_.=-]")


def run_folder(source: str, run: str) -> str:
    """Return the folder of a run's staged files, below the lake's filesystem."""
    return f"{ROOT}/{source}/{_UNSAFE.sub('_', run)}"


class StagingWriter:
    """Writes one file's events and rejects; `close` gives their paths, None for what has no rows.

    As a context manager it removes what it wrote if the block fails.
    """

    def __init__(self, filesystem: pafs.FileSystem, folder: str) -> None:
        # A fresh name for each attempt: a worker that lost its claim may still be writing.
        name = uuid4().hex
        self._events = _LazyParquet(filesystem, f"{folder}/{name}.events.parquet")
        self._rejects = _LazyParquet(filesystem, f"{folder}/{name}.rejects.parquet")

    def __enter__(self) -> StagingWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            self._events.discard()
            self._rejects.discard()

    def write(self, block: Block) -> None:
        """Take the rows of the file's next block."""
        for batch in block.events:
            self._events.write(batch)
        for batch in block.rejects:
            self._rejects.write(batch)

    def close(self, *, events: bool = True) -> tuple[str | None, str | None]:
        """Finish both files; return their paths. `events=False` throws the events away."""
        if not events:
            self._events.discard()
        return self._events.close(), self._rejects.close()


class _LazyParquet:
    """A Parquet file that exists once its first row group is written; a row group holds many blocks."""

    def __init__(self, filesystem: pafs.FileSystem, path: str) -> None:
        self._filesystem = filesystem
        self._path = path
        self._open: tuple[pa.NativeFile, pq.ParquetWriter] | None = None
        self._held: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        self._held.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.get_total_buffer_size()
        if self._rows >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._flush()

    def close(self) -> str | None:
        self._flush()
        if self._open is None:
            return None
        stream, writer = self._open
        writer.close()
        stream.close()
        return self._path

    def discard(self) -> None:
        self._drop()
        if self.close() is not None:
            self._open = None
            self._filesystem.delete_file(self._path)

    def _flush(self) -> None:
        if not self._held:
            return
        if self._open is None:
            stream = open_output(self._filesystem, self._path)
            self._open = stream, pq.ParquetWriter(stream, self._held[0].schema, compression="lz4")
        self._open[1].write_table(pa.Table.from_batches(self._held), row_group_size=self._rows)
        self._drop()

    def _drop(self) -> None:
        self._held = []
        self._rows = self._bytes = 0


def remove_run(filesystem: pafs.FileSystem, source: str, run: str, held: Collection[str] = ()) -> None:
    """Remove all that a run staged, and what runs of the source left behind more than two days ago.

    What the runs `held` staged waits behind a quality gate, and stays.
    """
    own = run_folder(source, run)
    kept = {run_folder(source, name) for name in held}
    for info in filesystem.get_file_info(pafs.FileSelector(f"{ROOT}/{source}", allow_not_found=True)):
        if info.type == pafs.FileType.Directory and (
            info.path == own or (info.path not in kept and _is_left_behind(filesystem, info.path))
        ):
            log.info("Removing the staged rows in %s", info.path)
            filesystem.delete_dir(info.path)


def remove_staged(filesystem: pafs.FileSystem, source: str, run: str) -> None:
    """Remove all that a run staged, if anything is there."""
    folder = run_folder(source, run)
    if filesystem.get_file_info(folder).type == pafs.FileType.Directory:
        log.info("Removing the staged rows in %s", folder)
        filesystem.delete_dir(folder)


def _is_left_behind(filesystem: pafs.FileSystem, folder: str) -> bool:
    infos = filesystem.get_file_info(pafs.FileSelector(folder, recursive=True))
    times = [info.mtime for info in infos if info.type == pafs.FileType.File]
    return bool(times) and all(time is not None and time < datetime.now(UTC) - _LEFT_BEHIND for time in times)

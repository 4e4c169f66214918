"""Conversion: one file's bytes become staged rows, or a reason why the file fails."""

from __future__ import annotations

import gc
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pyarrow.fs as pafs

from sluice.converter import Converter, ConverterConfig
from sluice.errors import TransientError
from sluice.imports.again import RejectedRows, StillRejecting
from sluice.imports.blocks import Block, Pipeline
from sluice.imports.converters import recall
from sluice.imports.discovery import Batch
from sluice.imports.errors import FileError
from sluice.imports.objects import SourceObject
from sluice.imports.pipelines import pipeline_for
from sluice.imports.readers import reader_for
from sluice.imports.records import FileReader, Piece
from sluice.imports.replay import joined
from sluice.imports.session import ImportRun
from sluice.imports.staging import StagingWriter, run_folder
from sluice.imports.tally import Tally
from sluice.imports.workers import Workers
from sluice.ledger import files
from sluice.ledger.files import SourceFile

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

# A worker that is gone keeps its files no longer; a living one renews long before.
CLAIM_SECONDS = 900.0
_RENEW_SECONDS = 60.0
_LOG_SECONDS = 10.0
_SHOWN_NAMES = 50
# Compressed events are at least so many times as large when unpacked.
_UNPACKED = 6


class ClaimLost(TransientError):
    """Another worker has taken the file."""


@dataclass
class Converted:
    """What a convert task did: files staged, files that failed, files that another worker has, and rows."""

    staged: int = 0
    failed: int = 0
    skipped: int = 0
    rows: int = 0


def convert_batch(run: ImportRun, batch: Batch, holder: str) -> Converted:
    """Convert every unfinished file of a batch that this worker can claim, in their order.

    `holder` names the worker, the same in every try of its task. Raises ImportAccessError if a file may not
    be read; the files staged before stay staged.
    """
    with Workers() as workers:
        return _convert_batch(run, batch, holder, workers)


def _convert_batch(run: ImportRun, batch: Batch, holder: str, workers: Workers) -> Converted:
    result = Converted()
    client = run.store.client()
    converters: dict[str, Converter] = {}
    for file in files.between(run.ledger, run.source.id, batch.first, batch.last):
        claimed = files.claim(run.ledger, run.source.id, file, holder, CLAIM_SECONDS)
        if claimed is None:
            result.skipped += 1
            continue
        staged = claimed.staged
        if not (staged and _still_there(run, staged)):
            if claimed.converter_hash not in converters:
                converters[claimed.converter_hash] = recall(run.lake, claimed.converter_hash)
            staged = convert_file(run, client, claimed, converters[claimed.converter_hash], holder, workers)
        result.rows += staged["rows_read"]
        if staged["failed"]:
            result.failed += 1
        else:
            result.staged += 1
    return result


def convert_file(
    run: ImportRun,
    client: S3Client,
    file: SourceFile,
    converter: Converter,
    holder: str,
    workers: Workers | None = None,
) -> dict[str, Any]:
    """Convert one claimed file and record in the ledger where its rows are staged, or why it fails.

    A large file is converted in several processes: those of `workers`, which a batch of files shares, or its
    own. Raises WorkerDied if one of them ends early; nothing is staged then.
    """
    with Workers() as own:
        return _convert_file(run, client, file, converter, holder, workers or own)


def _convert_file(
    run: ImportRun, client: S3Client, file: SourceFile, converter: Converter, holder: str, workers: Workers
) -> dict[str, Any]:
    began = time.monotonic()
    source = run.source
    bucket, again = files.origin(file.bucket)
    pipeline: Pipeline = pipeline_for(source, bucket, file.key, converter, run.ledger.now(), run.taxonomy)
    tally = Tally()
    writer = StagingWriter(run.lake.filesystem(), run_folder(source.id, run.run))
    progress = _Progress(run, file, holder, tally)
    content = SourceObject(client, file.bucket, file.key, file.etag, file.size, progress.saw)
    paths: tuple[str | None, str | None] = (None, None)
    try:
        with writer, _quiet_gc():
            reader: FileReader
            if again:
                pipeline, reader = StillRejecting(pipeline), RejectedRows(run, file, converter, progress.saw)
            else:
                reader = reader_for(content, converter)
            pieces = progress.cut(reader)
            if source.replay and not again:
                pieces = joined(pieces)
            for block in _blocks(pipeline, pieces, workers, content, converter.config):
                writer.write(block)
                tally.add(block.tally)
            failed = None if again else _over_budget(source.error_budget, tally, reader)
            columns = reader.columns() if tally.rejected or again else None
            paths = writer.close(events=failed is None)
    except FileError as error:
        # How far it got is no count of the file's rows: none of them has a fate but the file's own.
        failed = f"{error} (Read until then: {progress.rows:,} rows.)" if progress.rows else str(error)
        tally, columns = Tally(), None
    staged = {
        "run": run.run,
        "events": paths[0],
        "rejects": paths[1],
        "rows_read": tally.read,
        "ignored": tally.ignored,
        "rejected": tally.rejected,
        "failed": failed,
        "hours": [] if failed else hour_ranges(tally.hours),
    }
    report = {
        "run": run.run,
        "reasons": _commonest(tally.reasons),
        "ignored_fields": _commonest(tally.ignored_fields),
        "notes": _commonest(tally.notes),
        "unplanned": _commonest(tally.unplanned),
        # What the rejected rows need to be read again.
        "columns": columns,
    }
    took = time.monotonic() - began
    if not files.stage(
        run.ledger, source.id, file, holder, CLAIM_SECONDS, staged=staged, report=report, took=took
    ):
        raise ClaimLost(f"s3://{file.bucket}/{file.key} went to another worker while this one converted it.")
    _log_outcome(file, staged, took)
    return staged


def hour_ranges(hours: set[int]) -> list[list[int]]:
    """Write a set of hours as ranges [first, last]: a year of every hour is one pair."""
    ordered = sorted(hours)
    if not ordered:
        return []
    breaks = [(a, b) for a, b in pairwise(ordered) if b > a + 1]
    starts = [ordered[0], *(b for _, b in breaks)]
    ends = [*(a for a, _ in breaks), ordered[-1]]
    return [list(pair) for pair in zip(starts, ends, strict=True)]


def _blocks(
    pipeline: Pipeline,
    pieces: Iterator[tuple[int, Piece]],
    workers: Workers,
    content: SourceObject,
    config: ConverterConfig,
) -> Iterator[Block]:
    """Convert pieces here or, if the file is large, in the workers: the blocks are the same."""
    packed = config.compression == "gzip" or config.file_type == "parquet"
    unpacked = content.size * _UNPACKED if packed else content.size
    if workers.worth(unpacked):
        return workers.blocks(pipeline, pieces, lambda: content.seen(0))
    return (pipeline.block(first, piece) for first, piece in pieces)


def _over_budget(budget: float, tally: Tally, reader: FileReader) -> str | None:
    """Say why too many rows were rejected for any to be loaded, or None (decisions D-01)."""
    if tally.rejected_share <= budget:
        return None
    hint = reader.hint()
    return (
        f"{tally.rejected:,} of {tally.read:,} rows were rejected ({tally.rejected_share:.1%}), more than the"
        f" source's error budget of {budget:.1%}, so none is loaded: {tally.dominating()}"
        + (f". Perhaps {hint}" if hint else "")
    )


def _still_there(run: ImportRun, staged: dict[str, Any]) -> bool:
    """Whether an earlier try of this run staged the file, and its rows still lie there."""
    if staged["run"] != run.run:
        return False
    paths = [path for path in (staged["events"], staged["rejects"]) if path]
    infos = run.lake.filesystem().get_file_info(paths)
    return all(info.type == pafs.FileType.File for info in infos)


def _commonest(counter: Counter[str]) -> dict[str, int]:
    return dict(counter.most_common(_SHOWN_NAMES))


def _log_outcome(file: SourceFile, staged: dict[str, Any], took: float) -> None:
    if staged["failed"]:
        log.error("s3://%s/%s fails: %s", file.bucket, file.key, staged["failed"])
    else:
        log.info(
            "s3://%s/%s: %s rows in %.1f s, %s ignored, %s rejected",
            file.bucket, file.key, f"{staged['rows_read']:,}", took, staged["ignored"], staged["rejected"],
        )  # fmt: skip


@contextmanager
def _quiet_gc() -> Iterator[None]:
    """Keep the cyclic garbage collector off: rows make no cycles, but its scans cost a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Progress:
    """Logs how far a file is, and keeps its claim alive, whenever the reader has seen a block."""

    def __init__(self, run: ImportRun, file: SourceFile, holder: str, tally: Tally) -> None:
        self._run, self._file, self._holder, self._tally = run, file, holder, tally
        self.rows = 0
        self._bytes = 0
        self._began = self._renewed = self._logged = time.monotonic()

    def cut(self, reader: FileReader) -> Iterator[tuple[int, Piece]]:
        """Yield the reader's pieces with the number of their first row; `rows` counts those of all pieces."""
        for first, piece in reader.numbered():
            self.rows += piece.count
            yield first, piece

    def saw(self, size: int) -> None:
        self._bytes += size
        moment = time.monotonic()
        if moment - self._logged >= _LOG_SECONDS:
            self._logged = moment
            log.info(
                "s3://%s/%s: %s rows, %.0f %% of %s bytes, %s rows/s",
                self._file.bucket, self._file.key, f"{self._tally.read:,}",
                100 * self._bytes / max(self._file.size, 1), f"{self._file.size:,}",
                f"{self._tally.read / (moment - self._began):,.0f}",
            )  # fmt: skip
        if moment - self._renewed >= _RENEW_SECONDS:
            self._renewed = moment
            if not files.keep(self._run.ledger, self._run.source.id, self._file, self._holder, CLAIM_SECONDS):
                raise ClaimLost(
                    f"s3://{self._file.bucket}/{self._file.key} went to another worker while this one"
                    " converted it."
                )

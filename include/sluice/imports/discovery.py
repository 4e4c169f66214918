"""Discovery: a full listing of the source's prefix, streamed against the ledger (amplitude-spec 4.3).

Nothing is concluded from names or times of earlier scans: objects may appear in any order, so every scan
looks at every key, a page at a time. A file is seen at the latest by the next scan.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from sluice.config import ImportConfig
from sluice.converter import Converter, RowError
from sluice.imports.converters import remember
from sluice.imports.objects import ListedObject, list_objects
from sluice.imports.session import ImportRun
from sluice.ledger import files
from sluice.ledger.registry import record_source

log = logging.getLogger(__name__)

# What one convert task takes, whichever comes first (architecture.md).
BATCH_BYTES = 512 << 20
BATCH_FILES = 500
# Airflow maps a task at most 1,024 times ([core] max_map_length).
MAX_BATCHES = 1000

_PAGE = 1000


@dataclass(frozen=True)
class Batch:
    """A stretch of the waiting files in their order, both ends included: what one convert task takes."""

    number: int
    files: int
    bytes: int
    first: tuple[datetime, str]
    last: tuple[datetime, str]

    def as_json(self) -> dict[str, Any]:
        """Return the batch as JSON types, for an XCom."""
        return asdict(self) | {
            "first": [self.first[0].isoformat(), self.first[1]],
            "last": [self.last[0].isoformat(), self.last[1]],
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Batch:
        """Read a batch back."""
        places = {
            end: (datetime.fromisoformat(document[end][0]), document[end][1]) for end in ("first", "last")
        }
        return cls(document["number"], document["files"], document["bytes"], **places)


@dataclass
class Discovery:
    """What a scan found: objects listed, matching files, new ones, refused new ones, changed known ones."""

    listed: int = 0
    matching: int = 0
    new: int = 0
    refused: int = 0
    changed: int = 0
    batches: list[Batch] = field(default_factory=list)


def discover(run: ImportRun) -> Discovery:
    """Record the source's new files in the ledger, and plan the batches of all files that wait.

    Raises ImportAccessError if the bucket cannot be listed, ConfigError for a converter that cannot be
    compiled, SourceMoved if the source's place changed after its first import (decisions I-22).
    """
    source = run.source
    record_source(run.ledger, source.id, source.as_json(), source.hash, source.FIXED)
    converter = remember(run.lake, run.converter_path)
    found = Discovery()
    objects = list_objects(run.store.client(), source.bucket, source.prefix)
    matching = _matching(objects, source, converter, found)
    while page := list(islice(matching, _PAGE)):
        _record(run, [_new_file(source, item) for item in page], converter.hash, found)
    files.take_back(run.ledger, source.id, run.run)
    found.batches = plan_batches(files.waiting(run.ledger, source.id))
    log.info(
        "s3://%s/%s: %s objects, %s match, %s new, %s of them refused; %s files wait in %s batches",
        source.bucket, source.prefix, f"{found.listed:,}", f"{found.matching:,}",
        f"{found.new:,}", found.refused,
        f"{sum(batch.files for batch in found.batches):,}", len(found.batches),
    )  # fmt: skip
    return found


def plan_batches(waiting: Iterable[files.SourceFile]) -> list[Batch]:
    """Cut the waiting files, in their order, into batches; what is left over waits for the next run."""
    batches: list[Batch] = []
    current: Batch | None = None
    for file in waiting:
        if current and current.files < BATCH_FILES and current.bytes + file.size <= BATCH_BYTES:
            current = Batch(
                current.number, current.files + 1, current.bytes + file.size, current.first, file.place
            )
            continue
        if current:
            batches.append(current)
            if len(batches) == MAX_BATCHES:
                log.warning("More files wait than %s batches take: the next run takes the rest.", MAX_BATCHES)
                return batches
        current = Batch(len(batches), 1, file.size, file.place, file.place)
    return [*batches, current] if current else batches


def _matching(
    objects: Iterable[ListedObject], source: ImportConfig, converter: Converter, found: Discovery
) -> Iterator[ListedObject]:
    for item in objects:
        found.listed += 1
        # A zero-byte object is a placeholder of a folder or a marker, never data (decisions D-16).
        if item.size == 0:
            continue
        try:
            matches = converter.matches(item.key, source.prefix)
        except RowError as error:
            log.warning("The key %r is left out: filterPattern cannot be matched on it (%s)", item.key, error)
            continue
        if matches:
            found.matching += 1
            yield item


def _new_file(source: ImportConfig, item: ListedObject) -> files.NewFile:
    fault = size_fault(source, item.size)
    if fault and source.size_policy == "warn":
        log.warning("s3://%s/%s: %s", source.bucket, item.key, fault)
    reason = fault if source.size_policy == "reject" else None
    return files.NewFile(item.key, item.etag, item.size, item.last_modified, reason)


def size_fault(source: ImportConfig, size: int) -> str | None:
    """Say why a file's size is outside the source's limits, both exclusive, or None (decisions I-1)."""
    if source.min_bytes < size < source.max_bytes or source.size_policy == "ignore":
        return None
    return (
        f"The file has {size:,} bytes; the source takes files of more than {source.min_bytes:,} and fewer"
        f" than {source.max_bytes:,} (min_bytes, max_bytes). Change these, or set size_policy to warn or"
        " ignore."
    )


def _record(run: ImportRun, page: list[files.NewFile], converter_hash: str, found: Discovery) -> None:
    source = run.source
    new, changed = files.add_new(run.ledger, source.id, source.bucket, page, converter_hash, run.run)
    found.new += len(new)
    found.changed += len(changed)
    for file in new:
        if file.reason:
            found.refused += 1
            log.error("s3://%s/%s is not imported: %s", source.bucket, file.key, file.reason)
    for file, etag in changed:
        log.warning(
            "s3://%s/%s was changed (ETag %s, was %s) and is not processed again: a source takes each file"
            " name once (decisions I-9). Upload new content under a new name.",
            source.bucket, file.key, file.etag, etag,
        )  # fmt: skip

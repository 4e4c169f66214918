"""Discovery: what is in the bucket, streamed against the ledger (amplitude-spec 4.3).

A sweep lists the whole prefix, a page at a time, and concludes nothing from names or times of earlier ones:
objects may appear in any order. A source with date folders lists only the recent ones in between, one with
notifications only looks at the keys that it was told of. A file is seen at the latest by the next sweep.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from sluice.config import ImportConfig
from sluice.converter import Converter, RowError
from sluice.imports.enabling import converter_in_force
from sluice.imports.errors import ImportAccessError
from sluice.imports.folders import recent_folders
from sluice.imports.held import expire_held, tell_held
from sluice.imports.inbox import Inbox
from sluice.imports.messages import read_hints
from sluice.imports.objects import ListedObject, list_objects, look_up
from sluice.imports.session import ImportRun
from sluice.ledger import files, sweeps
from sluice.ledger.registry import record_source

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

# What one convert task takes, whichever comes first (architecture.md).
BATCH_BYTES = 512 << 20
BATCH_FILES = 500
# Airflow maps a task at most 1,024 times ([core] max_map_length).
MAX_BATCHES = 1000

_PAGE = 1000
# How many objects are looked at side by side; each costs one HEAD.
_LOOKS = 8


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
    """What discovery saw: objects, those that match, new ones, refused new ones, changed known ones.

    `how` says where it looked, `messages` how many notifications it took, `ignored` what they held beside
    the source's keys, `gone` how many objects they named that are not there. `held` are files of other runs
    that wait behind a quality gate.
    """

    how: str = ""
    listed: int = 0
    matching: int = 0
    new: int = 0
    refused: int = 0
    changed: int = 0
    messages: int = 0
    gone: int = 0
    held: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    batches: list[Batch] = field(default_factory=list)


def discover(run: ImportRun, inbox: Inbox | None = None, *, sweep: bool = False) -> Discovery:
    """Record the source's new files in the ledger, and plan the batches of all files that wait.

    Looks at what `inbox` names, and then, if the source has a shorter way than listing everything, lists
    everything only if `sweep` says so or `sweep_every` is over. Raises ImportAccessError if the bucket cannot
    be listed, QueueError if the queue cannot be read, ConfigError for a converter that cannot be compiled,
    SourceMoved if the source's place changed after its first import (decisions I-22).
    """
    source = run.source
    record_source(run.ledger, source.id, source.as_json(), source.hash, source.FIXED)
    expire_held(run)
    converter = converter_in_force(run)
    found = Discovery()
    client = run.store.client()
    if inbox is not None:
        _take_hints(run, client, inbox, converter, found)
    _scan(run, client, converter, found, sweep)
    files.take_back(run.ledger, source.id, run.run)
    found.held = tell_held(run)
    found.batches = plan_batches(files.waiting(run.ledger, source.id, run.run))
    log.info(
        "s3://%s/%s, %s: %s objects, %s match, %s new, %s of them refused; %s files wait in %s batches",
        source.bucket, source.prefix, found.how, f"{found.listed:,}", f"{found.matching:,}",
        f"{found.new:,}", found.refused,
        f"{sum(batch.files for batch in found.batches):,}", len(found.batches),
    )  # fmt: skip
    return found


def _take_hints(
    run: ImportRun, client: S3Client, inbox: Inbox, converter: Converter, found: Discovery
) -> None:
    """Look at each object that a message names; a message goes once the ledger knows what it named."""
    source = run.source
    look = partial(_look, client, source.bucket)
    with ThreadPoolExecutor(_LOOKS) as pool:
        for portion in inbox.portions():
            hints = read_hints(portion, source.bucket, source.prefix)
            objects = list(pool.map(look, hints.keys))
            there = [item for item in objects if item is not None]
            _record_all(run, there, converter, found)
            found.messages += len(portion)
            found.gone += len(objects) - len(there)
            found.ignored += hints.ignored
            inbox.delete(portion)
    if found.messages:
        log.info(
            "%s notifications: %s objects looked at, %s not there%s",
            f"{found.messages:,}", f"{found.listed:,}", f"{found.gone:,}",
            "".join(f"; ignored, {reason}: {count:,}" for reason, count in found.ignored.items()),
        )  # fmt: skip


def _look(client: S3Client, bucket: str, key: str) -> ListedObject | None:
    try:
        return look_up(client, bucket, key)
    except ImportAccessError:
        # One object that may not be read does not hold up the others: as after a listing, its own conversion
        # says what is missing.
        first = next(list_objects(client, bucket, key), None)
        return first if first is not None and first.key == key else None


def _scan(run: ImportRun, client: S3Client, converter: Converter, found: Discovery, sweep: bool) -> None:
    """List what has to be listed by this run: everything, the recent folders, or nothing."""
    source = run.source
    shorter = source.layout is not None or source.discovery == "notifications"
    # The time before the first page: what appears behind the listing's back is the next one's.
    began = run.ledger.now()
    if sweep or not shorter or sweeps.due(run.ledger, source.id, timedelta(minutes=source.sweep_every)):
        found.how = "everything"
        _record_all(run, list_objects(client, source.bucket, source.prefix), converter, found)
        sweeps.record(run.ledger, source.id, began)
    elif source.layout is not None:
        folders = recent_folders(source.layout, began, source.recent_hours)
        found.how = f"{len(folders)} recent folders"
        for folder in folders:
            objects = list_objects(client, source.bucket, source.prefix + folder)
            _record_all(run, objects, converter, found)
    else:
        found.how = "what was notified"


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


def _record_all(
    run: ImportRun, objects: Iterable[ListedObject], converter: Converter, found: Discovery
) -> None:
    """Record those of the objects that match and are new, a page at a time."""
    matching = _matching(objects, run.source, converter, found)
    while page := list(islice(matching, _PAGE)):
        _record(run, [_new_file(run.source, item) for item in page], converter.hash, found)


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

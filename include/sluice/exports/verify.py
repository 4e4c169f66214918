"""Proves what an export says: reads the bucket's objects back, and the lake, and compares them hour by hour.

Both sides are streamed. Of an event only the uuid is compared; that its bytes are those that were exported,
the files' SHA-256 in the ledger says.
"""

from __future__ import annotations

import logging
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from pathlib import Path

from sluice.access.errors import Refused
from sluice.config import ExportConfig
from sluice.exports.bucket import Bucket, StoredObject
from sluice.exports.form import filter_hash, layout_of
from sluice.exports.lake_errors import lake_explained
from sluice.exports.lake_uuids import LakeUuids
from sluice.exports.ranges import HOUR, HourRange, refuse_future
from sluice.exports.readback import read_back
from sluice.exports.staged import MANIFEST
from sluice.exports.staging import contents_of
from sluice.exports.uuids import UuidSpool, difference
from sluice.exports.verification import HourReport, summarise
from sluice.lake import Fingerprint, Lake
from sluice.lake.projection import catch_up, closed_until
from sluice.ledger import Ledger, exported
from sluice.ledger.exported import HourId, HourRecord, PublishedFile
from sluice.ledger.registry import recorded_destinations
from sluice.ledger.verifications import record_verification

log = logging.getLogger(__name__)

# Hours that are looked at beside each other: small ones wait for the store most of the time.
_WORKERS = 4
# Hours of one listing and one look at the ledger.
_MOST_DAYS = 7
# How often an hour is looked at again because somebody exported it meanwhile.
_AGAIN = 3

# Told of events and bytes as they are read.
Meter = Callable[[int, int], None]


@dataclass(frozen=True)
class _Known:
    """What the ledger and the listing say of one hour."""

    record: HourRecord | None
    files: tuple[PublishedFile, ...]
    objects: tuple[StoredObject, ...]
    content: Fingerprint
    version: int
    closed: bool


class Verifier:
    """Compares hours of one destination with the lake. `meter` is called from several threads.

    Raises BucketAccessError or BucketUnavailable where the bucket cannot be read, WindowError for a range
    that reaches into the future.
    """

    def __init__(
        self,
        config: ExportConfig,
        *,
        lake: Lake,
        ledger: Ledger,
        bucket: Bucket,
        meter: Meter = lambda events, bytes: None,
    ) -> None:
        self._config = config
        self._lake = lake
        self._lake_uuids = LakeUuids(config, lake)
        self._ledger = ledger
        self._bucket = bucket
        self._meter = meter
        self._layout = layout_of(config)
        self._filter_hash = filter_hash(config)
        recorded = recorded_destinations(ledger).get(config.id)
        self._start = recorded.start if recorded else None

    def verify(self, hours: HourRange) -> Iterator[HourReport]:
        """Yield a report for each hour of each project, by project and time; record the result at the end."""
        refuse_future(hours, self._ledger.now())
        catch_up(self._lake, self._ledger, self._lake.events())
        reports: list[HourReport] = []
        with self._ledger.pooled(_WORKERS + 1) as ledger, ThreadPoolExecutor(_WORKERS) as pool:
            for project in self._config.projects:
                for report in self._project(ledger, pool, project, hours):
                    reports.append(report)
                    yield report
        record_verification(self._ledger, self._config.id, summarise(hours, reports))

    def _project(
        self, ledger: Ledger, pool: ThreadPoolExecutor, project: int, hours: HourRange
    ) -> Iterator[HourReport]:
        waiting: deque[Future[HourReport]] = deque()
        try:
            for days in _by_days(hours):
                known = self._known(ledger, project, days)
                for hour in days:
                    waiting.append(pool.submit(self._settled_hour, ledger, project, hour, known[hour]))
                    if len(waiting) > _WORKERS:
                        yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _known(self, ledger: Ledger, project: int, hours: Sequence[datetime]) -> dict[datetime, _Known]:
        first, last = hours[0], hours[-1]
        # Before the listing: what is published in between is looked at again.
        records = exported.records(ledger, self._config.id, project, first, last)
        files = exported.published_files_between(ledger, self._config.id, project, first, last)
        contents, version = contents_of(ledger, project, first, last)
        closed = closed_until(ledger, project)
        objects: dict[datetime, list[StoredObject]] = {}
        for item in self._bucket.objects(project, {hour.date() for hour in hours}):
            objects.setdefault(item.names.hour, []).append(item)
        self._lake_uuids.expect(project, version, contents)
        return {
            hour: _Known(
                record=records.get(hour),
                files=tuple(files.get(hour, ())),
                objects=tuple(objects.get(hour, ())),
                content=contents.get(hour, Fingerprint()),
                version=version,
                closed=closed is not None and closed >= hour + HOUR,
            )
            for hour in hours
        }

    def _settled_hour(self, ledger: Ledger, project: int, hour: datetime, known: _Known) -> HourReport:
        """Look at an hour, and again if somebody exported it while it was looked at."""
        id = HourId(self._config.id, project, hour)
        for _ in range(_AGAIN):
            report = self._hour(project, hour, known)
            if report.whole or exported.record(ledger, id) == known.record:
                return report
            log.info("The %s was exported meanwhile; it is looked at again.", id)
            known = self._known(ledger, project, [hour])[hour]
        return self._hour(project, hour, known)

    def _hour(self, project: int, hour: datetime, known: _Known) -> HourReport:
        record = known.record if known.record and known.record.published else None
        findings = [
            *self._state_findings(hour, known, record),
            *self._marker_findings(project, hour, record, known.objects),
        ]
        with tempfile.TemporaryDirectory(prefix="sluice-verify-") as folder:
            lake, bucket = UuidSpool(Path(folder, "lake")), UuidSpool(Path(folder, "bucket"))
            self._read_lake(project, hour, known, record, lake)
            unreadable, bytes = self._read_bucket(known, bucket, findings)
            differs = difference(lake, bucket)
        as_recorded = not findings and bool(differs.missing or differs.doubled or differs.unknown)
        if as_recorded:
            findings.append("the files are those that were exported, and do not hold the lake's events")
        return HourReport(
            project=project,
            hour=hour,
            lake_events=lake.rows,
            bucket_events=bucket.rows,
            bytes=bytes,
            missing=differs.missing,
            doubled=differs.doubled,
            unknown=differs.unknown,
            unreadable=unreadable,
            findings=tuple(findings),
            as_recorded=as_recorded,
            closed=known.closed,
        )

    def _state_findings(self, hour: datetime, known: _Known, record: HourRecord | None) -> Iterator[str]:
        if not known.closed:
            yield "the hour is not closed yet, so it cannot have been exported"
        elif record is None and not self._outside(hour, known):
            yield "it was not exported" if known.record is None else "its last export did not come to its end"
        if record is not None:
            yield from self._changes(record, known.content)

    def _outside(self, hour: datetime, known: _Known) -> bool:
        """Whether neither the schedule nor the lake has anything to do with an hour."""
        nothing = known.record is None and not known.objects and not known.content.rows
        return nothing and (self._start is None or hour < self._start)

    def _changes(self, record: HourRecord, content: Fingerprint) -> Iterator[str]:
        if (record.content_rows, record.content_digest) != (content.rows, content.digest):
            yield (
                "the lake's hour was changed since it was exported:"
                f" {record.content_rows or 0:,} events then, {content.rows:,} now"
            )
        if record.filter_hash != self._filter_hash:
            yield "the destination's filter was changed since it was exported"

    def _marker_findings(
        self, project: int, hour: datetime, record: HourRecord | None, objects: Iterable[StoredObject]
    ) -> Iterator[str]:
        known = False
        for item in objects:
            if item.names.kind == "marker":
                # All empty objects have one ETag: only the metadata tell whose marker it is.
                head = self._bucket.head(item.key)
                if record is not None and head and head.metadata.get(MANIFEST) == record.manifest_hash:
                    known = True
                else:
                    yield f"a marker that the ledger does not know: {item.key}"
        if record is not None and self._config.marker and not known:
            yield f"the marker is missing: {self._layout.marker_key(project, hour)}"

    def _read_lake(
        self, project: int, hour: datetime, known: _Known, record: HourRecord | None, into: UuidSpool
    ) -> None:
        """Read the hour's uuids under the filter, as it was when it was exported.

        Where it holds the same now, the newest version is read: maintenance may have removed older files.
        """
        then = record.lake_version if record and record.content_digest != known.content.digest else None
        if then is not None:
            try:
                for uuids in self._lake_uuids.of_hour(project, hour, then):
                    into.add(uuids)
                return
            except FileNotFoundError:
                log.info("The lake's files of version %s are gone; its newest events are compared.", then)
                into.clear()
        if known.content.rows:
            with lake_explained():
                for uuids in self._lake_uuids.of_hour(project, hour, known.version):
                    into.add(uuids)

    def _read_bucket(self, known: _Known, into: UuidSpool, findings: list[str]) -> tuple[int, int]:
        """Read every data object of the hour, as a consumer would; return unreadable things and bytes."""
        recorded = {file.key: file for file in known.files}
        present = {item.key: item for item in known.objects if item.names.kind == "data"}
        findings += [
            f"partition {file.partition} is missing: {key}"
            for key, file in recorded.items()
            if key not in present
        ]
        unreadable = bytes = 0
        for key, item in sorted(present.items()):
            if key not in recorded:
                findings.append(f"a file that the ledger does not know: {key}")
            before = into.rows
            try:
                content = read_back(self._bucket.read(key, item.etag), into.add)
            except Refused:
                findings.append(f"it was removed or overwritten while it was read: {key}")
                continue
            self._meter(into.rows - before, content.bytes)
            unreadable += content.unreadable
            bytes += content.bytes
            if content.damage:
                findings.append(f"{content.damage}: {key}")
            elif content.unreadable:
                findings.append(f"{content.unreadable:,} lines are no events: {key}")
            if key in recorded and content.sha256 != recorded[key].sha256:
                findings.append(f"it was overwritten since it was exported: {key}")
            elif key in recorded and item.etag != recorded[key].etag:
                findings.append(f"it was written again, with the same bytes, since it was exported: {key}")
        return unreadable, bytes


def _by_days(hours: HourRange) -> Iterator[list[datetime]]:
    """Cut a range into whole days, a few of them at once."""

    def group(hour: datetime) -> int:
        return (hour.date() - date(1970, 1, 1)).days // _MOST_DAYS

    for _, days in groupby(hours, group):
        yield list(days)

"""Stages an hour: reads it, writes its files as uploads that nobody has completed yet."""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from urllib.parse import quote

from botocore.exceptions import ClientError
from sqlalchemy import and_, select

from sluice.access.errors import BucketUnavailable, Refused
from sluice.config import ExportConfig
from sluice.errors import SluiceError
from sluice.exports.bucket import MARKER_TYPE, Bucket
from sluice.exports.errors import ContentMismatch
from sluice.exports.form import config_hash, filter_hash, layout_of
from sluice.exports.hour_lines import HourLines
from sluice.exports.plan import HourView
from sluice.exports.samples import LineSample
from sluice.exports.sink import UploadSink
from sluice.exports.staged import (
    MANIFEST,
    PARTITIONS,
    ROWS,
    RUN,
    STAGING,
    Content,
    StagedFile,
    StagedHour,
    StagedMarker,
    manifest_of,
)
from sluice.exports.writer import HourWriter
from sluice.lake import Fingerprint
from sluice.ledger import Ledger
from sluice.ledger.tables import hours, lake_versions

log = logging.getLogger(__name__)

# Parts that travel at once; more do not help one stream of parts that are made one after the other.
_UPLOADERS = 2
# How often, in seconds, a long hour says how far it is.
_PROGRESS = 10.0
# Answers by which a store may refuse a part without bytes; AWS takes it.
_NO_EMPTY_PART = {
    "EntityTooSmall",
    "InvalidArgument",
    "InvalidPart",
    "InvalidRequest",
    "MissingContentLength",
}


def content_of(ledger: Ledger, project: int, hour: datetime) -> Content:
    """Return what an hour holds, with the version at which it holds exactly that.

    Both come from one statement: a load may add to a closed hour at any moment.
    """
    statement = select(lake_versions.c.version, hours.c.rows, hours.c.digest).select_from(
        lake_versions.outerjoin(hours, and_(hours.c.project == project, hours.c.hour == hour))
    )
    with ledger.begin() as connection:
        row = connection.execute(statement).one()
    fingerprint = Fingerprint() if row.rows is None else Fingerprint(row.rows, row.digest)
    return Content(fingerprint, int(row.version))


def contents_of(
    ledger: Ledger, project: int, first: datetime, last: datetime
) -> tuple[dict[datetime, Fingerprint], int]:
    """Return what the hours from `first` to `last` hold, those without rows left out, and at which version.

    All of it comes from one statement, as in content_of.
    """
    statement = select(lake_versions.c.version, hours.c.hour, hours.c.rows, hours.c.digest).select_from(
        lake_versions.outerjoin(
            hours, and_(hours.c.project == project, hours.c.hour >= first, hours.c.hour <= last)
        )
    )
    with ledger.begin() as connection:
        rows = connection.execute(statement).all()
    contents = {row.hour: Fingerprint(row.rows, row.digest) for row in rows if row.hour is not None}
    return contents, int(rows[0].version)


class Stager:
    """Writes the hours of one destination as uncompleted uploads that name one run."""

    def __init__(self, config: ExportConfig, bucket: Bucket, lines: HourLines, run: str) -> None:
        self._config = config
        self._bucket = bucket
        self._lines = lines
        self._run = run
        self._layout = layout_of(config)

    def stage(
        self,
        project: int,
        hour: datetime,
        content: Content,
        view: HourView,
        alive: Callable[[], None],
        sample: LineSample | None = None,
    ) -> StagedHour:
        """Upload the hour's files and its marker without completing anything.

        `alive` is called between batches: it keeps the claim, and raises HourHeld if it is lost. `sample`
        takes from the lines as they go by. Raises
        ContentMismatch if the lake gives another number of rows than the ledger has. Whatever is raised,
        the uploads are aborted.
        """
        started = time.monotonic()
        staging = uuid.uuid4().hex
        metadata = {RUN: quote(self._run, safe=":+"), STAGING: staging}
        opened: list[tuple[str, str]] = []
        try:
            files = self._files(project, hour, content, metadata, opened, alive, sample)
            marker = self._marker(project, hour, files, metadata, opened) if self._config.marker else None
        except BaseException:
            self._abort(opened)
            raise
        return StagedHour(
            run=self._run,
            staging=staging,
            content=content,
            filter_hash=filter_hash(self._config),
            config_hash=config_hash(self._config),
            files=files,
            marker=marker,
            seen={item.key: item.etag for item in view.objects},
            markers={key: head.metadata.get(STAGING, "") for key, head in view.markers.items()},
            seconds=time.monotonic() - started,
        )

    def abandon(self, staged: StagedHour) -> None:
        """Abort the uploads of an hour that will not be published."""
        opened = [(file.key, file.upload_id) for file in staged.files]
        if staged.marker is not None and staged.marker.upload_id is not None:
            opened.append((staged.marker.key, staged.marker.upload_id))
        self._abort(opened)

    def _files(
        self,
        project: int,
        hour: datetime,
        content: Content,
        metadata: dict[str, str],
        opened: list[tuple[str, str]],
        alive: Callable[[], None],
        sample: LineSample | None,
    ) -> tuple[StagedFile, ...]:
        sinks: list[UploadSink] = []
        with ThreadPoolExecutor(_UPLOADERS, thread_name_prefix="sluice-upload") as executor:

            def open_sink(index: int) -> UploadSink:
                key = self._layout.data_key(project, hour, index)
                upload_id = self._bucket.create_upload(key, metadata)
                opened.append((key, upload_id))
                sinks.append(UploadSink(self._bucket, key, upload_id, executor))
                return sinks[-1]

            writer = HourWriter(
                open_sink,
                level=self._config.compression_level,
                partition_bytes=self._config.partition_bytes,
            )
            progress = _Progress(project, hour, content.fingerprint.rows)
            # How many events of the hour the filter keeps back.
            kept_back: list[int] = []
            with contextlib.closing(self._lines.lines(project, hour, content, kept_back)) as encoded:
                for lines, times in encoded:
                    alive()
                    writer.write(lines, times)
                    if sample is not None:
                        sample.take(lines)
                    progress.add(len(lines), len(lines.data))
            facts = writer.finish()
        read = writer.rows + sum(kept_back)
        if read != content.fingerprint.rows:
            raise ContentMismatch(
                f"The lake gave {read:,} events of project {project} for the hour"
                f" {hour:%Y-%m-%d %H}:00 UTC at version {content.version}, the ledger has"
                f" {content.fingerprint.rows:,}: nothing was published. If it stays"
                " so, see whether lake and ledger belong together."
            )
        return tuple(
            StagedFile(
                sink.key, fact.index + self._layout.first_partition, fact, sink.upload_id, tuple(sink.etags)
            )
            for sink, fact in zip(sinks, facts, strict=True)
        )

    def _marker(
        self,
        project: int,
        hour: datetime,
        files: tuple[StagedFile, ...],
        metadata: dict[str, str],
        opened: list[tuple[str, str]],
    ) -> StagedMarker:
        key = self._layout.marker_key(project, hour)
        upload_id = self._bucket.create_upload(key, metadata | marker_metadata(files), MARKER_TYPE)
        opened.append((key, upload_id))
        try:
            return StagedMarker(key, upload_id, self._bucket.upload_part(key, upload_id, 1, b""))
        except BucketUnavailable as error:
            cause = error.__cause__
            if not isinstance(cause, ClientError) or cause.response["Error"]["Code"] not in _NO_EMPTY_PART:
                raise
            log.info("The store takes no empty part; the marker will be a conditional PUT: %s", cause)
            self._bucket.abort(key, upload_id)
            opened.pop()
            return StagedMarker(key, None, None)

    def _abort(self, opened: list[tuple[str, str]]) -> None:
        for key, upload_id in opened:
            # What is left over, the next writer or maintenance aborts; the first error is the one to show.
            with contextlib.suppress(SluiceError, Refused):
                self._bucket.abort(key, upload_id)


def marker_metadata(files: tuple[StagedFile, ...]) -> dict[str, str]:
    """Return what a marker's metadata vouches for, besides naming its run (invariant 3)."""
    return {
        PARTITIONS: str(len(files)),
        ROWS: str(sum(file.facts.rows for file in files)),
        MANIFEST: manifest_of(files),
    }


class _Progress:
    """Says now and then how far a long hour is."""

    def __init__(self, project: int, hour: datetime, total: int) -> None:
        self._what = f"project {project}, hour {hour:%Y-%m-%d %H}"
        self._total = total
        self._rows = self._bytes = 0
        self._started = self._said = time.monotonic()

    def add(self, rows: int, bytes: int) -> None:
        self._rows += rows
        self._bytes += bytes
        now = time.monotonic()
        if now - self._said >= _PROGRESS:
            self._said = now
            rate = self._rows / (now - self._started)
            log.info(
                "%s: %s of %s events, %.0f MB of lines, %.0f events/s",
                self._what, f"{self._rows:,}", f"{self._total:,}", self._bytes / 1e6, rate,
            )  # fmt: skip

"""Makes a staged hour visible, the marker last (architecture invariant 3).

The steps: marker off, complete all files, surplus off, complete the marker. Before each the claim is checked
in the ledger, and each is conditional on what the plan saw. A writer that lost the hour finds its claim or
its uploads gone; it publishes nothing, not even its marker.
"""

from __future__ import annotations

import logging
import time
from urllib.parse import quote

from sluice.access.errors import Refused
from sluice.exports.bucket import Bucket
from sluice.exports.staged import RUN, STAGING, StagedFile, StagedHour, StagedMarker
from sluice.exports.staging import marker_metadata
from sluice.ledger import Ledger, exported
from sluice.ledger.exported import Claim, HourHeld, PublishedFile

log = logging.getLogger(__name__)


def publish(
    bucket: Bucket,
    ledger: Ledger,
    claim: Claim,
    staged: StagedHour,
    lease_seconds: float,
    *,
    recorded: bool = True,
) -> None:
    """Publish a staged hour under a claim; called again after a crash, it goes on where it was.

    `recorded` says that the ledger has the staging; if not, no earlier try can have begun to publish it, and
    it is recorded on the way. Raises HourHeld if another writer has the hour, or if something of it was
    changed by others: then the staging is given up, and the ledger does not say that the hour is published.
    """
    _Publication(bucket, ledger, claim, staged, lease_seconds, recorded).run()


class _Publication:
    def __init__(
        self,
        bucket: Bucket,
        ledger: Ledger,
        claim: Claim,
        staged: StagedHour,
        lease_seconds: float,
        recorded: bool,
    ) -> None:
        self._bucket = bucket
        self._ledger = ledger
        self._claim = claim
        self._staged = staged
        self._lease = lease_seconds
        self._recorded = recorded
        self._started = time.monotonic()
        # Something was taken off since the claim was last seen to hold: it may have been another writer's.
        self._suspect = False
        # The last thing that was done is a look at the claim.
        self._checked = False

    def run(self) -> None:
        try:
            files, marker_etag = self._steps()
            self._record(files, marker_etag)
        except HourHeld:
            if self._suspect:
                exported.unpublish(self._ledger, self._claim.id)
            raise
        except Refused as refusal:
            self._give_up()
            raise HourHeld(
                f"Another writer holds the {self._claim.id}, or changed its objects: {refusal}. This run"
                " published nothing more of it; it tries again from what is there now."
            ) from refusal

    def _steps(self) -> tuple[list[PublishedFile], str | None]:
        marker = self._staged.marker
        if self._recorded:
            if marker is not None and (done := self._own(marker.key)):
                # A crash between the marker and the ledger: all is done but the record.
                return self._find_files(), done
            exported.begin_publication(self._ledger, self._claim)
        else:
            exported.begin_staged_publication(self._ledger, self._claim, self._staged.to_json(), self._lease)
            self._checked = True
        for key, staging in self._staged.markers.items():
            self._check()
            self._take_marker_off(key, staging)
        files = []
        for file in self._staged.files:
            self._check()
            files.append(file.published(self._complete(file)))
        for key, etag in self._staged.surplus.items():
            self._check()
            self._take_off(key, etag)
        self._check()
        return files, self._complete_marker(marker) if marker is not None else None

    def _check(self) -> None:
        if self._checked:
            # The statement right before was one.
            self._checked = False
            return
        exported.renew(self._ledger, self._claim, self._lease)
        # Nobody had claimed the hour before this moment, so what was taken off was ours to take.
        self._suspect = False

    def _own(self, key: str) -> str | None:
        """Return the ETag of an object if this staging wrote it, else None."""
        head = self._bucket.head(key)
        return head.etag if head and head.metadata.get(STAGING) == self._staged.staging else None

    def _take_marker_off(self, key: str, staging: str) -> None:
        # All empty objects have one ETag: only the metadata tell whose marker it is.
        head = self._bucket.head(key)
        if head is None:
            return
        if head.metadata.get(STAGING, "") != staging:
            raise Refused(f"{key} is by another writer than when the export was planned")
        self._take_off(key, head.etag)

    def _take_off(self, key: str, etag: str) -> None:
        try:
            self._suspect = True
            self._bucket.delete(key, etag)
        except Refused:
            self._suspect = False
            if self._bucket.head(key) is not None:
                raise
            # It is gone already: by an earlier try of this run, or by hand.

    def _complete(self, file: StagedFile) -> str:
        try:
            return self._bucket.complete(
                file.key, file.upload_id, file.etags, self._staged.seen.get(file.key)
            )
        except Refused:
            if done := self._own(file.key):
                return done
            raise

    def _complete_marker(self, marker: StagedMarker) -> str:
        try:
            if marker.upload_id is not None and marker.etag is not None:
                return self._bucket.complete(marker.key, marker.upload_id, [marker.etag], None)
            run = quote(self._staged.run, safe=":+")
            metadata = {RUN: run, STAGING: self._staged.staging, **marker_metadata(self._staged.files)}
            return self._bucket.put(marker.key, run.encode(), metadata, None)
        except Refused:
            if done := self._own(marker.key):
                return done
            raise

    def _find_files(self) -> list[PublishedFile]:
        files = []
        for file in self._staged.files:
            etag = self._own(file.key)
            if etag is None:
                raise Refused(f"{file.key} was changed after its hour was published")
            files.append(file.published(etag))
        return files

    def _record(self, files: list[PublishedFile], marker_etag: str | None) -> None:
        staged = self._staged
        facts = {
            "content_rows": staged.content.fingerprint.rows,
            "content_digest": staged.content.fingerprint.digest,
            "lake_version": staged.content.version,
            "filter_hash": staged.filter_hash,
            "config_hash": staged.config_hash,
            "rows": staged.rows,
            "bytes": staged.bytes,
            "files": len(files),
            "seconds": staged.seconds + time.monotonic() - self._started,
            "manifest_hash": staged.manifest,
            "marker_etag": marker_etag,
        }
        exported.publish(self._ledger, self._claim, facts, files)

    def _give_up(self) -> None:
        """Forget the staging while the claim is still ours, so that the next try stages anew."""
        log.warning("Publishing the %s was refused; the next try stages it anew.", self._claim.id)
        exported.stage(self._ledger, self._claim, None)
        exported.release(self._ledger, self._claim)

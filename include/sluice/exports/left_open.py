"""Uploads that dead runs left open: parts that nobody sees and that cost all the same."""

from __future__ import annotations

import logging
from datetime import timedelta

from sluice.config import ExportConfig
from sluice.exports.bucket import Bucket
from sluice.exports.held import waiting_hours
from sluice.ledger import Ledger, exported
from sluice.ledger.exported import HourId

log = logging.getLogger(__name__)

# Longer than any retry of a run that is still alive.
STALE = timedelta(hours=24)


def abort_left_open(
    config: ExportConfig,
    ledger: Ledger,
    bucket: Bucket,
    older_than: timedelta = STALE,
    *,
    dry_run: bool = False,
) -> int:
    """Abort a destination's uploads that are older than that and whose hour nobody holds; return how many.

    The next run of an hour aborts them as well; this finds those of hours that no run comes back to. A run
    that lost its uploads so stages its hour again. What a quality gate holds stays until somebody decides.
    """
    now = ledger.now()
    aborted = 0
    waiting = waiting_hours(ledger, config.id)
    for project in config.projects:
        for upload in list(bucket.all_open_uploads(project)):
            if upload.initiated is None or upload.initiated > now - older_than:
                continue
            id = HourId(config.id, project, upload.names.hour)
            if id in waiting:
                continue
            record = exported.record(ledger, id)
            if record is not None and record.claimed_until is not None and record.claimed_until > now:
                continue
            log.info("Aborting an upload of %s, open since %s", upload.key, upload.initiated)
            aborted += 1
            if not dry_run:
                bucket.abort(upload.key, upload.upload_id)
    return aborted

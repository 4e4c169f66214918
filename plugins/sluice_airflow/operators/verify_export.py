"""Proves what an export has written."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from sluice_airflow.hooks.sluice import SluiceHook

if TYPE_CHECKING:
    from airflow.sdk import Context

# How often, in seconds, the log says how far it is.
_PROGRESS = 10.0


class VerifyExportOperator(BaseOperator):
    """Reads a destination's objects and the lake back and compares them, event by event.

    Returns the counts. Fails if an hour differs, with the hours and the command that exports them again; the
    result is in the ledger either way. Nothing in the bucket is changed.

    :param destination: id of the export destination in include/config/exports (templated)
    :param first: first hour (2013-01-02T12) or date (2013-01-02), UTC (templated)
    :param last: last hour or date, inclusive; the same as `first` if empty (templated)
    """

    template_fields: Sequence[str] = ("destination", "first", "last")

    def __init__(self, *, destination: str, first: str, last: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.first = first
        self.last = last

    def execute(self, context: Context) -> dict[str, int]:
        from sluice.exports.bucket import Bucket
        from sluice.exports.ranges import parse_range
        from sluice.exports.verification import raise_for_differences, summarise
        from sluice.exports.verify import Verifier

        hours = parse_range(self.first, self.last)
        hook = SluiceHook()
        config = hook.config.export(self.destination)
        client = hook.store(config.connection, config.region).client()
        bucket = Bucket.of(client, config)
        reports = []
        events = size = 0
        started = said = time.monotonic()
        for report in Verifier(config, lake=hook.lake, ledger=hook.ledger, bucket=bucket).verify(hours):
            reports.append(report)
            events, size = events + report.bucket_events, size + report.bytes
            if not report.whole:
                self.log.warning("%s", report)
            now = time.monotonic()
            if now - said >= _PROGRESS:
                said = now
                self.log.info(
                    "%s of %s hours, %s events, %.0f MB, %.0f events/s",
                    f"{len(reports):,}", f"{len(hours) * len(config.projects):,}", f"{events:,}", size / 1e6,
                    events / (now - started),
                )  # fmt: skip
        found = summarise(hours, reports)
        self.log.info(
            "%s: %s hours, %s events in the lake and %s in the bucket, %.0f MB read, %.0f events/s",
            config.id, f"{found.hours:,}", f"{found.lake_events:,}", f"{found.bucket_events:,}", size / 1e6,
            events / (time.monotonic() - started),
        )  # fmt: skip
        raise_for_differences(config, reports)
        return found.counts

"""Closes hours: from then on no load puts a row into them by its own instant (ADR 1)."""

from __future__ import annotations

import logging
import time
import uuid
from datetime import datetime

from sluice.errors import TransientError
from sluice.lake.commits import LogEntry
from sluice.lake.projection import catch_up, hour_of
from sluice.lake.snapshot import Refused, Snapshot
from sluice.lake.store import Lake
from sluice.ledger import Ledger, leases

log = logging.getLogger(__name__)


class HourNotOver(TransientError):
    """The hour that is to be closed has not ended by the ledger's clock."""


def close_until(
    lake: Lake, ledger: Ledger, project: int, until: datetime, wait_seconds: float = 300.0
) -> int:
    """Close all hours of a project that end at or before `until`, and return the version to read at.

    Waits up to `wait_seconds` for loads that hold a live lease; one that is slower is refused by the log
    and goes into the open hour. Hours that are closed already cost one look. Raises HourNotOver if `until`
    lies after the ledger's now, ValueError if it is not the boundary of an hour.
    """
    if until != hour_of(until):
        raise ValueError(f"Hours are closed at their boundary, not at {until}.")
    now = ledger.now()
    if until > now:
        raise HourNotOver(
            f"The hour that ends at {until:%Y-%m-%d %H:%M} UTC is not over: the ledger's clock says"
            f" {now:%Y-%m-%d %H:%M:%S}. Run it again after that time."
        )
    deadline = time.monotonic() + wait_seconds
    while True:
        snapshot = Snapshot.open(lake, ledger, project)
        if snapshot.closed_until is not None and snapshot.closed_until >= until:
            return snapshot.applied
        if time.monotonic() < deadline and _loading(ledger, project, until):
            time.sleep(0.2)
            continue
        entry = LogEntry(
            kind="close",
            project=project,
            number=snapshot.number,
            attempt=str(uuid.uuid4()),
            closed_until=until,
        )
        try:
            snapshot.commit([], entry)
        except Refused as refusal:
            log.info("A load of project %s came first, closing again: %s", project, refusal)
            continue
        events = lake.events()
        catch_up(lake, ledger, events)
        return int(events.version())


def _loading(ledger: Ledger, project: int, until: datetime) -> bool:
    """Whether a load is under way that began before the hours' end."""
    return any(lease.acquired_at < until for lease in leases.live(ledger, f"load:{project}:"))

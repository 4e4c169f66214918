"""Destinations that the configuration no longer has: nothing reaches their buckets, but their gates end."""

from __future__ import annotations

import logging
from collections.abc import Collection

from sluice.lake import Lake
from sluice.ledger import Ledger, quality
from sluice.quality.report import write_report

log = logging.getLogger(__name__)


def expire_of_removed(lake: Lake, ledger: Ledger, configured: Collection[str]) -> int:
    """Let the gates expire of destinations other than those configured; return how many did.

    What was uploaded for them is not visible, and stays: it goes with the first run of a destination that is
    configured again under the name, or by its bucket's own rule for uploads that nobody completes.
    """
    expired = 0
    for name in {gate.name for gate in quality.held(ledger, "export")} - set(configured):
        for gate in quality.expire(ledger, "export", name):
            log.warning("The %s has expired; %r is configured no more. %s", gate.gate, name, gate.reason)
            write_report(lake, gate)
            expired += 1
    return expired

"""Keeps the lake's files few and sorted, beside running loads and exports (ADR 12).

Nothing here changes a row that a reader takes, an hour's fingerprint, or the numbers of the load protocol.
"""

from sluice.lake.maintenance.checkpoint import checkpoint_tables
from sluice.lake.maintenance.compact import compact_events
from sluice.lake.maintenance.fold import fold_side_tables
from sluice.lake.maintenance.rewrite import MaintenanceBusy, Rewritten
from sluice.lake.maintenance.vacuum import Vacuumed, vacuum_tables

__all__ = [
    "MaintenanceBusy",
    "Rewritten",
    "Vacuumed",
    "checkpoint_tables",
    "compact_events",
    "fold_side_tables",
    "vacuum_tables",
]

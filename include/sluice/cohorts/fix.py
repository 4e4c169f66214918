"""Fixes a turn of a sync: who enters, who leaves, who is in, staged before the first byte leaves (ADR 14)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sluice.config import Config
from sluice.config.syncs import Sync
from sluice.errors import SluiceError
from sluice.lake import Lake
from sluice.ledger import Ledger
from sluice.ledger.syncs import Turn


class SyncRefused(SluiceError):
    """The turn cannot be: the message says why, and what to choose instead."""


@dataclass(frozen=True)
class Fixed:
    """What a fix step ends with: a turn to deliver, one that waits for a person, or none.

    `skipped` means that another run has the sync: this run leaves it alone, and `reason` says whose it is.
    """

    outcome: Literal["fixed", "held", "skipped"]
    turn: Turn | None
    reason: str | None = None

    @property
    def skipped(self) -> bool:
        """Whether the sync is left alone by this run."""
        return self.outcome == "skipped"

    @property
    def held(self) -> bool:
        """Whether the turn waits for a person's approval."""
        return self.outcome == "held"


def fix(
    sync: Sync,
    config: Config,
    lake: Lake,
    ledger: Ledger,
    *,
    as_of: datetime,
    run: str,
    sql_cursor: Any = None,
    scratch: Path | None = None,
) -> Fixed:
    """Fix the run's turn of a sync as of a time (UTC), or go on with the one that it has already.

    `sql_cursor` is an open DB-API cursor for a cohort with a connection; `scratch` is where the local files
    go, the system's temporary folder by default. Raises SyncRefused where a turn of that time cannot be
    (decisions K-10, K-18), TurnLost if another run took the sync over meanwhile.
    """
    raise SyncRefused("not yet")

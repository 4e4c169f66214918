"""The three CSV files of a sync to S3 (amplitude-spec 2.2; decisions K-1 to K-4)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sluice.cohorts.diff import Lists
from sluice.cohorts.staged_file import StagedFile

if TYPE_CHECKING:
    from sluice.config.cohort_destinations import S3CohortDestination
    from sluice.config.cohorts import Sync

# In the order of delivery: a consumer starts on `existing`, so it is the last.
DIFFTYPES = ("exiting", "entering", "existing")


class AsOf(Protocol):
    """What of a turn stands in the names: its as-of time, in UTC (decisions K-1)."""

    @property
    def as_of(self) -> datetime:
        """When the cohort was looked at."""


def object_keys(sync: Sync, destination: S3CohortDestination, as_of: datetime) -> dict[str, str]:
    """Return the object key of each difftype."""
    raise NotImplementedError


def write_csv_files(
    lists: Lists,
    sync: Sync,
    destination: S3CohortDestination,
    turn: AsOf,
    folder: Path,
    *,
    existing_only: bool = False,
) -> list[StagedFile]:
    """Write a turn's files to `folder` in the order of delivery, and return them.

    With `existing_only` only the full list is written, whatever `existing_mode` says (decisions K-18).
    """
    raise NotImplementedError

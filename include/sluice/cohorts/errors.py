"""What can go wrong with finding out who is in a cohort; each message says what to do."""

from __future__ import annotations

from sluice.config.cohorts import CohortConfig
from sluice.errors import SluiceError


class CohortQueryError(SluiceError):
    """A cohort's query cannot be run, or does not return a list of members; `reason` is the bare sentence."""

    def __init__(self, text: str, reason: str | None = None) -> None:
        self.reason = reason or text
        super().__init__(text)

    @classmethod
    def of(cls, cohort: CohortConfig, reason: str) -> CohortQueryError:
        """Return the error with the cohort's file and id in front."""
        where = f"{cohort.source_file}: " if cohort.source_file else ""
        return cls(f"{where}cohort {cohort.id}: {reason}", reason)

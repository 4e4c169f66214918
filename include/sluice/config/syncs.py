"""A sync with all that it takes: its own settings, its cohort, its destination."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from sluice.config.cohort_destinations import KinesisCohortDestination, S3CohortDestination
from sluice.config.cohorts import Cadence, CohortConfig, SyncConfig, property_columns
from sluice.config.projects import Project


@dataclass(frozen=True)
class Sync:
    """One valid sync; `sources` are the projects of a portfolio in their order, none for a single project."""

    config: SyncConfig
    cohort: CohortConfig
    destination: S3CohortDestination | KinesisCohortDestination
    sources: tuple[Project, ...] = ()

    @property
    def id(self) -> str:
        """The sync's id, the only one of its kind over all cohorts."""
        return self.config.id

    @property
    def cadence(self) -> Cadence:
        """How often it runs."""
        return self.config.cadence

    @property
    def has_guard(self) -> bool:
        """Whether it has limits, beyond which it waits for a person."""
        return self.config.max_exit_share is not None or self.config.max_entering is not None

    @property
    def enabled(self) -> bool:
        """Whether the schedule runs it: a backfill or a run by hand may, even so."""
        return self.config.enabled and self.destination.enabled

    @property
    def properties(self) -> tuple[str, ...]:
        """The columns that are sent: the destination's property, then the sync's, doubles once.

        Of a portfolio, one column per property and source project (decisions K-16 and K-17).
        """
        first = () if self.destination.user_property is None else (self.destination.user_property,)
        names = tuple(dict.fromkeys((*first, *self.config.user_properties)))
        return property_columns(names, self.sources)

    def as_json(self) -> dict[str, Any]:
        """Return all settings of the sync, its cohort and its destination: what the ledger records."""
        cohort = self.cohort.as_json()
        del cohort["syncs"]
        return {"sync": self.config.as_json(), "cohort": cohort, "destination": self.destination.as_json()}

    @property
    def hash(self) -> str:
        """The SHA-256, in hex, of what decides who is sent, in which form and under which name."""
        parts = (self.config.hash, self.cohort.hash, self.destination.hash, "\n".join(self.properties))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

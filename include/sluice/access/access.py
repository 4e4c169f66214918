"""What the library asks of whoever opens its configuration, its lake, its ledger and its stores."""

from __future__ import annotations

from typing import Protocol

from sluice.access.storage import S3Store
from sluice.config import Config
from sluice.lake import Lake
from sluice.ledger import Ledger


class Access(Protocol):
    """Whatever opens the configuration, the lake, the ledger and the stores: Airflow's hook, or a shell's."""

    @property
    def config(self) -> Config:
        """The configuration as it is now."""

    @property
    def lake(self) -> Lake:
        """The lake."""

    @property
    def ledger(self) -> Ledger:
        """The ledger."""

    def store(self, connection_id: str, region: str | None = None) -> S3Store:
        """Return the store that a connection opens."""

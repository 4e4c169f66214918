"""A step of the lake's maintenance: what old turns of cohort syncs staged is cleared away."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from sluice_airflow.hooks.sluice import SluiceHook
from sluice_airflow.maintenance_step import MaintenanceStep

if TYPE_CHECKING:
    from airflow.sdk import Context


class ClearSyncsOperator(MaintenanceStep):
    """Removes sent bytes and row logs that are older than a sync's `row_log_days`, and lists of no use.

    Returns how many turns lost what. The baseline of a sync stays, and who left it when, for ever. A turn
    that its quality gate has held for too long is given up.
    """

    def execute(self, context: Context) -> dict[str, int]:
        from sluice.cohorts.clean import clean

        hook = SluiceHook()
        return asdict(clean(hook.config, hook.lake, hook.ledger, dry_run=self.is_dry))

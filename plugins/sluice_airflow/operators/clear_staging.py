"""A step of the lake's maintenance: what dead imports staged and claimed is cleared away."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from sluice_airflow.hooks.sluice import SluiceHook
from sluice_airflow.maintenance_step import MaintenanceStep

if TYPE_CHECKING:
    from airflow.sdk import Context


class ClearStagingOperator(MaintenanceStep):
    """Removes staged rows that no load will read any more, old claims and dead leases.

    Returns how many of each. A run with a live claim keeps all it has; files whose claim ran out longer ago
    than `retention_days` wait again as if they had just been found. What a quality gate has held for too long
    is given up.
    """

    def execute(self, context: Context) -> dict[str, int]:
        from sluice.imports.left_behind import clear_left_behind

        hook = SluiceHook()
        retention = hook.config.lake.maintenance.retention
        return asdict(clear_left_behind(hook.lake, hook.ledger, retention, dry_run=self.is_dry))

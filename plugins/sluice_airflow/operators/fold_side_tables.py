"""The second step of the lake's maintenance: side tables without what counts for nobody."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sluice_airflow.hooks.sluice import SluiceHook
from sluice_airflow.maintenance_step import MaintenanceStep

if TYPE_CHECKING:
    from airflow.sdk import Context


class FoldSideTablesOperator(MaintenanceStep):
    """Puts the small files of users, devices and rejects together, without the rows of refused loads.

    Returns, by table, the numbers of files and bytes before and after and of rows dropped. What a load that
    still runs has written is left alone.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        from sluice.lake.maintenance import fold_side_tables

        hook = SluiceHook()
        target_bytes = hook.config.lake.maintenance.target_file_bytes
        done = fold_side_tables(hook.lake, hook.ledger, target_bytes, dry_run=self.is_dry)
        return {name: asdict(table) for name, table in done.items()}

"""A step of the lake's maintenance: checkpoints, from which tables open fast."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice_airflow.hooks.sluice import SluiceHook
from sluice_airflow.maintenance_step import MaintenanceStep

if TYPE_CHECKING:
    from airflow.sdk import Context


class CheckpointTablesOperator(MaintenanceStep):
    """Writes a checkpoint of each table that has had ten commits since its last one; keeps every commit.

    Returns, by table, the version of each new checkpoint.
    """

    def execute(self, context: Context) -> dict[str, int]:
        from sluice.lake.maintenance import checkpoint_tables

        return checkpoint_tables(SluiceHook().lake, dry_run=self.is_dry)

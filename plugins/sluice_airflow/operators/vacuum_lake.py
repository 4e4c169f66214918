"""A step of the lake's maintenance: files that nobody needs any more are deleted."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sluice_airflow.hooks.sluice import SluiceHook
from sluice_airflow.maintenance_step import MaintenanceStep

if TYPE_CHECKING:
    from airflow.sdk import Context


class VacuumLakeOperator(MaintenanceStep):
    """Deletes data files that were replaced, or that no commit names, longer ago than `retention_days`.

    Writes to the log what it is about to delete, table by table, and returns files and bytes. A younger file
    stays: a running load may be about to commit it, or an export read it at an older version.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        from sluice.lake.maintenance import vacuum_tables

        hook = SluiceHook()
        retention = hook.config.lake.maintenance.retention
        done = vacuum_tables(hook.lake, hook.ledger, retention, dry_run=self.is_dry)
        return {name: asdict(table) for name, table in done.items()}

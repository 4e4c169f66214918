"""The first step of the lake's maintenance: few large files instead of many small ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sluice_airflow.hooks.sluice import SluiceHook
from sluice_airflow.maintenance_step import MaintenanceStep

if TYPE_CHECKING:
    from airflow.sdk import Context


class CompactEventsOperator(MaintenanceStep):
    """Puts the small data files of closed days together, their rows in the total order.

    Returns the numbers of files and bytes before and after, and how long it took. No row is changed, and no
    load or export is held up; a second run right after does nothing.

    :param projects: ids of the projects, all of the lake's by default (templated)
    """

    template_fields: Sequence[str] = ("projects", *MaintenanceStep.template_fields)

    def __init__(self, *, projects: Sequence[int] | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.projects = projects

    def execute(self, context: Context) -> dict[str, Any]:
        from sluice.lake.maintenance import compact_events

        hook = SluiceHook()
        target_bytes = hook.config.lake.maintenance.target_file_bytes
        projects = {int(project) for project in self.projects} if self.projects else None
        return asdict(compact_events(hook.lake, hook.ledger, target_bytes, projects, dry_run=self.is_dry))

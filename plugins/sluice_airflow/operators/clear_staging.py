"""A step of the lake's maintenance: what dead imports staged and claimed is cleared away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from sluice_airflow.hooks.sluice import SluiceHook

if TYPE_CHECKING:
    from airflow.sdk import Context


class ClearStagingOperator(BaseOperator):
    """Removes staged rows that no load will read any more, old claims and dead leases.

    Returns how many of each. A run with a live claim keeps all it has; files whose claim ran out longer ago
    than `retention_days` wait again as if they had just been found.

    :param dry_run: only say what would be done (templated)
    """

    template_fields: Sequence[str] = ("dry_run",)

    def __init__(self, *, dry_run: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dry_run = dry_run

    def execute(self, context: Context) -> dict[str, int]:
        from sluice.imports.left_behind import clear_left_behind

        hook = SluiceHook()
        retention = hook.config.lake.maintenance.retention
        return asdict(clear_left_behind(hook.lake, hook.ledger, retention, dry_run=bool(self.dry_run)))

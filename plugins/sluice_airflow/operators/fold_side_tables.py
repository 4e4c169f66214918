"""The second step of the lake's maintenance: side tables without what counts for nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from sluice_airflow.hooks.sluice import SluiceHook

if TYPE_CHECKING:
    from airflow.sdk import Context


class FoldSideTablesOperator(BaseOperator):
    """Puts the small files of users, devices and rejects together, without the rows of refused loads.

    Returns, by table, the numbers of files and bytes before and after and of rows dropped. What a load that
    still runs has written is left alone.

    :param dry_run: only say what would be done (templated)
    """

    template_fields: Sequence[str] = ("dry_run",)

    def __init__(self, *, dry_run: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dry_run = dry_run

    def execute(self, context: Context) -> dict[str, Any]:
        from sluice.lake.maintenance import fold_side_tables

        hook = SluiceHook()
        target_bytes = hook.config.lake.maintenance.target_file_bytes
        done = fold_side_tables(hook.lake, hook.ledger, target_bytes, dry_run=bool(self.dry_run))
        return {name: asdict(table) for name, table in done.items()}

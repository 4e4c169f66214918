"""A step of the lake's maintenance: checkpoints, from which tables open fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from sluice_airflow.hooks.sluice import SluiceHook

if TYPE_CHECKING:
    from airflow.sdk import Context


class CheckpointTablesOperator(BaseOperator):
    """Writes a checkpoint of each table that has had ten commits since its last one; keeps every commit.

    Returns, by table, the version of each new checkpoint.

    :param dry_run: only say what would be done (templated)
    """

    template_fields: Sequence[str] = ("dry_run",)

    def __init__(self, *, dry_run: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dry_run = dry_run

    def execute(self, context: Context) -> dict[str, int]:
        from sluice.lake.maintenance import checkpoint_tables

        return checkpoint_tables(SluiceHook().lake, dry_run=bool(self.dry_run))

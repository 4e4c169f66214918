"""The third step of an import: staged files enter the lake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from sluice_airflow.hooks.sluice import SluiceHook

if TYPE_CHECKING:
    from airflow.sdk import Context


class LoadFilesOperator(BaseOperator):
    """Loads all files that the run has staged, in their order, and removes what was staged.

    Returns the numbers of files and commits and what became of the rows. A second try loads nothing twice.

    :param source: id of the import source (templated)
    """

    template_fields: Sequence[str] = ("source",)

    def __init__(self, *, source: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source = source

    def execute(self, context: Context) -> dict[str, Any]:
        from sluice.imports.load import load_run
        from sluice.imports.session import ImportRun

        return asdict(load_run(ImportRun.open(SluiceHook(), self.source, context["run_id"])))

"""The third step of an import: staged files enter the lake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from sluice_airflow.hooks.sluice import SluiceHook

if TYPE_CHECKING:
    from airflow.sdk import Context


class LoadFilesOperator(BaseOperator):
    """Loads all files that the run has staged, in their order, and removes what was staged.

    Returns the numbers of files and commits and what became of the rows. A second try loads nothing twice.
    Events of its outlets carry the counts of the run; a run that has loaded no row is skipped, so that nobody
    is woken up for nothing.

    :param source: id of the import source (templated)
    """

    template_fields: Sequence[str] = ("source",)

    def __init__(self, *, source: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source = source

    def execute(self, context: Context) -> dict[str, Any]:
        from sluice.imports.load import load_run
        from sluice.imports.report import report_run
        from sluice.imports.session import ImportRun

        run = ImportRun.open(SluiceHook(), self.source, context["run_id"])
        loaded = load_run(run)
        # Of the run, not of this try: one before may have been killed after its commit.
        totals = report_run(run).totals()
        if not totals["loaded"]:
            raise AirflowSkipException(f"The run has loaded no row ({totals['files']} files).")
        for outlet in self.outlets:
            context["outlet_events"][outlet].extra = {"source": self.source, "run": run.run, **totals}
        return asdict(loaded)

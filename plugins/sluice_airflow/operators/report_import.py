"""The last step of an import: what became of every file, and a red run if one failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from sluice_airflow.hooks.sluice import SluiceHook
from sluice_airflow.listeners.run_note import NOTE_KEY

if TYPE_CHECKING:
    from airflow.sdk import Context

_SHOWN_FAILURES = 20


class ReportImportOperator(BaseOperator):
    """Writes the run's files with their counts and reasons to the log and returns them; sums up in the note.

    Fails, without a retry, if files of this run failed: everything else is loaded by then, and a green run
    with missing data would be overlooked. The next run does not take up failed files, so it is green again.

    :param source: id of the import source (templated)
    """

    template_fields: Sequence[str] = ("source",)

    def __init__(self, *, source: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source = source

    def execute(self, context: Context) -> dict[str, Any]:
        from sluice.imports.report import report_run
        from sluice.imports.session import ImportRun

        report = report_run(ImportRun.open(SluiceHook(), self.source, context["run_id"]))
        self.log.info("Import of %s:\n%s", self.source, "\n".join(report.lines()))
        # Also if the task fails now: it becomes the note of the run.
        context["ti"].xcom_push(key=NOTE_KEY, value=report.note())
        if report.failed or report.unfinished:
            raise AirflowFailException(_failure(report))
        return report.as_json()


def _failure(report: Any) -> str:
    totals = report.totals()
    lines = [
        f"{len(report.failed)} of {totals['files']} files were not imported;"
        f" {totals['loaded']:,} rows of the others are in the lake."
    ]
    lines += [f"- {file.key}: {file.reason}" for file in report.failed[:_SHOWN_FAILURES]]
    lines += [
        f"- {file.key}: still {file.state}, the next run takes it up"
        for file in report.unfinished[:_SHOWN_FAILURES]
    ]
    return "\n".join(lines)

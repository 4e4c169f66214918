"""The second step of an import, mapped over batches: files become staged rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from sluice_airflow.hooks.sluice import SluiceHook

if TYPE_CHECKING:
    from airflow.sdk import Context


class ConvertFilesOperator(BaseOperator):
    """Converts one batch of a source's files; each is staged below the lake, or fails with its reason.

    Returns how many files were staged, failed or belong to another worker, and how many rows were read. A
    file that fails does not fail the task: ReportImportOperator tells.

    :param source: id of the import source (templated)
    :param batch: a batch as DiscoverFilesOperator returns it
    """

    template_fields: Sequence[str] = ("source", "batch")

    def __init__(self, *, source: str, batch: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.batch = batch

    def execute(self, context: Context) -> dict[str, int]:
        from sluice.imports.convert import convert_batch
        from sluice.imports.discovery import Batch
        from sluice.imports.session import ImportRun
        from sluice.ledger.files import holder_of

        run = ImportRun.open(SluiceHook(), self.source, context["run_id"])
        batch = Batch.from_json(self.batch)
        return asdict(convert_batch(run, batch, holder_of(run.run, batch.number)))

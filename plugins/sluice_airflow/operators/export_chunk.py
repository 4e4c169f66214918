"""The mapped task of a backfill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from sluice_airflow.backfill_run import chunk_exporter_of
from sluice_airflow.export_run import failure_recorded, summary

if TYPE_CHECKING:
    from airflow.sdk import Context


class ExportChunkOperator(BaseOperator):
    """Exports the hours of one chunk that are not done yet, under the same rules as an hourly run.

    Tried again, or started anew by another run, it goes on with the hours that are left. Hours that another
    writer or their quality gate holds fail the task, after all others are done. Returns the counts.

    :param destination: id of the export destination in include/config/exports (templated)
    :param chunk: a chunk as PlanBackfillOperator returns it (templated)
    :param parallelism: how many small hours are exported at the same time (templated)
    """

    template_fields: Sequence[str] = ("destination", "chunk", "parallelism")

    def __init__(
        self, *, destination: str, chunk: dict[str, Any], parallelism: int | str = 4, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.chunk = chunk
        self.parallelism = parallelism

    def execute(self, context: Context) -> dict[str, int]:
        from sluice.exports.chunk_export import raise_for_held
        from sluice.exports.chunks import Chunk
        from sluice.exports.gate import raise_for_stopped

        with failure_recorded(context, self.destination):
            exporter = chunk_exporter_of(context, self.destination, int(self.parallelism))
            outcomes = list(exporter.export(Chunk.from_json(self.chunk)))
            raise_for_stopped(outcomes)
            raise_for_held(outcomes)
        return summary(outcomes)

"""The first half of an hourly export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from sluice_airflow.export_run import exporter_of, hours_of, recorded, summary

if TYPE_CHECKING:
    from airflow.sdk import Context


class ExportEventsOperator(BaseOperator):
    """Closes the run's hours and uploads their events as files that PublishHourOperator makes visible.

    A scheduled run takes along the hours of the last `catch_up_hours` that are not exported yet. Returns the
    counts of what was staged and what was left alone.

    :param destination: id of the export destination in include/config/exports (templated)
    """

    template_fields: Sequence[str] = ("destination",)

    def __init__(self, *, destination: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.destination = destination

    def execute(self, context: Context) -> dict[str, int]:
        exporter = exporter_of(context, self.destination)
        hours = hours_of(context)
        with recorded(context, self.destination, hours):
            outcomes = [outcome for hour in hours for outcome in exporter.export(hour)]
        for outcome in outcomes:
            self.log.info(
                "Project %s, hour %s: %s, %s events, %s bytes in %d files %s",
                outcome.project, outcome.hour, outcome.action, f"{outcome.rows:,}", f"{outcome.bytes:,}",
                outcome.files, outcome.note,
            )  # fmt: skip
        return summary(outcomes)

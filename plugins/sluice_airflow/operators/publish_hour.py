"""The second half of an hourly export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from sluice_airflow.export_run import exporter_of, hours_of, summary

if TYPE_CHECKING:
    from airflow.sdk import Context


class PublishHourOperator(BaseOperator):
    """Makes visible what ExportEventsOperator of the same run uploaded, the completeness marker last.

    Works from the ledger, not from XCom: tried again, it goes on where it was killed. Returns the counts of
    what was published and what was left alone.

    :param destination: id of the export destination in include/config/exports (templated)
    """

    template_fields: Sequence[str] = ("destination",)

    def __init__(self, *, destination: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.destination = destination

    def execute(self, context: Context) -> dict[str, int]:
        exporter = exporter_of(context, self.destination)
        outcomes = {}
        for hour in hours_of(context):
            for outcome in exporter.publish(hour):
                # The first call publishes all that the run has staged; later ones find it done.
                outcomes.setdefault((outcome.project, outcome.hour), outcome)
        return summary(outcomes.values())

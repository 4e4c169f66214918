"""The second half of an hourly export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from sluice_airflow.export_run import exporter_of, finish, hours_of, recorded, summary

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.exports.hour import HourOutcome


class PublishHourOperator(BaseOperator):
    """Makes visible what ExportEventsOperator of the same run uploaded, the completeness marker last.

    Works from the ledger, not from XCom: tried again, it goes on where it was killed. Hours that their gate
    holds fail the task, after all others are published. Returns the counts of what was published and what
    was left alone.

    :param destination: id of the export destination in include/config/exports (templated)
    """

    template_fields: Sequence[str] = ("destination",)

    def __init__(self, *, destination: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.destination = destination

    def execute(self, context: Context) -> dict[str, int]:
        from sluice.exports.gate import raise_for_stopped

        exporter = exporter_of(context, self.destination)
        hours = hours_of(context)
        outcomes: dict[Any, HourOutcome] = {}
        with recorded(context, self.destination, hours):
            for hour in hours:
                for outcome in exporter.publish(hour):
                    # The first call publishes all that the run has staged; later ones find it done.
                    outcomes.setdefault((outcome.project, outcome.hour), outcome)
            raise_for_stopped(outcomes.values())
            finish(context, self.destination, outcomes.values())
        return summary(outcomes.values())

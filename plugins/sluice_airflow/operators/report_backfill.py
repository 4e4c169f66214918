"""The last task of a backfill."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from sluice_airflow.backfill_run import PLAN, planner_of, shown
from sluice_airflow.dag_run import run_id
from sluice_airflow.export_run import failure_recorded
from sluice_airflow.hooks.sluice import SluiceHook

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReportBackfillOperator(BaseOperator):
    """Plans the range once more and says what was exported and what is left.

    Fails if hours are left, or held by their quality gates, with the reason of the last failure in sight of
    `sluice export status`. After a dry run it returns the plan.

    :param destination: id of the export destination in include/config/exports (templated)
    :param plan_task_id: the PlanBackfillOperator's task
    """

    template_fields: Sequence[str] = ("destination",)

    def __init__(self, *, destination: str, plan_task_id: str = "plan_backfill", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.plan_task_id = plan_task_id

    def execute(self, context: Context) -> dict[str, Any]:
        planned = context["ti"].xcom_pull(task_ids=self.plan_task_id, key=PLAN)
        if planned is None:
            raise AirflowFailException(f"There is no plan: see the log of {self.plan_task_id}.")
        if planned["dry_run"]:
            return dict(planned)
        from sluice.exports.backfill import raise_for_left
        from sluice.exports.ranges import parse_range
        from sluice.ledger.export_runs import finish_run

        hook = SluiceHook()
        config = hook.config.export(self.destination)
        began = datetime.fromisoformat(planned["began"])
        plan = planner_of(self.destination).plan(
            parse_range(planned["first"], planned["last"]),
            forced_before=began if planned["forced"] else None,
        )
        for line in plan.text():
            self.log.info("%s", line)
        with failure_recorded(context, self.destination):
            raise_for_left(config, plan, began, run_id(context))
        done = finish_run(hook.ledger, self.destination, run_id(context))
        exported = {name: getattr(done, name) for name in ("hours", "events", "files", "bytes")}
        self.log.info("Exported: %s", exported)
        return {"exported": exported, "range": shown(plan)}

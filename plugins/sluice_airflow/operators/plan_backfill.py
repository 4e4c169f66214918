"""The first task of a backfill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from sluice_airflow.backfill_run import PLAN, planner_of, shown
from sluice_airflow.dag_run import run_id
from sluice_airflow.export_run import recorded
from sluice_airflow.flags import flag
from sluice_airflow.hooks.sluice import SluiceHook

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.exports.ranges import HourRange


class PlanBackfillOperator(BaseOperator):
    """Says what each hour of a range is, and cuts those that need exporting into chunks.

    Closes the range in the lake once for all chunks; a dry run writes nothing and gives no chunks. Returns
    the chunks; the XCom `plan` holds the sums and the table, the log all of it.

    :param destination: id of the export destination in include/config/exports (templated)
    :param first: first hour (2013-01-02T12) or date (2013-01-02), UTC (templated)
    :param last: last hour or date, inclusive; the same as `first` if empty (templated)
    :param data_sets: what to export; the destination must have it (templated)
    :param dry_run: only plan (templated)
    :param force: export unchanged hours as well (templated)
    :param order: "oldest first" or "newest first" (templated)
    """

    template_fields: Sequence[str] = (
        "destination", "first", "last", "data_sets", "dry_run", "force", "order",
    )  # fmt: skip

    def __init__(
        self,
        *,
        destination: str,
        first: str,
        last: str = "",
        data_sets: Sequence[str] | str = ("events",),
        dry_run: bool | str = False,
        force: bool | str = False,
        order: str = "oldest first",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.first = first
        self.last = last
        self.data_sets = data_sets
        self.dry_run = dry_run
        self.force = force
        self.order = order

    def execute(self, context: Context) -> list[dict[str, Any]]:
        from sluice.exports.ranges import parse_range

        hours = parse_range(str(self.first), str(self.last or ""), names=("first", "last"))
        if flag("dry_run", self.dry_run):
            return self._plan(context, hours)
        with recorded(context, self.destination, [hours.first, hours.last], "backfill"):
            return self._plan(context, hours)

    def _plan(self, context: Context, hours: HourRange) -> list[dict[str, Any]]:
        from sluice.exports.backfill import require_data_sets
        from sluice.exports.chunks import chunks_of

        hook = SluiceHook()
        require_data_sets(hook.config.export(self.destination), self.data_sets)
        began = hook.ledger.now()
        dry_run, force = flag("dry_run", self.dry_run), flag("force", self.force)
        forced_before = began if force else None
        plan = planner_of(self.destination).plan(
            hours, forced_before=forced_before, close=not dry_run, run=run_id(context)
        )
        for line in plan.text():
            self.log.info("%s", line)
        order: Any = self.order
        chunks = [] if dry_run else chunks_of(plan, order, forced_before)
        document = shown(plan) | {
            "chunks": len(chunks),
            "dry_run": dry_run,
            "began": began.isoformat(),
            "forced": force,
        }
        context["ti"].xcom_push(PLAN, document)
        return [chunk.to_json() for chunk in chunks]

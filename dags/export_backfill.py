"""Exports a range of hours to a destination: those that are not there, or not as they should be.

`plan_backfill` compares every hour of the range in the lake, the ledger and the bucket, which is metadata
work only, and closes the range; `export_chunk` exports what needs it, in chunks of about 1 GB and at most 31
days; `report_backfill` looks at the range once more and fails if anything is left.

**Trigger it with the form.** Dates are whole days of UTC, hours look like 2013-01-02T12, both ends are
inclusive. *Dry run* ends after the plan: the table is in the log of `plan_backfill` and in the return value
of `report_backfill`. *Force* exports unchanged hours as well. *Parallelism* is how many small hours each
chunk exports at the same time; two chunks run side by side. `sluice export plan` is the dry run in a shell.

**What happens to an hour.** Missing, changed and foreign ones are replaced whole: every object of such an
hour that is not in the new set goes, whoever wrote it. Unchanged ones are left alone: nothing is read or
written. Hours that are not over, and hours that lie outside the lake's events, are not touched.

**Quality gate.** Each hour passes its gate between upload and publication, inside its chunk. An hour that it
stops is *held*: nothing of it is visible, all others are published, and the chunk is red and names it.
`sluice quality show RUN` says why, and what to do. With *Override the quality gate* (a reason) hours are
published whatever their gates say, on record with your name.

**Cancel and start again** at any time: mark the run failed, trigger it with the same range, and it goes on
with the hours that are left. It may run beside the hourly DAG and its backfills; each hour has one writer.

**When it fails**: clear the failed `export_chunk` tasks, then `report_backfill`. "Another writer holds this
hour" needs nothing but that: a live run finishes the hour, a dead one loses it after ten minutes. An access
error names the missing permission. A red `report_backfill` names the hours that are left.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG, Param, TriggerRule

from sluice.config import load_config
from sluice_airflow.operators.export_chunk import ExportChunkOperator
from sluice_airflow.operators.plan_backfill import PlanBackfillOperator
from sluice_airflow.operators.report_backfill import ReportBackfillOperator
from sluice_airflow.quality_run import override_param
from sluice_airflow.retries import DELIVERY_RETRIES

# Tasks of one run at a time; each has threads of its own.
CHUNKS_AT_ONCE = 2
DESTINATION = "{{ params.destination }}"
HOUR_OR_DATE = r"^\d{4}-\d{2}-\d{2}(T\d{2}(:00){0,2}Z?)?$"

config = load_config()
destinations = [destination.id for destination in config.exports]

if destinations:
    with DAG(
        dag_id="export_backfill",
        dag_display_name="Export backfill",
        description="Exports a range of hours to a destination, as far as they need it.",
        doc_md=__doc__,
        schedule=None,
        start_date=datetime(2020, 1, 1, tzinfo=UTC),
        catchup=False,
        tags=["sluice", "export"],
        # Lists, flags and numbers of the form stay what they are.
        render_template_as_native_obj=True,
        params={
            "destination": Param(
                destinations[0],
                type="string",
                enum=destinations,
                title="Destination",
                description="Where to export to; a disabled destination can be backfilled too.",
            ),
            "first": Param(
                type="string",
                pattern=HOUR_OR_DATE,
                title="First day or hour (UTC)",
                description="A date such as 2013-01-02 for the whole day, or an hour such as 2013-01-02T12.",
            ),
            "last": Param(
                type="string",
                pattern=HOUR_OR_DATE,
                title="Last day or hour (UTC, inclusive)",
                description="A date for the whole day, or an hour.",
            ),
            "data_sets": Param(
                ["events"],
                type="array",
                minItems=1,
                items={"type": "string", "enum": ["events"]},
                title="Data sets",
                description="What to export; the destination must have it.",
            ),
            "dry_run": Param(
                False, type="boolean", title="Dry run", description="Plan only, and write nothing."
            ),
            "force": Param(
                False,
                type="boolean",
                title="Force",
                description="Export unchanged hours as well; cancelled and started again, all of them again.",
            ),
            "order": Param(
                "oldest first", type="string", enum=["oldest first", "newest first"], title="Order"
            ),
            "parallelism": Param(
                4,
                type="integer",
                minimum=1,
                maximum=16,
                title="Parallelism",
                description="How many small hours each chunk exports at the same time.",
            ),
        }
        | override_param(),
        default_args={"owner": config.administrator, **DELIVERY_RETRIES},
    ):
        plan_backfill = PlanBackfillOperator(
            task_id="plan_backfill",
            destination=DESTINATION,
            first="{{ params.first }}",
            last="{{ params.last }}",
            data_sets="{{ params.data_sets }}",
            dry_run="{{ params.dry_run }}",
            force="{{ params.force }}",
            order="{{ params.order }}",
        )
        export_chunk = ExportChunkOperator.partial(
            task_id="export_chunk",
            destination=DESTINATION,
            parallelism="{{ params.parallelism }}",
            map_index_template="{{ task.chunk['label'] }}",
            max_active_tis_per_dagrun=CHUNKS_AT_ONCE,
        ).expand(chunk=plan_backfill.output)
        # A report is due whatever became of the chunks; it fails if hours are left.
        report_backfill = ReportBackfillOperator(
            task_id="report_backfill", destination=DESTINATION, trigger_rule=TriggerRule.ALL_DONE
        )

        plan_backfill >> export_chunk >> report_backfill

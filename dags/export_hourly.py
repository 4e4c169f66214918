"""Exports every hour of the events to an S3 bucket.

One DAG per file in `include/config/exports/`. It writes every hour of `server_upload_time` (UTC) of the
destination's projects to its bucket, as gzip JSON lines and a marker:
`{prefix}/{project}/{project}_{yyyy-MM-dd}_{H}#{n}.json.gz`, then `{project}_{yyyy-MM-dd}_{H}_complete`. If
the marker is there, the hour is whole; an hour without events has only the marker.

**When.** At minute 0, for the hour that has just ended: events never change hours afterwards, so there is
nothing to wait for. A run also exports, oldest first, the hours of the last `catch_up_hours` that are not
exported yet, so an outage heals itself.

**Quality gate.** Between upload and publication `check_quality` looks at what the run has staged, which
nobody sees yet. Critical failures stop an hour: it is *held*, other runs pass it by, and "Quality report" on
the task shows why. Red means that the gate has stopped everything that the run staged; if some hours pass,
they are published, and `publish_hour` is red for the others. `sluice quality show RUN` says what to do:
`sluice quality release` if the data are right, then clear the red task; `sluice quality discard` if they are
wrong, mend them, and catch-up or a backfill takes the hour again. A run with the param `override_quality` (a
reason, as text) goes on whatever its gate says, on record with your name.

**Backfill.** Trigger > Backfill, or `airflow backfill create --dag-id export_hourly__<id> --from-date
2013-01-02T00:00:00Z --to-date 2013-01-02T23:00:00Z`. Both dates are data hours, and `to` is inclusive: 13:00
exports 13:00 to 14:00. Use "All runs" (`--reprocess-behavior completed`) to look at hours that ran before:
an hour that is provably unchanged is left alone, any other is replaced whole. A manual run takes the params
`from` and `to` (hours or dates, both inclusive).

**If it fails.** `export_events`: an access error names the missing permission; give it, and clear the task.
`publish_hour`: clear it; it goes on where it was. "Another writer holds this hour" needs nothing: a run that
is alive finishes the hour, and a dead one loses it after ten minutes. "does not know" (a foreign marker):
somebody else exports to the same place; see docs/export.md before replacing their hour by a backfill.

**Switched off** (`enabled: false`): scheduled runs are skipped, backfills and manual runs work on.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG, CronDataIntervalTimetable, Param

from sluice.config import ExportConfig, load_config
from sluice_airflow.operators.check_quality import CheckQualityOperator
from sluice_airflow.operators.export_events import ExportEventsOperator
from sluice_airflow.operators.publish_hour import PublishHourOperator
from sluice_airflow.quality_run import override_param
from sluice_airflow.retries import DELIVERY_RETRIES


def export_dag(destination: ExportConfig) -> DAG:
    """Build the DAG of one destination."""
    with DAG(
        dag_id=destination.dag_id,
        dag_display_name=f"Export {destination.name}",
        description=destination.description or destination.name,
        doc_md=__doc__,
        # The only timetable whose backfill dates are the data hours. It stays when the destination is
        # switched off: Airflow backfills periodic DAGs only.
        schedule=CronDataIntervalTimetable("0 * * * *", timezone="UTC"),
        # Before any event: the schedule's first hour is the destination's `start`, not this.
        start_date=datetime(2000, 1, 1, tzinfo=UTC),
        # Each run catches up by itself, from the ledger.
        catchup=False,
        # A long hour must not hold up the next one; a third at once would only compete with them.
        max_active_runs=2,
        tags=["sluice", "export", *(f"project:{project}" for project in destination.projects)],
        params={
            name: Param(
                None,
                type=["null", "string"],
                description=f"{which} hour (2013-01-02T12) or date (2013-01-02), UTC, inclusive:"
                " for manual runs.",
            )
            for name, which in (("from", "First"), ("to", "Last"))
        }
        | override_param(),
        default_args={
            "owner": destination.owner,
            **DELIVERY_RETRIES,
        },
    ) as dag:
        export_events = ExportEventsOperator(task_id="export_events", destination=destination.id)
        publish_hour = PublishHourOperator(task_id="publish_hour", destination=destination.id)

        if destination.quality.enabled:
            check_quality = CheckQualityOperator(
                task_id="check_quality", pipeline="export", name=destination.id
            )
            export_events >> check_quality >> publish_hour
        else:
            export_events >> publish_hour
    return dag


for destination in load_config().exports:
    globals()[destination.dag_id] = export_dag(destination)

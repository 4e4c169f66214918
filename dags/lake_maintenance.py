"""Keeps the lake's files few, sorted and young enough; changes no row.

`compact_events` puts the small data files of closed days together (about 128 MB each, rows in their order);
`fold_side_tables` does so with users, devices and rejects and drops what refused or killed loads left there;
`checkpoint_tables` lets the tables open fast; `vacuum_lake` deletes the files that all this, and dead loads,
left useless more than `retention_days` ago; `clear_staging` removes the staged rows, claims and leases of
imports that never came back; `clear_syncs` removes what old turns of cohort syncs staged; `abort_uploads`
ends uploads to the destinations' buckets that dead exports left open more than a day ago. Sizes and ages
stand below `maintenance:` in `include/config/lake.yaml`; what a sync sent stays its `row_log_days`. The last
three also give up what a quality gate has held for longer than its `hold_hours`.

**Schedule**: daily at 03:17 UTC, an hour and a minute at which little else begins. It may run at any time,
beside imports and exports: none of them waits for it or is changed by it. A second run right after does
nothing.

**By hand**: the params `projects` (ids; none means all) and `dry_run` (only say in the logs what would be
done).

**When it fails**: clear the task, or leave it to the next day; nothing depends on it but speed and disk
space. "Another run keeps the table" needs nothing. "takes no commit" or "Nothing was committed" means that
somebody else changed the lake's tables or files: the message says which.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param

from sluice.config import load_config
from sluice_airflow.operators.abort_uploads import AbortUploadsOperator
from sluice_airflow.operators.checkpoint_tables import CheckpointTablesOperator
from sluice_airflow.operators.clear_staging import ClearStagingOperator
from sluice_airflow.operators.clear_syncs import ClearSyncsOperator
from sluice_airflow.operators.compact_events import CompactEventsOperator
from sluice_airflow.operators.fold_side_tables import FoldSideTablesOperator
from sluice_airflow.operators.vacuum_lake import VacuumLakeOperator

DRY_RUN = "{{ params.dry_run }}"

with DAG(
    dag_id="lake_maintenance",
    dag_display_name="Lake maintenance",
    description="Compacts, vacuums and clears the lake's files; changes no row.",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("17 3 * * *", timezone="UTC"),
    start_date=datetime(2020, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["sluice", "maintenance"],
    # A templated list stays a list, and a flag a flag.
    render_template_as_native_obj=True,
    params={
        "projects": Param(
            None,
            type=["null", "array"],
            items={"type": "integer"},
            description="Project ids; none means all.",
        ),
        "dry_run": Param(False, type="boolean", description="Only say in the logs what would be done."),
    },
    default_args={
        "owner": load_config().administrator,
        "retries": 2,
        "retry_delay": timedelta(minutes=2),
    },
):
    compact_events = CompactEventsOperator(
        task_id="compact_events", projects="{{ params.projects }}", dry_run=DRY_RUN
    )
    fold_side_tables = FoldSideTablesOperator(task_id="fold_side_tables", dry_run=DRY_RUN)
    checkpoint_tables = CheckpointTablesOperator(task_id="checkpoint_tables", dry_run=DRY_RUN)
    vacuum_lake = VacuumLakeOperator(task_id="vacuum_lake", dry_run=DRY_RUN)
    clear_staging = ClearStagingOperator(task_id="clear_staging", dry_run=DRY_RUN)
    clear_syncs = ClearSyncsOperator(task_id="clear_syncs", dry_run=DRY_RUN)
    abort_uploads = AbortUploadsOperator(task_id="abort_uploads", dry_run=DRY_RUN)

    compact_events >> fold_side_tables >> checkpoint_tables >> vacuum_lake
    vacuum_lake >> clear_staging >> clear_syncs >> abort_uploads

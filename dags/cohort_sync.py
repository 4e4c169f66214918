"""Sends cohorts to buckets and streams: who entered, who left, and to S3 who is in.

Four DAGs: `cohort_sync_hourly`, `cohort_sync_daily`, `cohort_sync_real_time` (every minute) and
`cohort_sync_once` (by hand). Each sync of the cadence in `include/config/cohorts/` is a group of tasks under
its id: `fix_sync` finds the members as of the end of the run's interval and stages everything that will be
sent; `check_quality` looks at it before it leaves; `approve_sync`, where the sync has limits, waits for a
person if it is beyond them; `deliver_sync` sends what is staged, in every try the same bytes. No group waits
for another.

**When.** At the end of each hour, day (UTC) or minute, with the members as of that time. A run by hand syncs
as of the moment it was triggered; its param `syncs` limits it to some. `cohort_sync_once` runs one sync of
any cadence, now.

**Skipped alone.** A sync that is still sending, or waiting for a person, when its next turn comes is skipped
in that run: the task says so, and so does the run's note. The turn after that has everything.

**Approval.** Browse > Required Actions shows the numbers and a sample. Approve sends; reject skips the sync,
and the run stays green; without an answer within `approval_hours` the task fails. Nothing was sent then, and
the next turn starts from the same baseline.

**Quality gate.** A red `check_quality` has stopped the sync: nothing has left, the turn is *held*, and later
turns pass it by. "Quality report" on the task and `sluice quality show RUN` say what failed and what to do:
`sluice quality release` if the members are right, then clear the task; `sluice quality discard` if not: the
next turn is made anew, from the last delivered one. A run with the param `override_quality` (a reason, as
text) goes on whatever its gates say, on record with your name.

**Backfill**, before the first live sync: `airflow backfill create --dag-id cohort_sync_hourly --from-date
2013-01-02T00:00:00Z --to-date 2013-01-02T23:00:00Z --max-active-runs 1`: the dates are interval starts, `to`
is inclusive, oldest first, one run at a time; `--dag-run-conf '{"syncs": ["..."]}'` for some syncs only. A
turn that is not after the sync's last one moves no baseline: a delivered one is sent again byte by byte, any
other writes the `existing` file only, and Kinesis refuses it.

**When it fails.** `fix_sync`: nothing has left; mend what the message names and clear it, or leave it to the
next turn. `deliver_sync`: clear it and it goes on where it was, or leave it: the next turn makes good
whatever arrived. An access error names the missing permission. `sluice cohort status` shows all syncs.

**Switched off** (`enabled: false`): scheduled runs skip the sync, backfills and runs by hand work on. So a
backfill comes before the first live sync: switched off, DAG unpaused, backfill, switched on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from airflow.sdk import DAG, AssetAlias, BaseOperator, CronDataIntervalTimetable, Param, TaskGroup, chain

from sluice.config import load_config
from sluice.config.syncs import Sync
from sluice_airflow.assets import sync_asset
from sluice_airflow.operators.approve_sync import ApproveSyncOperator
from sluice_airflow.operators.check_quality import CheckQualityOperator
from sluice_airflow.operators.deliver_sync import DeliverSyncOperator
from sluice_airflow.operators.fix_sync import FixSyncOperator
from sluice_airflow.quality_run import override_param
from sluice_airflow.retries import DELIVERY_RETRIES, NEXT_MINUTE_RETRIES

SCHEDULES = {"hourly": "0 * * * *", "daily": "0 0 * * *", "real_time": "* * * * *"}
TITLES = {"hourly": "hourly", "daily": "daily", "real_time": "in real time"}


def cadence_dag(cadence: str, syncs: Sequence[Sync]) -> DAG:
    """Build the DAG of the syncs of one cadence."""
    ids = [sync.id for sync in syncs]
    schedule = CronDataIntervalTimetable(SCHEDULES[cadence], timezone="UTC")
    with DAG(
        dag_id=f"cohort_sync_{cadence}",
        dag_display_name=f"Cohort sync {TITLES[cadence]}",
        description=f"Syncs cohorts {TITLES[cadence]}: {', '.join(ids)}",
        doc_md=__doc__,
        # The only timetable whose backfill dates are the intervals of the data. It stays when all syncs are
        # switched off, as Airflow backfills periodic DAGs only; nobody backfills minutes.
        schedule=schedule if cadence != "real_time" or any(sync.enabled for sync in syncs) else None,
        # Before any event: what is behind is a matter of a backfill, not of this.
        start_date=datetime(2000, 1, 1, tzinfo=UTC),
        catchup=False,
        # A sync keeps at most two runs open: one that sends, or waits for a person for up to approval_hours,
        # while later turns skip it; and one whose next try is still to come. So there is always one more run
        # for the others' turns.
        max_active_runs=2 * len(syncs) + 1,
        # Each group has one task at work: a slow one takes no other's place.
        max_active_tasks=len(syncs),
        tags=["sluice", "cohort", *sorted({f"project:{sync.cohort.project}" for sync in syncs})],
        # A list of the form stays a list.
        render_template_as_native_obj=True,
        params={
            "syncs": Param(
                None,
                type=["null", "array"],
                items={"type": "string", "enum": ids},
                title="Syncs",
                description="Only these; all of the cadence if empty.",
            )
        }
        | override_param(),
        # In the minute of a turn there is no time for a second try: the next turn is one.
        default_args=NEXT_MINUTE_RETRIES if cadence == "real_time" else DELIVERY_RETRIES,
    ) as dag:
        for sync in syncs:
            with TaskGroup(group_id=sync.id, tooltip=sync.cohort.name):
                fix_sync = FixSyncOperator(
                    task_id="fix_sync",
                    sync=sync.id,
                    only="{{ params.syncs }}",
                    owner=sync.cohort.owner,
                )
                steps: list[BaseOperator] = [fix_sync]
                if sync.cohort.quality.enabled:
                    steps.append(
                        CheckQualityOperator(
                            task_id="check_quality",
                            pipeline="cohort",
                            name=sync.id,
                            turn=fix_sync.output,
                            owner=sync.cohort.owner,
                        )
                    )
                if sync.has_guard:
                    steps.append(
                        ApproveSyncOperator(
                            task_id="approve_sync",
                            sync=sync.id,
                            turn=fix_sync.output,
                            owner=sync.cohort.owner,
                        )
                    )
                deliver_sync = DeliverSyncOperator(
                    task_id="deliver_sync",
                    sync=sync.id,
                    turn=fix_sync.output,
                    owner=sync.cohort.owner,
                    # Other DAGs may be scheduled on a cohort that was sent.
                    outlets=[sync_asset(sync.id)],
                )
                chain(*steps, deliver_sync)
    return dag


def once_dag(syncs: Sequence[Sync]) -> DAG:
    """Build the DAG that runs one sync, of whatever cadence, when a person asks for it."""
    # What is synced by this DAG alone comes first.
    choices = sorted(syncs, key=lambda sync: (sync.cadence != "one_time", sync.id))
    with DAG(
        dag_id="cohort_sync_once",
        dag_display_name="Cohort sync once",
        description="Runs one sync now.",
        doc_md=__doc__,
        schedule=None,
        start_date=datetime(2000, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=2 * len(syncs) + 1,
        tags=["sluice", "cohort"],
        params={
            "sync": Param(
                type="string",
                enum=[sync.id for sync in choices],
                values_display={sync.id: _label(sync) for sync in choices},
                title="Sync",
                description="Which sync to run now; those of a cadence keep their turns as well.",
            )
        }
        | override_param(),
        default_args=DELIVERY_RETRIES,
    ) as dag:
        fix_sync = FixSyncOperator(task_id="fix_sync", sync=SYNC, owner=OWNER)
        # Where the sync's cohort has no gate, there is nothing to check.
        check_quality = CheckQualityOperator(
            task_id="check_quality", pipeline="cohort", name=SYNC, turn=fix_sync.output, owner=OWNER
        )
        approve_sync = ApproveSyncOperator(
            task_id="approve_sync", sync=SYNC, turn=fix_sync.output, owner=OWNER
        )
        deliver_sync = DeliverSyncOperator(
            task_id="deliver_sync",
            sync=SYNC,
            turn=fix_sync.output,
            owner=OWNER,
            # Which sync's asset it is, is known when it runs.
            outlets=[AssetAlias("cohort_sync_once")],
        )
        fix_sync >> check_quality >> approve_sync >> deliver_sync
    return dag


def _label(sync: Sync) -> str:
    return f"{sync.id}: {sync.cohort.name} to {sync.destination.name}, {sync.cadence.replace('_', ' ')}"


config = load_config()
SYNC = "{{ params.sync }}"
OWNER = config.administrator

for cadence in SCHEDULES:
    syncs = [sync for sync in config.syncs if sync.cadence == cadence]
    if syncs:
        globals()[f"cohort_sync_{cadence}"] = cadence_dag(cadence, syncs)
if config.syncs:
    cohort_sync_once = once_dag(config.syncs)

"""Two cohorts of the flights over hours of 2013, oldest first: one to a bucket, one to a stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from sluice.access.connections import EnvironmentAccess
from sluice.config import load_config
from sluice.config.cohort_destinations import KinesisCohortDestination, S3CohortDestination
from sluice.demo.airflow_api import AirflowApi, Run
from sluice.demo.backfill import backfill
from sluice.demo.cohort_proof import CohortProof, prove_files, prove_messages, read_stream
from sluice.demo.departures import Departures
from sluice.errors import SluiceError

if TYPE_CHECKING:
    from sluice.local.stack import LocalStack

DAG = "cohort_sync_hourly"
FILES_SYNC, MESSAGES_SYNC = "delayed_crm", "busy_ads"
# A winter storm came over New York in these two days.
FIRST_HOUR = datetime(2013, 1, 30, tzinfo=UTC)
HOURS = 48
# Two, so that records do not arrive in the order in which they were sent.
SHARDS = 2


@dataclass(frozen=True)
class CohortSyncs:
    """What the syncs of the demo sent, how long each hour's run took, and what is wrong."""

    bucket: str
    stream: str
    files: CohortProof
    messages: CohortProof
    seconds: float
    run_seconds: dict[datetime, float]
    order_problems: list[str]

    @property
    def problems(self) -> list[str]:
        """Everything that is wrong, each as one sentence."""
        return [
            *(f"s3://{self.bucket}: {problem}" for problem in self.files.problems),
            *(f"stream {self.stream}: {problem}" for problem in self.messages.problems),
            *self.order_problems,
        ]

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def sync_cohorts(
    stack: LocalStack, api: AirflowApi, say: Callable[[str], None], *, hours: int = HOURS
) -> CohortSyncs:
    """Make a bucket and a stream, sync both cohorts as of the end of each hour by a backfill, and prove it.

    Both syncs are disabled, so that no live turn comes before history. Raises SluiceError if a run fails.
    """
    config = load_config(stack.folders.config)
    crm, ads = (config.sync(sync).destination for sync in (FILES_SYNC, MESSAGES_SYNC))
    if not isinstance(crm, S3CohortDestination) or not isinstance(ads, KinesisCohortDestination):
        raise SluiceError(f"The demo sends {FILES_SYNC} to S3 and {MESSAGES_SYNC} to Kinesis.")
    s3 = stack.s3.client()
    access = EnvironmentAccess(stack.folders.config, environ=stack.environment)
    kinesis = access.stream(ads.connection, ads.stream, ads.region).client()
    s3.create_bucket(Bucket=crm.bucket)
    kinesis.create_stream(StreamName=ads.stream, ShardCount=SHARDS)
    kinesis.get_waiter("stream_exists").wait(StreamName=ads.stream, WaiterConfig={"Delay": 1})

    api.wait_for_dag(DAG)
    api.unpause(DAG)
    done = backfill(stack, api, DAG, FIRST_HOUR, hours, say, max_active_runs=1)
    runs = {run.data_hour: run for run in done.runs if run.data_hour is not None}

    ends = [FIRST_HOUR + timedelta(hours=number + 1) for number in range(hours)]
    departures = Departures(ends[0], ends[-1])
    return CohortSyncs(
        bucket=crm.bucket,
        stream=ads.stream,
        files=prove_files(s3, crm.bucket, ends, departures),
        messages=prove_messages(read_stream(kinesis, ads.stream), ends, departures),
        seconds=done.seconds,
        run_seconds={hour + timedelta(hours=1): run.seconds for hour, run in runs.items()},
        order_problems=order_problems([runs[hour] for hour in sorted(runs)]),
    )


def order_problems(runs: Sequence[Run]) -> list[str]:
    """Say of which runs, given oldest first, one began before the one before it was over."""
    return [
        f"The run {later.run_id} began before {earlier.run_id} was over."
        for earlier, later in pairwise(runs)
        if earlier.ended is None or later.started is None or later.started < earlier.ended
    ]

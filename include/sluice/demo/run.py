"""Runs the main job on real data under a running Airflow: upload, import, export twice, prove, replay."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sluice.access.connections import EnvironmentAccess, store
from sluice.config import load_config
from sluice.demo.again import replay_and_export
from sluice.demo.airflow_api import AirflowApi
from sluice.demo.backfill import backfill
from sluice.demo.cohorts import HOURS as COHORT_HOURS
from sluice.demo.cohorts import CohortSyncs, sync_cohorts
from sluice.demo.flights import monthly_files, some_flights
from sluice.demo.gates import Gates, StoppedFile, gates_so_far, stop_a_file
from sluice.demo.notified import DAG as NOTIFIED_DAG
from sluice.demo.notified import Notified, NotifiedFile
from sluice.demo.proof import Proof, prove, prove_again
from sluice.imports.enabling import enable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from sluice.local.stack import LocalStack

SOURCE = DESTINATION = "flights"
IMPORT_DAG = f"import_s3__{SOURCE}"
EXPORT_DAG = f"export_hourly__{DESTINATION}"
FIRST_HOUR = datetime(2013, 1, 2, tzinfo=UTC)
HOURS = 24
ALL_MONTHS = range(1, 13)
NOTIFIED_ROWS = 500
# The bucket of what the replay of the export exports.
AGAIN = "sluice-export-again"


@dataclass(frozen=True)
class Demonstration:
    """What the demo did: what the import's run notes, the proof, the seconds of each part and hour."""

    note: str
    proof: Proof
    seconds: dict[str, float]
    hour_seconds: dict[datetime, float]
    tasks: int
    written_again: list[str]
    notified: NotifiedFile
    cohorts: CohortSyncs
    gates: list[Gates]
    stopped: StoppedFile

    @property
    def holds(self) -> bool:
        """Whether both proofs, the notified file and the gate hold, and the second backfill wrote nothing."""
        return (
            self.proof.holds
            and self.cohorts.holds
            and self.notified.holds
            and not self.stopped.problems
            and not self.written_again
        )


def demonstrate(
    stack: LocalStack,
    say: Callable[[str], None],
    *,
    months: Sequence[int] = ALL_MONTHS,
    hours: int = HOURS,
    cohort_hours: int = COHORT_HOURS,
) -> Demonstration:
    """Import the given months on a running stack, export the first hours of January 2nd twice, and prove it;
    then replay the exported files into an empty lake, and prove that it exports them again; then sync two
    cohorts as of the first hours of January 30th and 31st, and prove that.

    Raises SluiceError if a run fails.
    """
    config = load_config(stack.folders.config)
    source, destination = config.source(SOURCE), config.export(DESTINATION)
    s3, api = stack.s3.client(), AirflowApi(stack.airflow_url)
    seconds: dict[str, float] = {}

    began = time.monotonic()
    lake_bucket = config.lake.uri.removeprefix("s3://").partition("/")[0]
    _make_buckets(s3, lake_bucket, source.bucket, destination.bucket)
    files = monthly_files(months)
    for name, content in files.items():
        s3.put_object(Bucket=source.bucket, Key=f"{source.prefix}{name}", Body=content)
    seconds["upload"] = time.monotonic() - began
    size = sum(map(len, files.values())) / 1e6
    say(f"Uploaded {len(files)} gzip CSV files, {size:.1f} MB, to s3://{source.bucket}/{source.prefix}")

    began = time.monotonic()
    enable(EnvironmentAccess(stack.folders.config, environ=stack.environment, makes_ledger=True), SOURCE)
    say(f"`sluice import enable {SOURCE}`: the converter {source.converter} makes events of their first rows")
    notified, some = Notified(stack, api), files[min(files)]
    notified.open(some_flights(some, 0, NOTIFIED_ROWS))
    for dag_id in (IMPORT_DAG, EXPORT_DAG, NOTIFIED_DAG):
        api.wait_for_dag(dag_id)
    # Its first run lists the bucket, beside the import of the year.
    api.unpause(NOTIFIED_DAG)
    api.unpause(IMPORT_DAG)
    run_id = api.trigger(IMPORT_DAG)
    say(f"{IMPORT_DAG}: importing {len(files)} months of flights")
    api.wait_for_runs(IMPORT_DAG, lambda run: run.run_id == run_id, 1, check=stack.check)
    seconds["import"] = time.monotonic() - began
    note = api.note(IMPORT_DAG, run_id)
    say(f"{IMPORT_DAG}: done in {seconds['import']:.0f} s. {note}")

    began = time.monotonic()
    notified.wait_loaded(0)
    notified.wait_idle()
    put = notified.put(1, some_flights(some, NOTIFIED_ROWS, 2 * NOTIFIED_ROWS))
    seconds_to_start = notified.seconds_to_start(put)
    say(f"{NOTIFIED_DAG}: started by S3's notification {seconds_to_start:.1f} s after the file was there")
    rows = notified.wait_loaded(1)
    seconds["notified import"] = time.monotonic() - began
    say(f"{NOTIFIED_DAG}: {rows} rows loaded")

    stopped = stop_a_file(stack, api, notified, some_flights(some, 2 * NOTIFIED_ROWS, 3 * NOTIFIED_ROWS), say)
    seconds["stopped import"] = stopped.seconds

    api.unpause(EXPORT_DAG)
    first = backfill(stack, api, EXPORT_DAG, FIRST_HOUR, hours, say, max_active_runs=4, by_command=True)
    seconds["backfill"] = first.seconds
    before = _versions(s3, destination.bucket)
    second = backfill(
        stack, api, EXPORT_DAG, FIRST_HOUR, hours, say, max_active_runs=4, reprocess="completed"
    )
    seconds["second backfill"] = second.seconds
    after = _versions(s3, destination.bucket)

    began = time.monotonic()
    (project,) = destination.projects
    proof = prove(s3, destination.bucket, project, FIRST_HOUR, FIRST_HOUR + timedelta(hours=hours - 1))
    seconds["proof"] = time.monotonic() - began

    began = time.monotonic()
    _make_buckets(s3, AGAIN)
    replayed = replay_and_export(
        store(stack.environment, destination.connection, source.region),
        destination, project, AGAIN, [hour.hour for hour in proof.hours],
    )  # fmt: skip
    prove_again(s3, destination.bucket, AGAIN, project, proof.hours)
    seconds["replay"] = time.monotonic() - began
    say(f"Replayed the {replayed:,} exported events into an empty lake and exported it to s3://{AGAIN}/")

    began = time.monotonic()
    cohorts = sync_cohorts(stack, api, say, hours=cohort_hours)
    seconds["cohorts"] = time.monotonic() - began
    return Demonstration(
        note=note or "",
        proof=proof,
        seconds=seconds,
        hour_seconds={run.data_hour: run.seconds for run in first.runs if run.data_hour is not None},
        tasks=sum(len(api.task_states(EXPORT_DAG, run.run_id)) for run in first.runs),
        written_again=sorted(
            key for key in before.keys() | after.keys() if before.get(key) != after.get(key)
        ),
        notified=NotifiedFile(seconds_to_start, rows, NOTIFIED_ROWS),
        cohorts=cohorts,
        gates=gates_so_far(notified.access.ledger),
        stopped=stopped,
    )


def _make_buckets(client: S3Client, *names: str) -> None:
    present = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for name in set(names) - present:
        client.create_bucket(Bucket=name)


def _versions(client: S3Client, bucket: str) -> dict[str, tuple[str, datetime]]:
    """Return what would change if an object of the demo's day were written again."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    day = f"_{FIRST_HOUR:%Y-%m-%d}_"
    return {
        entry["Key"]: (entry["ETag"], entry["LastModified"])
        for page in pages
        for entry in page.get("Contents", ())
        if day in entry["Key"]
    }

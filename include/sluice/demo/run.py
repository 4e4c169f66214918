"""Runs the main job on real data under a running Airflow: upload, import, export twice, prove, replay."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sluice.access.connections import EnvironmentAccess, store
from sluice.config import load_config
from sluice.demo.again import replay_and_export
from sluice.demo.airflow_api import AirflowApi, Run
from sluice.demo.flights import monthly_files, some_flights
from sluice.demo.notified import DAG as NOTIFIED_DAG
from sluice.demo.notified import Notified, NotifiedFile
from sluice.demo.proof import Proof, prove, prove_again
from sluice.errors import SluiceError
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

    @property
    def holds(self) -> bool:
        """Whether the proof and the notified file hold, and the second backfill wrote nothing."""
        return self.proof.holds and self.notified.holds and not self.written_again


def demonstrate(
    stack: LocalStack,
    say: Callable[[str], None],
    *,
    months: Sequence[int] = ALL_MONTHS,
    hours: int = HOURS,
) -> Demonstration:
    """Import the given months on a running stack, export the first hours of January 2nd twice, and prove it;
    then replay the exported files into an empty lake, and prove that it exports them again.

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

    api.unpause(EXPORT_DAG)
    first = _backfill(stack, api, hours, "none", say)
    seconds["backfill"] = first.seconds
    before = _versions(s3, destination.bucket)
    second = _backfill(stack, api, hours, "completed", say)
    seconds["second backfill"] = second.seconds
    after = _versions(s3, destination.bucket)

    began = time.monotonic()
    (project,) = destination.projects
    proof = prove(s3, destination.bucket, project, FIRST_HOUR, _last(hours))
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
    return Demonstration(
        note=note or "",
        proof=proof,
        seconds=seconds,
        hour_seconds={run.data_hour: _seconds(run) for run in first.runs if run.data_hour is not None},
        tasks=sum(len(api.task_states(EXPORT_DAG, run.run_id)) for run in first.runs),
        written_again=sorted(
            key for key in before.keys() | after.keys() if before.get(key) != after.get(key)
        ),
        notified=NotifiedFile(seconds_to_start, rows, NOTIFIED_ROWS),
    )


@dataclass(frozen=True)
class _Backfill:
    runs: list[Run]
    seconds: float


def _last(hours: int) -> datetime:
    return FIRST_HOUR + timedelta(hours=hours - 1)


def _backfill(
    stack: LocalStack, api: AirflowApi, hours: int, reprocess: str, say: Callable[[str], None]
) -> _Backfill:
    """Run Airflow's own backfill of the hours to its end."""
    began, since = time.monotonic(), datetime.now(UTC)
    done = subprocess.run(
        [
            *("airflow", "backfill", "create", "--dag-id", EXPORT_DAG),
            *("--from-date", FIRST_HOUR.isoformat(), "--to-date", _last(hours).isoformat()),
            *("--max-active-runs", "4", "--reprocess-behavior", reprocess),
        ],
        env=stack.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SluiceError(f"`airflow backfill create` ended with {done.returncode}:\n{done.stderr[-2000:]}")
    say(f"{EXPORT_DAG}: backfill of {hours} hours, --reprocess-behavior {reprocess}")

    def of_this_backfill(run: Run) -> bool:
        mine = run.data_hour is not None and FIRST_HOUR <= run.data_hour <= _last(hours)
        # A run that waits to be reprocessed still shows its last end.
        return mine and (run.state not in ("success",) or (run.ended is not None and run.ended > since))

    runs = api.wait_for_runs(EXPORT_DAG, of_this_backfill, hours, check=stack.check)
    seconds = time.monotonic() - began
    say(f"{EXPORT_DAG}: {len(runs)} hours in {seconds:.0f} s, {seconds / len(runs):.1f} s an hour")
    api.wait_for_backfills(EXPORT_DAG, check=stack.check)
    return _Backfill(runs, seconds)


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


def _seconds(run: Run) -> float:
    return (run.ended - run.started).total_seconds() if run.started and run.ended else 0.0

"""The backfill's DAG as Airflow runs it: a dry run, a backfill, another that finds nothing to do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from export_config import write_export_config
from lake_staging import stage

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.integration

DAGS = Path(__file__).parents[2] / "dags"
HOUR = datetime(2013, 1, 2, 12, tzinfo=UTC)
CONF = {
    "destination": "small",
    "first": "2013-01-02T12",
    "last": "2013-01-02T14",
    # The test runner keeps the parameters of the run before.
    "dry_run": False,
}


@pytest.fixture
def dag(
    tmp_path: Path,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    airflow_db: str,
    airflow_connections: dict[str, str],
) -> Iterator[Any]:
    from airflow import settings
    from airflow.dag_processing.dagbag import DagBag

    folder = tmp_path / "config"
    write_export_config(folder, bucket, "small")
    monkeypatch.setenv("SLUICE_CONFIG", str(folder))
    bag = DagBag(dag_folder=DAGS / "export_backfill.py", bundle_path=DAGS, bundle_name="dags-folder")
    assert bag.import_errors == {}
    yield bag.dags["export_backfill"]
    # The database server may end before this process does.
    settings.Session.remove()


def listing(s3: S3Client, bucket: str) -> dict[str, Any]:
    found = s3.list_objects_v2(Bucket=bucket, Prefix="out/").get("Contents", [])
    return {item["Key"]: (item["ETag"], item["LastModified"]) for item in found}


def states(run: Any) -> dict[str, str]:
    return {ti.task_id: str(ti.state) for ti in run.get_task_instances()}


def report(run: Any) -> dict[str, Any]:
    (ti,) = [ti for ti in run.get_task_instances() if ti.task_id == "report_backfill"]
    return ti.xcom_pull(task_ids="report_backfill", run_id=run.run_id)


def test_a_dry_run_then_a_backfill_then_nothing_to_do(dag: Any, s3: S3Client, bucket: str) -> None:
    from sluice.lake import LoadRequest, load
    from sluice.ledger.export_runs import runs_of
    from sluice_airflow.hooks.sluice import SluiceHook

    hook = SluiceHook()
    file = stage(hook.lake, "events.csv", ["a", "b", "c"], at=lambda n: HOUR + n * timedelta(hours=1))
    load(hook.lake, hook.ledger, LoadRequest(187520, "test", [file], upload_time="event_time"))

    dry = dag.test(run_conf=CONF | {"dry_run": True})
    assert states(dry) == {
        "plan_backfill": "success",
        "export_chunk": "skipped",
        "report_backfill": "success",
    }
    assert report(dry)["states"] == {"missing": 3}
    assert report(dry)["table"][0]["hours"] == 3
    assert listing(s3, bucket) == {}

    run = dag.test(run_conf=CONF | {"order": "newest first", "parallelism": 2})
    assert set(states(run).values()) == {"success"}
    assert report(run)["exported"]["events"] == 3
    assert report(run)["range"]["states"] == {"unchanged": 3}
    (chunk,) = [ti for ti in run.get_task_instances() if ti.task_id == "export_chunk"]
    assert chunk.rendered_map_index == "187520: 2013-01-02 12h to 2013-01-02 14h, 3 hours"
    before = listing(s3, bucket)
    assert len(before) == 6

    again = dag.test(run_conf=CONF)
    assert states(again)["export_chunk"] == "skipped"
    assert report(again)["exported"]["hours"] == 0
    assert listing(s3, bucket) == before
    assert [(one.state, one.kind, one.hours) for one in runs_of(hook.ledger, "small", 5)] == [
        ("success", "backfill", 0),
        ("success", "backfill", 3),
    ]

    reversed_range = dag.test(run_conf=CONF | {"last": "2013-01-01"})
    assert states(reversed_range)["plan_backfill"] == "failed"
    assert str(reversed_range.state) == "failed"

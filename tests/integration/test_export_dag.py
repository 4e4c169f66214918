"""The export's DAG as Airflow runs it: twice, and the second run changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from export_config import write_export_config
from lake_staging import stage

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.integration

DAGS = Path(__file__).parents[2] / "dags"


@pytest.fixture
def config(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with one destination, whose bucket holds the lake too."""
    folder = tmp_path / "config"
    write_export_config(folder, bucket, "small")
    monkeypatch.setenv("SLUICE_CONFIG", str(folder))
    return folder


@pytest.fixture
def dag(config: Path, airflow_db: str, airflow_connections: dict[str, str]) -> Iterator[Any]:
    from airflow import settings
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=DAGS / "export_hourly.py", bundle_path=DAGS, bundle_name="dags-folder")
    assert bag.import_errors == {}
    assert list(bag.dags) == ["export_hourly__small"]
    yield bag.dags["export_hourly__small"]
    # The database server may end before this process does.
    settings.Session.remove()


def listing(s3: S3Client, bucket: str) -> dict[str, Any]:
    found = s3.list_objects_v2(Bucket=bucket, Prefix="out/").get("Contents", [])
    return {item["Key"]: (item["ETag"], item["LastModified"]) for item in found}


def test_the_dag_runs_twice_and_the_second_changes_nothing(dag: Any, s3: S3Client, bucket: str) -> None:
    from sluice.lake import LoadRequest, load
    from sluice_airflow.hooks.sluice import SluiceHook

    hook = SluiceHook()
    hour = datetime(2013, 1, 2, 12, tzinfo=UTC)
    file = stage(hook.lake, "events.csv", ["a", "b"], at=lambda _: hour)
    load(hook.lake, hook.ledger, LoadRequest(187520, "test", [file], upload_time="event_time"))

    # A manual run at 13:00 has the last complete interval: 12:00 to 13:00.
    run = dag.test(logical_date=datetime(2013, 1, 2, 13, tzinfo=UTC))
    assert run.data_interval_start == hour
    assert {ti.task_id: str(ti.state) for ti in run.get_task_instances()} == {
        "export_events": "success",
        "check_quality": "success",
        "publish_hour": "success",
    }
    before = listing(s3, bucket)
    stem = "out/187520/187520_2013-01-02_12"
    assert sorted(before) == [f"{stem}#0.json.gz", f"{stem}_complete"]

    again = dag.test(logical_date=datetime(2013, 1, 2, 13, tzinfo=UTC))
    assert str(again.state) == "success"
    assert listing(s3, bucket) == before
    assert s3.list_multipart_uploads(Bucket=bucket, Prefix="out/").get("Uploads", []) == []

    failed = dag.test(run_conf={"from": "2013-01-02T12:30"})
    assert {ti.task_id: str(ti.state) for ti in failed.get_task_instances()} == {
        "export_events": "failed",
        "check_quality": "upstream_failed",
        "publish_hour": "upstream_failed",
    }

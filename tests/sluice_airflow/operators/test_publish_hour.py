"""PublishHourOperator: makes visible what the run staged, another process though it is."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from checked_exports import check
from export_config import write_export_config
from lake_staging import stage

from sluice.lake import LoadRequest, load
from sluice.ledger import exported
from sluice.ledger.exported import HourHeld, HourId
from sluice.quality.gate import QualityStopped
from sluice_airflow.hooks.sluice import SluiceHook
from sluice_airflow.operators.export_events import ExportEventsOperator
from sluice_airflow.operators.publish_hour import PublishHourOperator

NOON = datetime(2013, 1, 2, 12, tzinfo=UTC)


def run_context(kind="backfill", hour=NOON, run_id="run-1", **params):
    return {
        "dag_run": SimpleNamespace(dag_id="export_hourly__flights", run_id=run_id, run_type=kind),
        "params": params,
        "data_interval_start": hour,
        "data_interval_end": hour + timedelta(hours=1),
    }


@pytest.fixture
def flights(tmp_path, bucket, monkeypatch, airflow_connections):
    """A destination, and a lake with events in two hours."""
    folder = tmp_path / "config"
    write_export_config(folder, bucket, "flights", tmp_path / "lake")
    monkeypatch.setenv("SLUICE_CONFIG", str(folder))
    hook = SluiceHook()
    ids = [f"{hour}-{n}" for hour in (12, 13) for n in range(3)]
    file = stage(hook.lake, "events.csv", ids, at=lambda n: NOON + timedelta(hours=n // 3))
    load(hook.lake, hook.ledger, LoadRequest(187520, "test", [file], upload_time="event_time"))


def export(context):
    return ExportEventsOperator(task_id="export_events", destination="flights").execute(context)


def publish(context):
    check(context)
    return PublishHourOperator(task_id="publish_hour", destination="flights").execute(context)


def listing(s3, bucket):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="out/")
    return {i["Key"]: (i["ETag"], i["LastModified"]) for page in pages for i in page.get("Contents", [])}


def test_it_publishes_what_the_run_staged_and_nothing_the_second_time(flights, s3, bucket):
    staged = export(run_context())
    assert listing(s3, bucket) == {}
    assert publish(run_context()) == staged
    stem = "out/187520/187520_2013-01-02_12"
    before = listing(s3, bucket)
    assert sorted(before) == [f"{stem}#0.json.gz", f"{stem}_complete"]
    body = s3.get_object(Bucket=bucket, Key=f"{stem}#0.json.gz")["Body"].read()
    events = [json.loads(line) for line in gzip.decompress(body).splitlines()]
    assert [event["$insert_id"] for event in events] == ["12-0", "12-1", "12-2"]
    for run_id in ("run-1", "run-2"):
        assert export(run_context(run_id=run_id))["unchanged"] == 1
        again = publish(run_context(run_id=run_id))
        assert (again["hours"], again["unchanged"]) == (0, 1)
    assert listing(s3, bucket) == before


def test_a_manual_run_publishes_all_its_hours(flights, s3, bucket):
    context = run_context("manual", **{"from": "2013-01-02T11", "to": "2013-01-02T13"})
    assert export(context)["hours"] == 3
    result = publish(context)
    assert (result["hours"], result["rows"], result["files"]) == (3, 6, 2)
    assert [key.rpartition("_")[2] for key in sorted(listing(s3, bucket))] == [
        "complete",
        "12#0.json.gz",
        "complete",
        "13#0.json.gz",
        "complete",
    ]


def test_what_has_passed_no_gate_stays_invisible(flights, s3, bucket):
    export(run_context())
    with pytest.raises(QualityStopped, match="check_quality"):
        PublishHourOperator(task_id="publish_hour", destination="flights").execute(run_context())
    assert listing(s3, bucket) == {}


def test_without_anything_staged_it_exports_the_hour_itself(flights, s3, bucket):
    """The staging may be lost between the tasks; what passed its gate has passed it, staged once more."""
    export(run_context())
    check(run_context())
    id = HourId("flights", 187520, NOON)
    ledger = SluiceHook().ledger
    exported.stage(ledger, exported.claim(ledger, id, "export_hourly__flights/run-1", 600), None)
    assert publish(run_context())["rows"] == 3
    assert len(listing(s3, bucket)) == 2


def test_another_runs_hour_is_not_touched(flights, s3, bucket):
    export(run_context(run_id="first"))
    with pytest.raises(HourHeld, match="export_hourly__flights/first"):
        publish(run_context(run_id="second"))
    assert listing(s3, bucket) == {}
    publish(run_context(run_id="first"))
    assert len(listing(s3, bucket)) == 2

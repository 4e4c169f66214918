"""When an import's DAG runs, and the bell that a source with notifications has."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import AssetOrTimeSchedule
from airflow.serialization.serialized_objects import DagSerialization

from sluice.config import ImportConfig
from sluice_airflow.schedules import import_schedule

QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789012/files"


def source(**keys: Any) -> ImportConfig:
    return ImportConfig.model_validate(
        {
            "id": "small",
            "name": "Small files",
            "owner": "data@example.com",
            "project": 187520,
            "bucket": "customer",
            "region": "us-east-1",
            "connection": "aws_customer",
            "converter": "small.json",
            "enabled": True,
            **keys,
        }
    )


def test_a_scan_runs_by_the_clock_if_it_has_one() -> None:
    assert import_schedule(source(scan_every=7)) == timedelta(minutes=7)
    assert import_schedule(source(scan_every=None)) is None


def test_a_disabled_source_has_neither_clock_nor_bell() -> None:
    assert import_schedule(source(enabled=False)) is None
    assert import_schedule(source(enabled=False, discovery="notifications", queue=QUEUE)) is None


def test_the_bell_takes_one_message_and_deletes_none() -> None:
    schedule = import_schedule(source(discovery="notifications", queue=QUEUE, sweep_every=60))
    assert isinstance(schedule, AssetOrTimeSchedule)
    [inbox] = schedule.asset_condition.objects
    [watcher] = inbox.watchers
    classpath, arguments = watcher.trigger.serialize()
    assert classpath == "airflow.providers.amazon.aws.triggers.sqs.SqsSensorTrigger"
    bell = {
        "sqs_queue": QUEUE,
        "aws_conn_id": "aws_customer",
        "region_name": "us-east-1",
        "max_messages": 1,
        "delete_message_on_reception": False,
    }
    assert {name: arguments[name] for name in bell} == bell
    # A message that nobody dealt with must ring again soon.
    assert arguments["visibility_timeout"] <= 60


def test_the_schedule_survives_the_way_to_the_scheduler() -> None:
    from airflow.sdk import DAG

    schedule = import_schedule(source(discovery="notifications", queue=QUEUE, sweep_every=60))
    with DAG("import_s3__small", schedule=schedule) as dag:
        pass
    timetable = DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable
    assert timetable.timetable._delta == timedelta(minutes=60)
    assert [asset.name for _, asset in timetable.asset_condition.iter_assets()] == ["import_s3__small__inbox"]

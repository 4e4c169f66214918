"""VerifyExportOperator: what it returns of a bucket that is whole, and what it says of one that is not."""

import json
import os
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from checked_exports import check
from export_config import write_export_config
from lake_staging import stage

from sluice.access.errors import BucketAccessError
from sluice.exports.errors import ExportDiffers
from sluice.exports.status import status_of
from sluice.lake import LoadRequest, load
from sluice.ledger.verifications import last_verification
from sluice_airflow.hooks.sluice import SluiceHook
from sluice_airflow.operators.export_events import ExportEventsOperator
from sluice_airflow.operators.publish_hour import PublishHourOperator
from sluice_airflow.operators.verify_export import VerifyExportOperator

CONTEXT = {
    "dag_run": SimpleNamespace(dag_id="export_hourly__flights", run_id="run-1", run_type="manual"),
    "params": {"from": "2013-01-02T12", "to": "2013-01-02T13"},
}
KEY = "out/187520/187520_2013-01-02_12#0.json.gz"


@pytest.fixture
def hook(tmp_path, bucket, monkeypatch, airflow_connections):
    folder = tmp_path / "config"
    write_export_config(folder, bucket, "flights")
    monkeypatch.setenv("SLUICE_CONFIG", str(folder))
    hook = SluiceHook()
    file = stage(hook.lake, "a.csv", ["a", "b", "c"], at=lambda n: datetime(2013, 1, 2, 12, n, tzinfo=UTC))
    load(hook.lake, hook.ledger, LoadRequest(187520, "test", [file], upload_time="event_time"))
    return hook


def export():
    ExportEventsOperator(task_id="export_events", destination="flights").execute(CONTEXT)
    check(CONTEXT)
    PublishHourOperator(task_id="publish_hour", destination="flights").execute(CONTEXT)


def verify():
    operator = VerifyExportOperator(
        task_id="verify_export", destination="flights", first="2013-01-02T12", last="2013-01-02T13"
    )
    return operator.execute({})


def status(hook):
    (found,) = status_of(hook.config, hook.ledger)
    return found


def test_a_whole_range_gives_its_counts(hook):
    export()
    counts = verify()
    assert counts == {
        "hours": 2, "differing": 0, "lake_events": 3, "bucket_events": 3,
        "missing": 0, "doubled": 0, "unknown": 0, "unreadable": 0,
    }  # fmt: skip
    assert status(hook).verification[1].counts == counts


def test_a_difference_fails_the_task_with_the_hour_and_the_command(hook, s3, bucket):
    export()
    s3.delete_object(Bucket=bucket, Key=KEY)
    with pytest.raises(ExportDiffers) as caught:
        verify()
    text = str(caught.value)
    assert "1 hours of flights differ" in text
    assert "hour 2013-01-02 12: 3 events in the lake, 0 in the bucket, 3 missing" in text
    assert "airflow dags trigger export_backfill" in text
    assert '"first": "2013-01-02T12", "last": "2013-01-02T12"' in text
    assert last_verification(hook.ledger, "flights")[1].missing == 3


def test_a_run_is_recorded_with_what_it_published(hook):
    ExportEventsOperator(task_id="export_events", destination="flights").execute(CONTEXT)
    assert status(hook).runs[0].state == "running"
    check(CONTEXT)
    publish = PublishHourOperator(task_id="publish_hour", destination="flights")
    for _ in range(2):
        # A retry, which finds all done, counts the same.
        publish.execute(CONTEXT)
        (run,) = status(hook).runs
        assert (run.state, run.kind, run.hours, run.events, run.files) == ("success", "manual", 2, 3, 1)
        assert (run.first_hour.hour, run.last_hour.hour) == (12, 13)
        assert run.completed_at >= run.started_at
        assert run.reason is None
    assert status(hook).state == "enabled"


def test_a_run_without_access_leaves_the_destination_waiting_until_one_succeeds(hook, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", hook_connection("wrong"))
        with pytest.raises(BucketAccessError):
            export()
    waiting = status(hook)
    assert waiting.state == "waiting for access"
    assert waiting.reason.startswith("BucketAccessError: The secret key does not belong to the access key")
    assert waiting.runs[0].problem == "access"
    export()
    assert status(hook).state == "enabled"


def hook_connection(secret_key):
    """The destination's connection with another key."""
    connection = json.loads(os.environ["AIRFLOW_CONN_AWS_DEFAULT"])
    return json.dumps(connection | {"password": secret_key})

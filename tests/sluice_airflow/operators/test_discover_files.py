"""DiscoverFilesOperator: batches small enough for an XCom, and refusals that say what to do."""

import json
from types import SimpleNamespace

import pytest
from sqlalchemy import delete

from sluice.errors import SluiceError
from sluice.imports.enabling import NotEnabled
from sluice.imports.errors import ImportAccessError
from sluice.ledger import files
from sluice.ledger.tables import sources
from sluice_airflow.hooks.sluice import SluiceHook
from sluice_airflow.operators.discover_files import DiscoverFilesOperator

pytestmark = pytest.mark.usefixtures("airflow_connections", "enabled")


@pytest.fixture(autouse=True)
def lake_on_disk(flights_config, tmp_path):
    """Keep the lake on disk: one on S3, which takes long to make, is that of test_load_files.py."""
    flights_config("lake.yaml", uri=str(tmp_path / "lake"))


def discover(context, source="flights"):
    operator = DiscoverFilesOperator(task_id="discover_files", source=source)
    operator.render_template_fields(context)
    return operator.execute(context)


def test_it_returns_the_batches_of_new_files(flights_config, context, s3, bucket):
    s3.put_object(Bucket=bucket, Key="flights/flights-2013-01.csv.gz", Body=b"12345")
    s3.put_object(Bucket=bucket, Key="flights/flights-2013-02.csv.gz", Body=b"1234567")
    s3.put_object(Bucket=bucket, Key="flights/other.csv", Body=b"x")
    [batch] = discover(context)
    assert (batch["number"], batch["files"], batch["bytes"]) == (0, 2, 12)
    assert {batch["first"][1], batch["last"][1]} == {
        "flights/flights-2013-01.csv.gz",
        "flights/flights-2013-02.csv.gz",
    }
    assert json.loads(json.dumps(batch)) == batch


def test_a_run_that_was_rung_for_looks_at_what_was_notified_and_empties_the_queue(
    flights_config, context, s3, bucket, moto_endpoint
):
    queue = SluiceHook().queue("aws_default", f"{moto_endpoint}/123456789012/{bucket}", "us-east-1")
    sqs = queue.client()
    sqs.create_queue(QueueName=bucket)
    flights_config("imports/flights.yaml", discovery="notifications", queue=queue.url)
    assert discover(context) == []  # by hand: everything is listed
    for month in ("01", "02", "03"):
        s3.put_object(Bucket=bucket, Key=f"flights/flights-2013-{month}.csv.gz", Body=b"1")
        if month != "03":
            sqs.send_message(QueueUrl=queue.url, MessageBody=notification(bucket, month))
    [bell] = sqs.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=1)["Messages"]
    event = SimpleNamespace(extra={"from_trigger": True, "payload": {"message_batch": [bell]}})
    rung = {"dag_run": SimpleNamespace(run_type="asset_triggered"), "triggering_asset_events": {"a": [event]}}
    [batch] = discover(context | rung)
    assert batch["files"] == 2
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    left = sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=names)["Attributes"]
    assert set(left.values()) == {"0"}
    [batch] = discover(context | {"dag_run": SimpleNamespace(run_type="scheduled")})
    assert batch["files"] == 3


def notification(bucket, month):
    named = {"bucket": {"name": bucket}, "object": {"key": f"flights/flights-2013-{month}.csv.gz"}}
    return json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": named}]})


def test_nothing_new_is_no_batch_also_of_a_templated_source(flights_config, context):
    assert discover(context) == []
    assert discover(context | {"params": {"source": "flights"}}, "{{ params.source }}") == []


def test_an_unknown_source_is_named(flights_config, context):
    with pytest.raises(SluiceError, match="trains"):
        discover(context, "trains")


def test_a_missing_bucket_is_named(flights_config, context):
    flights_config("imports/flights.yaml", bucket="never-made-bucket")
    with pytest.raises(ImportAccessError, match="never-made-bucket does not exist"):
        discover(context)


def test_a_source_that_never_passed_its_test_is_refused_with_the_command(flights_config, context, s3, bucket):
    s3.put_object(Bucket=bucket, Key="flights/flights-2013-01.csv.gz", Body=b"12345")
    ledger = SluiceHook().ledger
    with ledger.begin() as connection:
        connection.execute(delete(sources))
    with pytest.raises(NotEnabled, match="Run `sluice import enable flights`"):
        discover(context)
    assert list(files.of_source(ledger, "flights")) == []


def test_another_accounts_bucket_needs_role_and_external_id(
    flights_config, context, airflow_connections, monkeypatch
):
    flights_config("imports/flights.yaml", account="other")
    with pytest.raises(SluiceError, match="aws_default lacks role_arn and external_id"):
        discover(context)
    connection = json.loads(airflow_connections["AIRFLOW_CONN_AWS_DEFAULT"])
    connection["extra"] |= {"role_arn": "arn:aws:iam::123456789012:role/reader"}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    with pytest.raises(SluiceError, match="aws_default lacks external_id"):
        discover(context)
    assert SluiceHook().config.source("flights").account == "other"

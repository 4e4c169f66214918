import json

import pytest

from sluice.errors import SluiceError
from sluice.local.airflow_settings import FIXED_SETTINGS
from sluice_airflow.hooks.sluice import SluiceHook


@pytest.fixture
def config_of(tmp_path, monkeypatch):
    """Write a lake.yaml beside the repository's projects, and use that configuration."""

    def write(uri: str) -> None:
        (tmp_path / "projects.yaml").write_text("organisations: []\nprojects: []\n")
        (tmp_path / "lake.yaml").write_text(f"uri: {uri}\nconnection: sluice_lake\nregion: us-east-1\n")
        monkeypatch.setenv("SLUICE_CONFIG", str(tmp_path))

    return write


def test_the_lake_is_created_at_first_use_on_the_connections_store(airflow_connections, bucket, config_of):
    config_of(f"s3://{bucket}/lake")
    assert SluiceHook().lake.events().version() == 0
    assert SluiceHook().lake.uri == f"s3://{bucket}/lake"


def test_the_ledger_is_the_connections_database(airflow_connections):
    assert not SluiceHook().ledger.is_sqlite
    assert SluiceHook().ledger.now().tzinfo is not None


def test_a_store_has_the_endpoint_and_the_credentials_of_its_connection(airflow_connections, bucket):
    client = SluiceHook().store("aws_default", "us-east-1").client()
    client.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_a_connections_store_is_opened_once_for_each_region(airflow_connections):
    hook = SluiceHook()
    assert hook.store("aws_default") is hook.store("aws_default")
    assert hook.store("aws_default", "eu-central-1").region == "eu-central-1"
    assert SluiceHook().store("aws_default") is not hook.store("aws_default")


def test_a_stream_has_the_endpoint_and_the_credentials_of_its_connection(airflow_connections):
    stream = SluiceHook().stream("aws_default", "test-hook-stream")
    client = stream.client()
    client.create_stream(StreamName=stream.name, ShardCount=2)
    assert stream.facts(client).shards == 2
    client.delete_stream(StreamName=stream.name)
    assert SluiceHook().stream("aws_default", "audiences", "eu-west-1").region == "eu-west-1"
    secret = json.loads(airflow_connections["AIRFLOW_CONN_AWS_DEFAULT"])["password"]
    assert secret not in repr(stream)


def test_a_sqlite_ledger_serves_the_local_executor_only(tmp_path, monkeypatch):
    connection = json.dumps({"conn_type": "sqlite", "host": f"{tmp_path}/ledger.db"})
    monkeypatch.setenv("AIRFLOW_CONN_SLUICE_LEDGER", connection)
    for executor in ("LocalExecutor", FIXED_SETTINGS["AIRFLOW__CORE__EXECUTOR"]):
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
        assert SluiceHook().ledger.is_sqlite
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    with pytest.raises(SluiceError, match="CeleryExecutor"):
        _ = SluiceHook().ledger


def test_a_ledger_of_another_type_is_refused(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_SLUICE_LEDGER", json.dumps({"conn_type": "mysql", "host": "x"}))
    with pytest.raises(SluiceError, match="mysql"):
        _ = SluiceHook().ledger


def test_secrets_stay_out_of_what_is_printed(airflow_connections, config_of, bucket):
    config_of(f"s3://{bucket}/lake")
    secret = json.loads(airflow_connections["AIRFLOW_CONN_AWS_DEFAULT"])["password"]
    hook = SluiceHook()
    assert secret not in repr(hook.store("aws_default")) + repr(hook.lake) + str(vars(hook))

"""Connections from the environment: Airflow's variables outside of Airflow, and no secret in any message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fresh import fresh_ledger
from sqlalchemy import make_url, text

from sluice.access.connections import EnvironmentAccess, ledger_url, store
from sluice.errors import SluiceError
from sluice.ledger import Ledger
from sluice.ledger.database import VERSION_TABLE
from sluice.local.connections import aws_connection, ledger_connection
from sluice.local.seaweedfs import S3Access

SECRET = "very-secret-indeed"


def connection(**facts: Any) -> str:
    return json.dumps({"conn_type": "aws", "login": "key", "password": SECRET, **facts})


def test_the_ledger_s_url_goes_before_its_connection() -> None:
    environ = {"SLUICE_LEDGER_URL": "sqlite:///x.db", "AIRFLOW_CONN_SLUICE_LEDGER": "never read"}
    assert ledger_url(environ) == "sqlite:///x.db"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg2://joe:{SECRET}@db.example.com:5433/sluice",
        "postgresql+psycopg2://joe@/sluice?host=%2Frun%2Fpostgresql",
        "postgresql+psycopg2://joe@db.example.com/sluice",
    ],
)
def test_the_local_stack_s_ledger_connection_gives_its_url_back(url: str) -> None:
    environ = {"AIRFLOW_CONN_SLUICE_LEDGER": ledger_connection(url)}
    assert ledger_url(environ) == make_url(url)


def test_a_sqlite_ledger_is_a_path() -> None:
    environ = {"AIRFLOW_CONN_SLUICE_LEDGER": json.dumps({"conn_type": "sqlite", "host": "/data/l.db"})}
    assert ledger_url(environ) == make_url("sqlite:////data/l.db")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "No ledger is named: set SLUICE_LEDGER_URL"),
        (f"postgres://joe:{SECRET}@db/sluice", "is no JSON object"),
        (json.dumps([SECRET]), "is no JSON object"),
        (json.dumps({"conn_type": "mysql", "password": SECRET}), "the ledger runs on postgres"),
    ],
)
def test_a_ledger_connection_that_cannot_be_used_says_why(value: str | None, message: str) -> None:
    with pytest.raises(SluiceError, match=message) as caught:
        ledger_url({} if value is None else {"AIRFLOW_CONN_SLUICE_LEDGER": value})
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def keys(found: Any) -> tuple[str, str, str | None]:
    return tuple(found.session.get_credentials().get_frozen_credentials())  # type: ignore[return-value]


def test_the_local_stack_s_aws_connection_opens_its_s3() -> None:
    access = S3Access("http://127.0.0.1:20001", "key", SECRET)
    environ = {"AIRFLOW_CONN_AWS_DEFAULT": aws_connection(access, "http://127.0.0.1:20002")}
    found = store(environ, "aws_default")
    assert (found.endpoint_url, found.region) == ("http://127.0.0.1:20001", access.region)
    assert keys(found)[:2] == ("key", SECRET)
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("facts", "endpoint"),
    [
        ({}, None),
        ({"extra": {"endpoint_url": "http://a"}}, "http://a"),
        ({"extra": json.dumps({"endpoint_url": "http://a"})}, "http://a"),
        (
            {"extra": {"endpoint_url": "http://a", "service_config": {"s3": {"endpoint_url": "http://b"}}}},
            "http://b",
        ),
        ({"extra": {"endpoint_url": "http://a", "service_config": {"sqs": {}}}}, "http://a"),
    ],
)
def test_the_endpoint_is_that_of_s3_or_else_of_all(facts: dict[str, Any], endpoint: str | None) -> None:
    assert store({"AIRFLOW_CONN_SHOP": connection(**facts)}, "shop").endpoint_url == endpoint


def test_a_queue_has_the_endpoint_of_its_service_and_the_connection_s_keys() -> None:
    access = S3Access("http://127.0.0.1:20001", "key", SECRET)
    environ = {"AIRFLOW_CONN_AWS_DEFAULT": aws_connection(access, "http://127.0.0.1:20002")}
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/files"
    found = EnvironmentAccess(environ=environ).queue("aws_default", url, "eu-west-1")
    assert (found.url, found.endpoint_url, found.region) == (url, "http://127.0.0.1:20002", "eu-west-1")
    assert found.arn == "arn:aws:sqs:eu-west-1:123456789012:files"
    assert keys(found)[:2] == ("key", SECRET)
    assert SECRET not in repr(found)


def test_a_stream_has_the_endpoint_of_its_service_and_the_connection_s_keys() -> None:
    access = S3Access("http://127.0.0.1:20001", "key", SECRET)
    environ = {"AIRFLOW_CONN_AWS_DEFAULT": aws_connection(access, "http://127.0.0.1:20002")}
    found = EnvironmentAccess(environ=environ).stream("aws_default", "audiences", "eu-west-1")
    assert (found.name, found.endpoint_url, found.region) == (
        "audiences",
        "http://127.0.0.1:20002",
        "eu-west-1",
    )
    assert found.arn("123456789012") == "arn:aws:kinesis:eu-west-1:123456789012:stream/audiences"
    assert keys(found)[:2] == ("key", SECRET)
    assert SECRET not in repr(found)
    assert EnvironmentAccess(environ=environ).stream("aws_default", "audiences").region == access.region


def test_the_region_is_the_source_s_or_else_the_connection_s() -> None:
    environ = {"AIRFLOW_CONN_SHOP": connection(extra={"region_name": "eu-west-1"})}
    assert store(environ, "shop", "eu-north-1").region == "eu-north-1"
    assert store(environ, "shop").region == "eu-west-1"


def test_without_a_connection_boto3_s_own_chain_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-chain")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert keys(store({}, "shop", "eu-west-1"))[0] == "from-chain"


@pytest.mark.parametrize("name", ["role_arn", "profile_name"])
def test_what_only_airflow_follows_is_refused(name: str) -> None:
    environ = {"AIRFLOW_CONN_SHOP": connection(extra={name: SECRET})}
    with pytest.raises(
        SluiceError, match=f"uses {name}, which only Airflow follows.*AIRFLOW_CONN_SHOP"
    ) as caught:
        store(environ, "shop")
    assert SECRET not in str(caught.value)


def test_an_extra_that_is_no_object_is_named() -> None:
    with pytest.raises(SluiceError, match="`extra` of AIRFLOW_CONN_SHOP is no JSON object") as caught:
        store({"AIRFLOW_CONN_SHOP": connection(extra=f"x{SECRET}")}, "shop")
    assert SECRET not in str(caught.value)


def test_a_ledger_is_never_made_by_looking_at_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with pytest.raises(SluiceError, match="There is no ledger at"):
        _ = EnvironmentAccess(ledger_url=f"sqlite:///{path}").ledger
    assert not path.exists()
    path.touch()
    with pytest.raises(SluiceError, match="has no tables yet"):
        _ = EnvironmentAccess(ledger_url=f"sqlite:///{path}").ledger
    fresh_ledger(path)
    assert EnvironmentAccess(ledger_url=f"sqlite:///{path}").ledger.is_sqlite


@pytest.mark.parametrize("revision", ["0001", "9999"])
def test_a_ledger_of_another_version_is_told_from_one_that_can_be_read(tmp_path: Path, revision: str) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger.open(url).begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'"))
    with pytest.raises(SluiceError, match=f"tables are at {revision}, those of this version of Sluice at"):
        _ = EnvironmentAccess(ledger_url=url).ledger


def test_a_url_that_is_none_is_not_quoted() -> None:
    with pytest.raises(SluiceError, match="none that SQLAlchemy reads") as caught:
        _ = EnvironmentAccess(ledger_url=SECRET).ledger
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(EnvironmentAccess(ledger_url=SECRET, environ={"X": SECRET}))

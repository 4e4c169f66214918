"""The shared fixtures give fresh, working services."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import ClientError
from sqlalchemy import create_engine, text

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from sluice.local.seaweedfs import S3Access


def test_bucket_is_fresh_and_holds_what_is_written(s3: S3Client, bucket: str) -> None:
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"kept")
    assert s3.get_object(Bucket=bucket, Key="a/b")["Body"].read() == b"kept"


def test_a_bucket_does_not_come_into_being_by_a_write(s3: S3Client) -> None:
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket="never-created", Key="a", Body=b"")
    assert caught.value.response["Error"]["Code"] == "NoSuchBucket"


def test_a_wrong_secret_is_refused(s3_access: S3Access, bucket: str) -> None:
    stranger = type(s3_access)(s3_access.endpoint_url, s3_access.access_key, "w" * 40).client()
    with pytest.raises(ClientError) as caught:
        stranger.list_objects_v2(Bucket=bucket)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


@pytest.mark.parametrize("service", ["sqs", "kinesis", "kms", "sts"])
def test_moto_answers_for_the_other_services(moto_endpoint: str, service: str) -> None:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "testing"}
    client = boto3.client(service, endpoint_url=moto_endpoint, region_name="us-east-1", **keys)
    call = {"sqs": "list_queues", "kinesis": "list_streams", "kms": "list_keys", "sts": "get_caller_identity"}
    assert getattr(client, call[service])()["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize("attempt", [1, 2])
def test_each_test_has_a_fresh_database(postgres_url: str, attempt: int) -> None:
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("create table once (attempt integer)"))
        connection.execute(text("insert into once values (:attempt)"), {"attempt": attempt})
        assert connection.scalars(text("select attempt from once")).all() == [attempt]


def test_airflow_uses_the_migrated_database(airflow_db: str) -> None:
    from airflow import settings
    from airflow.utils.db import check_migrations

    assert os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == settings.SQL_ALCHEMY_CONN == airflow_db
    check_migrations(timeout=1)


def test_airflow_reaches_every_service_by_its_connection(
    airflow_connections: dict[str, str], bucket: str
) -> None:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    S3Hook().load_string("through the hook", "a", bucket)
    assert S3Hook("sluice_lake").read_key("a", bucket) == "through the hook"
    assert "Account" in AwsBaseHook(client_type="sts").conn.get_caller_identity()
    assert "StreamNames" in AwsBaseHook(client_type="kinesis").conn.list_streams()
    assert PostgresHook("sluice_ledger").get_first("select 1") == (1,)
    with create_engine(PostgresHook("sluice_ledger").sqlalchemy_url).connect() as connection:
        assert connection.scalar(text("select 1")) == 1

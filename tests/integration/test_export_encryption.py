"""What the store is asked to encrypt, on one that honours it (SeaweedFS needs a key server of its own)."""

import uuid

import boto3
import pytest
from exporting import HOUR, Destination

from sluice.access.storage import S3Store

pytestmark = pytest.mark.integration


@pytest.fixture
def moto_s3(moto_endpoint):
    return S3Store.of(
        access_key="test", secret_key="test", endpoint_url=moto_endpoint, region="us-east-1"
    ).client()


def heads(destination):
    return [
        destination.client.head_object(Bucket=destination.bucket, Key=key)
        for key in destination.object_keys()
    ]


@pytest.fixture
def make(moto_s3, tmp_path):
    def make(**settings):
        bucket = f"test-{uuid.uuid4().hex[:20]}"
        moto_s3.create_bucket(Bucket=bucket)
        made = Destination.make(moto_s3, bucket, tmp_path, start=HOUR, partition_bytes=2_000, **settings)
        made.add_events(["a", "b", "c"])
        return made

    return make


def test_sse_kms_encrypts_every_object_with_the_key(make, moto_endpoint):
    kms = boto3.client(
        "kms",
        endpoint_url=moto_endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    key = kms.create_key()["KeyMetadata"]["Arn"]
    destination = make(encryption="sse-kms", kms_key=key)
    destination.run("run")
    found = heads(destination)
    assert len(found) >= 3
    assert {(head["ServerSideEncryption"], head["SSEKMSKeyId"]) for head in found} == {("aws:kms", key)}
    assert destination.all_ids() == ["a", "b", "c"]


def test_another_encryption_is_another_form_and_a_backfill_brings_it(make):
    destination = make()
    destination.run("first")
    assert not any("ServerSideEncryption" in head for head in heads(destination))
    destination.configure(encryption="sse-s3")
    assert [outcome.action for outcome in destination.run("scheduled", "scheduled")] == ["left"]
    assert [outcome.action for outcome in destination.run("backfill")] == ["published"]
    assert {head["ServerSideEncryption"] for head in heads(destination)} == {"AES256"}
    destination.assert_consistent()

"""A bucket that cannot be used: the message names the missing permission, and nothing is half done."""

import contextlib
import json

import pytest
from exporting import HOUR, Destination, Template

from sluice import __version__
from sluice.access.errors import BucketAccessError, BucketUnavailable
from sluice.access.storage import S3Store

KEYS = ["events/187520/187520_2013-01-02_12#0.json.gz", "events/187520/187520_2013-01-02_12_complete"]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return Template.make(tmp_path_factory.mktemp("loaded"), lambda made: made.add_events(["a"]))


@pytest.fixture
def destination(loaded, s3, bucket, tmp_path):
    with loaded.copy(s3, bucket, tmp_path / "copy") as destination:
        yield destination


@pytest.fixture
def deny(s3, bucket):
    def deny(*actions):
        statement = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": list(actions),
            "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    yield deny
    with contextlib.suppress(s3.exceptions.ClientError):
        s3.delete_bucket_policy(Bucket=bucket)


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:ListBucket", "arn:aws:s3:::{bucket}"),
        ("s3:ListBucketMultipartUploads", "arn:aws:s3:::{bucket}"),
        ("s3:PutObject", "arn:aws:s3:::{bucket}/events/*"),
    ],
)
def test_the_missing_permission_is_named(destination, deny, action, resource):
    deny(action)
    with pytest.raises(BucketAccessError) as caught:
        destination.run("run")
    message = str(caught.value)
    assert f"the bucket {destination.bucket} is denied" in message
    if action == "s3:PutObject":
        # SeaweedFS counts every multipart request as writing, the listing of uploads too.
        assert "s3:PutObject" in message or "s3:ListBucketMultipartUploads" in message
    else:
        assert (
            f"the missing permission is {action} on {resource.format(bucket=destination.bucket)}." in message
        )
    assert destination.record() is None or destination.record().state != "published"


def test_permissions_that_only_a_replacement_needs_are_named(destination, deny, s3, bucket):
    destination.run("run")
    destination.add_events(["b"])
    deny("s3:DeleteObject")
    with pytest.raises(BucketAccessError, match=r"s3:DeleteObject on arn:aws:s3:::.*/events/\*"):
        destination.run("second")
    deny("s3:GetObject")
    with pytest.raises(BucketAccessError, match=r"s3:GetObject on arn:aws:s3:::.*/events/\*"):
        destination.run("second")
    s3.delete_bucket_policy(Bucket=bucket)
    # The marker was about to go, so the ledger no longer vouches for the hour; it is all still there.
    assert destination.record().state == "unpublished"
    assert destination.object_keys() == KEYS


def test_the_permission_given_the_retry_goes_on(destination, deny, s3, bucket):
    destination.run("run")
    destination.add_events(["b"])
    deny("s3:DeleteObject")
    with pytest.raises(BucketAccessError):
        destination.run("second")
    s3.delete_bucket_policy(Bucket=bucket)
    destination.run("second")
    destination.assert_consistent()


def test_a_bucket_that_does_not_exist(s3, tmp_path):
    destination = Destination.make(s3, "no-such-bucket-anywhere", tmp_path)
    with pytest.raises(BucketAccessError, match=r"no-such-bucket-anywhere does not exist.*`bucket`"):
        destination.run("run")
    # SeaweedFS would make a bucket of the first upload.
    assert "no-such-bucket-anywhere" not in [item["Name"] for item in s3.list_buckets()["Buckets"]]


@pytest.mark.parametrize(
    ("access_key", "secret_key", "code"),
    [("right", "wrong", "SignatureDoesNotMatch"), ("unknown", "wrong", "InvalidAccessKeyId")],
)
def test_wrong_credentials(s3_access, bucket, tmp_path, access_key, secret_key, code):
    store = S3Store.of(
        access_key=s3_access.access_key if access_key == "right" else access_key,
        secret_key=secret_key,
        endpoint_url=s3_access.endpoint_url,
    )
    destination = Destination.make(store.client(), bucket, tmp_path)
    with pytest.raises(
        BucketAccessError, match=rf"\({code}\), so the bucket {bucket} cannot be used"
    ) as caught:
        destination.run("run")
    assert s3_access.secret_key not in str(caught.value)


def test_a_store_that_does_not_answer_is_worth_a_retry(s3_access, tmp_path):
    from botocore.config import Config

    client = S3Store.of(access_key="a", secret_key="b", endpoint_url="http://127.0.0.1:9").session.client(
        "s3",
        endpoint_url="http://127.0.0.1:9",
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}),
    )
    destination = Destination.make(client, "bucket", tmp_path)
    with pytest.raises(BucketUnavailable, match="does not answer"):
        destination.exporter("run").export(HOUR)


def test_the_buckets_owner_sees_who_was_there(s3_store, bucket):
    client = s3_store.client()
    agents = []
    client.meta.events.register(
        "before-send.s3.*", lambda request, **_: agents.append(request.headers["User-Agent"])
    )
    client.head_bucket(Bucket=bucket)
    assert agents[0].startswith(f"sluice/{__version__} ".encode())

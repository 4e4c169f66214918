"""A sync's files on their way to a bucket of SeaweedFS: whole or not at all, `existing` last."""

import contextlib
import hashlib
import json

import pytest
from botocore.config import Config
from fault_proxy import FaultProxy

from sluice.access.bucket_errors import BucketAccessError, BucketUnavailable
from sluice.access.storage import S3Store
from sluice.cohorts import deliver_files as module
from sluice.cohorts.deliver_files import deliver_files
from sluice.cohorts.staged_file import StagingError
from sluice.config import S3CohortDestination
from sluice.ledger.syncs import TurnFile

PART = 5 << 20


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(module, "PART_BYTES", PART)


@pytest.fixture
def destination(bucket):
    return S3CohortDestination(
        id="crm", name="CRM", owner="owner@example.com", projects=[187520], kind="s3", bucket=bucket,
        path="cohorts",
    )  # fmt: skip


class Turn:
    """Staged files in memory: two small ones, and one of three parts."""

    def __init__(self):
        self.content = {
            "exiting.csv": b'amplitudeID,userID\n"1","a"\n',
            "entering.csv": b"amplitudeID,userID\n",
            "existing.csv": b'amplitudeID,userID\n"2","b"\n' * ((2 * PART + 1_000_000) // 27),
        }
        self.files = [
            TurnFile(
                name,
                1,
                len(data),
                hashlib.sha256(data).hexdigest(),
                sent=True,
                key=f"cohorts/1_x_2013-01-01T00-00_{name}",
            )
            for name, data in self.content.items()
        ]

    def read(self, file):
        data = self.content[file.name]
        # Blocks that are no divisor of a part.
        for start in range(0, len(data), 700_001):
            yield data[start : start + 700_001]


@pytest.fixture
def turn():
    return Turn()


def client_of(access, url=None):
    """Return a client that tries once, so that a fault is an error."""
    store = S3Store.of(
        access_key=access.access_key, secret_key=access.secret_key, endpoint_url=url or access.endpoint_url
    )
    return store.session.client(
        "s3",
        endpoint_url=store.endpoint_url,
        region_name=store.region,
        config=Config(
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def objects(s3, bucket):
    return {
        item["Key"].rpartition("_")[2]: s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
        for item in s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    }


def open_uploads(s3, bucket):
    return [item["Key"] for item in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]


def test_the_files_come_in_their_order_as_they_were_fixed(s3, s3_access, bucket, destination, turn):
    seen = []
    with FaultProxy(s3_access.endpoint_url) as proxy:
        deliver_files(
            turn.files, turn.read, client_of(s3_access, proxy.url), destination,
            lambda file, sent: seen.append((file.name, sent)),
        )  # fmt: skip
        makes = [path.partition("?")[0].rpartition("_")[2] for kind, path, _ in proxy.requests
                 if kind in ("put", "complete")]  # fmt: skip
    assert makes == ["exiting.csv", "entering.csv", "existing.csv"]
    assert objects(s3, bucket) == turn.content
    existing = turn.files[2]
    assert seen == [
        ("exiting.csv", turn.files[0].bytes),
        ("entering.csv", turn.files[1].bytes),
        *(("existing.csv", sent) for sent in (PART, 2 * PART, existing.bytes)),
    ]
    head = s3.head_object(Bucket=bucket, Key=existing.key)
    assert head["ContentType"] == "text/csv"
    assert head["Metadata"] == {"sluice-sha256": existing.sha256, "sluice-rows": "1"}
    # Again, as a retry does: the same objects, and no others.
    deliver_files(turn.files, turn.read, client_of(s3_access), destination)
    assert objects(s3, bucket) == turn.content


@pytest.mark.parametrize(
    ("kind", "name", "arrived"),
    [
        ("put", "entering.csv", ["exiting.csv"]),
        ("create", "existing.csv", ["exiting.csv", "entering.csv"]),
        ("part", "existing.csv", ["exiting.csv", "entering.csv"]),
        ("complete", "existing.csv", ["exiting.csv", "entering.csv"]),
    ],
)
def test_a_broken_try_leaves_no_half_file_and_the_next_completes(
    s3, s3_access, bucket, destination, turn, kind, name, arrived
):
    def choose(asked, path, before):
        return "reset" if asked == kind and name in path else None

    with FaultProxy(s3_access.endpoint_url, choose) as proxy:
        with pytest.raises(BucketUnavailable):
            deliver_files(turn.files, turn.read, client_of(s3_access, proxy.url), destination)
        assert proxy.faults("reset")
    assert objects(s3, bucket) == {name: turn.content[name] for name in arrived}
    assert open_uploads(s3, bucket) == []
    deliver_files(turn.files, turn.read, client_of(s3_access), destination)
    assert objects(s3, bucket) == turn.content


def test_an_upload_that_a_killed_try_left_open_is_aborted(s3, s3_access, bucket, destination, turn):
    key = turn.files[2].key
    s3.create_multipart_upload(Bucket=bucket, Key=key)
    s3.create_multipart_upload(Bucket=bucket, Key=f"{key}.of-somebody-else")
    deliver_files(turn.files, turn.read, client_of(s3_access), destination)
    assert open_uploads(s3, bucket) == [f"{key}.of-somebody-else"]
    assert objects(s3, bucket) == turn.content


@pytest.mark.parametrize("name", ["exiting.csv", "existing.csv"])
@pytest.mark.parametrize("damage", ["changed", "cut off"])
def test_staged_bytes_that_changed_are_not_sent(s3, s3_access, bucket, destination, turn, name, damage):
    data = turn.content[name]
    turn.content[name] = data.replace(b'"', b"'", 1) if damage == "changed" else data[:-5]
    with pytest.raises(StagingError, match=f"{name} for cohorts/.*is not what was fixed"):
        deliver_files(turn.files, turn.read, client_of(s3_access), destination)
    assert name not in objects(s3, bucket)
    assert open_uploads(s3, bucket) == []


def test_who_lost_the_turn_stops_within_a_file(s3, s3_access, bucket, destination, turn):
    class LostError(Exception):
        pass

    def on_progress(file, sent):
        if file.name == "existing.csv":
            raise LostError

    with pytest.raises(LostError):
        deliver_files(turn.files, turn.read, client_of(s3_access), destination, on_progress)
    assert list(objects(s3, bucket)) == ["entering.csv", "exiting.csv"]
    assert open_uploads(s3, bucket) == []


def test_another_writer_s_object_is_noticed(s3, s3_access, bucket, destination, turn):
    client = client_of(s3_access)
    client.meta.events.register(
        "after-call.s3.PutObject",
        lambda **_: s3.put_object(Bucket=bucket, Key=turn.files[0].key, Body=b"something else"),
    )
    with pytest.raises(BucketUnavailable, match="is not what was sent"):
        deliver_files(turn.files, turn.read, client, destination)


def test_another_try_that_aborts_the_upload_is_worth_a_retry(s3, s3_access, bucket, destination, turn):
    def on_progress(file, sent):
        if file.name == "existing.csv":
            for item in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
                s3.abort_multipart_upload(Bucket=bucket, Key=item["Key"], UploadId=item["UploadId"])

    with pytest.raises(BucketUnavailable, match="Something else works on the same files"):
        deliver_files(turn.files, turn.read, client_of(s3_access), destination, on_progress)


@pytest.fixture
def deny(s3, bucket):
    def deny(action):
        statement = {
            "Effect": "Deny", "Principal": "*", "Action": action,
            "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        }  # fmt: skip
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    yield deny
    with contextlib.suppress(s3.exceptions.ClientError):
        s3.delete_bucket_policy(Bucket=bucket)


@pytest.mark.parametrize("action", ["s3:PutObject", "s3:GetObject"])
def test_the_missing_permission_comes_with_its_statement(s3_access, bucket, destination, turn, deny, action):
    deny(action)
    with pytest.raises(BucketAccessError) as caught:
        deliver_files(turn.files, turn.read, client_of(s3_access), destination)
    resource = f"arn:aws:s3:::{bucket}/cohorts/*"
    message = str(caught.value)
    assert f"the missing permission is {action} on {resource}." in message
    assert json.dumps({"Effect": "Allow", "Action": action, "Resource": resource}) in message
    assert "docs/cohorts.md has the whole policy" in message


def test_a_bucket_that_does_not_exist(s3_access, destination, turn):
    gone = destination.model_copy(update={"bucket": "no-such-bucket-anywhere"})
    with pytest.raises(BucketAccessError, match="no-such-bucket-anywhere does not exist"):
        deliver_files(turn.files, turn.read, client_of(s3_access), gone)

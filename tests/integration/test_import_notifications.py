"""S3's notifications through a real queue: switched on, taken, and gone only once the ledger knows."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from fresh import fresh_lake, fresh_ledger

from sluice.access.queues import QueueError, SqsQueue
from sluice.access.storage import S3Store
from sluice.config import ImportConfig
from sluice.errors import SluiceError
from sluice.imports import discovery, inbox
from sluice.imports.discovery import discover
from sluice.imports.inbox import Inbox
from sluice.imports.notifications import NotificationsTaken, enable_notifications
from sluice.imports.session import ImportRun
from sluice.ledger import files
from sluice.ledger.database import LedgerUnavailable

pytestmark = pytest.mark.integration

ACCOUNT = "123456789012"
FUNCTION = {"event_type": "name", "user_id": "user", "time": "time"}
CONVERTER = {
    "converterConfig": {"fileType": "json", "compressionType": "none", "convertToAmplitudeFunc": FUNCTION},
    "keyValidatorConfig": {"filterPattern": r".*\.json"},
}


class Customer:
    """A bucket and a queue of a customer's, and the source that is configured for them."""

    def __init__(self, session: boto3.Session, endpoint: str, folder: Path) -> None:
        self.session = session
        self.s3 = self.session.client("s3", endpoint_url=endpoint)
        self.sqs = self.session.client("sqs", endpoint_url=endpoint)
        self.bucket = f"customer-{uuid.uuid4().hex[:16]}"
        self.s3.create_bucket(Bucket=self.bucket)
        self.endpoint, self.folder = endpoint, folder
        self.ledger = fresh_ledger(folder / "ledger.db")
        self.lake = fresh_lake(folder / "lake")
        self.queue = SqsQueue(self.new_queue(), "us-east-1", self.session, endpoint)
        self.source = self.new_source("small", "in/", self.queue)

    def new_queue(self, policy: bool = True) -> str:
        name = f"files-{uuid.uuid4().hex[:16]}"
        url: str = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "s3.amazonaws.com"},
            "Action": ["sqs:SendMessage"],
            "Resource": f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}",
            "Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{self.bucket}"}},
        }
        if policy:
            text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": text})
        return url

    def new_source(self, id: str, prefix: str, queue: SqsQueue) -> ImportConfig:
        return ImportConfig.model_validate(
            {
                "id": id,
                "name": "Small files",
                "owner": "data@example.com",
                "project": 187520,
                "bucket": self.bucket,
                "prefix": prefix,
                "region": "us-east-1",
                "account": "own",
                "converter": "small.json",
                "size_policy": "ignore",
                "discovery": "notifications",
                "queue": queue.url,
            }
        )

    def enable(self, source: ImportConfig | None = None, queue: SqsQueue | None = None) -> None:
        store = S3Store(self.session, self.endpoint)
        enable_notifications(source or self.source, store, self.ledger, queue or self.queue)

    def configuration(self) -> dict[str, Any]:
        answer: Any = self.s3.get_bucket_notification_configuration(Bucket=self.bucket)
        return {entry["Id"]: entry for entry in answer.get("QueueConfigurations", [])}

    def put(self, name: str, prefix: str = "in/") -> None:
        self.s3.put_object(Bucket=self.bucket, Key=f"{prefix}{name}", Body=b"{}")

    def discover(self) -> discovery.Discovery:
        path = self.folder / "small.json"
        path.write_text(json.dumps(CONVERTER))
        run = ImportRun(
            self.source, "run", S3Store(self.session, self.endpoint), self.lake, self.ledger, path
        )
        return discover(run, Inbox(self.queue))

    def known(self) -> list[str]:
        return sorted(file.key for file in files.of_source(self.ledger, "small"))

    def waiting_messages(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.sqs.get_queue_attributes(QueueUrl=self.queue.url, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)


@pytest.fixture(scope="module")
def session() -> boto3.Session:
    """Open one session for all tests: each reads botocore's models anew."""
    keys = {"aws_access_key_id": "local-key", "aws_secret_access_key": "local-secret"}
    return boto3.Session(region_name="us-east-1", **keys)


@pytest.fixture
def customer(
    session: boto3.Session, moto_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Customer:
    monkeypatch.setattr(inbox, "_WAIT_SECONDS", 0)
    return Customer(session, moto_endpoint, tmp_path)


def test_a_notified_object_is_found_without_a_listing(customer: Customer) -> None:
    customer.put("before.json")
    customer.enable()
    first = customer.discover()
    assert (first.how, first.ignored) == ("everything", {"test event": 1})
    assert customer.known() == ["in/before.json"]

    customer.put("a#b c+é.json")
    customer.put("ignored.csv")
    customer.put("other.json", prefix="out/")
    upload = customer.s3.create_multipart_upload(Bucket=customer.bucket, Key="in/multi.json")["UploadId"]
    part = customer.s3.upload_part(
        Bucket=customer.bucket, Key="in/multi.json", UploadId=upload, PartNumber=1, Body=b"{}"
    )
    customer.s3.complete_multipart_upload(
        Bucket=customer.bucket,
        Key="in/multi.json",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    customer.put("gone.json")
    customer.s3.delete_object(Bucket=customer.bucket, Key="in/gone.json")
    second = customer.discover()
    # The emulator tells twice of a multipart upload: 5 messages, 4 keys.
    assert (second.how, second.messages, second.new, second.gone) == ("what was notified", 5, 2, 1)
    assert customer.known() == ["in/a#b c+é.json", "in/before.json", "in/multi.json"]
    assert customer.waiting_messages() == 0


def test_messages_stay_until_the_ledger_has_their_files(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer.enable()
    customer.discover()
    customer.put("a.json")
    with monkeypatch.context() as patch, pytest.raises(LedgerUnavailable):
        patch.setattr(inbox, "_HIDDEN_SECONDS", 0)
        patch.setattr(files, "add_new", _unavailable)
        customer.discover()
    assert customer.waiting_messages() == 1
    assert customer.discover().new == 1
    assert customer.waiting_messages() == 0


def _unavailable(*arguments: Any) -> None:
    raise LedgerUnavailable("away")


def test_an_object_that_may_not_be_read_holds_up_no_other(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer.enable()
    customer.discover()
    customer.put("a.json")
    customer.put("secret.json")
    refuse(monkeypatch, "HeadObject", lambda parameters: "secret" in parameters["Key"])
    assert customer.discover().new == 2
    assert customer.waiting_messages() == 0


def refuse(
    monkeypatch: pytest.MonkeyPatch, call: str, when: Callable[[Any], bool] = lambda parameters: True
) -> None:
    """Answer a call as AWS does without the permission: the emulator lets everybody in."""
    answer = BaseClient._make_api_call

    def refused(self: Any, operation: str, parameters: Any) -> Any:
        if operation == call and when(parameters):
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, operation)
        return answer(self, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", refused)


def test_more_messages_than_a_run_takes_wait_for_the_next(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer.enable()
    customer.discover()
    monkeypatch.setattr(inbox, "PORTION", 4)
    monkeypatch.setattr(inbox, "MAX_MESSAGES", 10)
    for number in range(13):
        customer.put(f"{number}.json")
    assert [customer.discover().new, customer.discover().new] == [10, 3]
    assert customer.waiting_messages() == 0


def test_hostile_messages_are_counted_and_gone(customer: Customer) -> None:
    customer.enable()
    customer.discover()
    for body in ("not JSON", "[" * 50_000, '{"Records": [{"eventName": "ObjectCreated:Put", "s3": 7}]}'):
        customer.sqs.send_message(QueueUrl=customer.queue.url, MessageBody=body)
    found = customer.discover()
    assert found.ignored == {"not JSON": 2, "another bucket": 1}
    assert customer.waiting_messages() == 0


def test_enabling_again_changes_nothing_and_asks_for_a_listing(customer: Customer) -> None:
    customer.enable()
    customer.discover()
    before = customer.configuration()
    assert list(before) == ["sluice-import-small"]
    assert before["sluice-import-small"]["Filter"]["Key"]["FilterRules"][0]["Value"] == "in/"
    customer.enable()
    assert customer.configuration() == before
    customer.put("unheard.json", prefix="in/late/")
    customer.sqs.purge_queue(QueueUrl=customer.queue.url)
    assert customer.discover().how == "everything"
    assert customer.known() == ["in/late/unheard.json"]


def test_two_sources_share_a_bucket(customer: Customer) -> None:
    second = SqsQueue(customer.new_queue(), "us-east-1", customer.session, customer.endpoint)
    customer.enable()
    customer.enable(customer.new_source("second", "more/", second), second)
    assert sorted(customer.configuration()) == ["sluice-import-second", "sluice-import-small"]


def test_a_bucket_that_notifies_others_is_left_alone(customer: Customer) -> None:
    entry = {"Id": "theirs", "QueueArn": customer.queue.arn, "Events": ["s3:ObjectRemoved:*"]}
    customer.s3.put_bucket_notification_configuration(
        Bucket=customer.bucket, NotificationConfiguration={"QueueConfigurations": [entry]}
    )
    with pytest.raises(NotificationsTaken, match=r"theirs to arn:aws:sqs:.*\(s3:ObjectRemoved:\*\)"):
        customer.enable()
    assert list(customer.configuration()) == ["theirs"]


def test_a_queue_that_refuses_the_bucket_is_told_what_to_add(customer: Customer) -> None:
    closed = SqsQueue(customer.new_queue(policy=False), "us-east-1", customer.session, customer.endpoint)
    with pytest.raises(QueueError, match="add the statement") as caught:
        customer.enable(queue=closed)
    statement = json.loads(str(caught.value).partition("statement ")[2])
    text = json.dumps({"Version": "2012-10-17", "Statement": statement})
    customer.sqs.set_queue_attributes(QueueUrl=closed.url, Attributes={"Policy": text})
    customer.enable(queue=closed)
    assert list(customer.configuration()) == ["sluice-import-small"]


def test_a_queue_that_is_not_there_is_named(customer: Customer) -> None:
    missing = SqsQueue(f"{customer.queue.url}-x", "us-east-1", customer.session, customer.endpoint)
    with pytest.raises(QueueError, match="-x does not exist"):
        customer.enable(queue=missing)
    with pytest.raises(QueueError, match="-x does not exist"):
        list(Inbox(missing).portions())


@pytest.mark.parametrize(
    ("call", "action"),
    [
        ("GetBucketNotificationConfiguration", "s3:GetBucketNotification on arn:aws:s3:::"),
        ("PutBucketNotificationConfiguration", "s3:PutBucketNotification on arn:aws:s3:::"),
        ("GetQueueAttributes", "sqs:GetQueueAttributes on arn:aws:sqs:"),
    ],
)
def test_a_missing_permission_is_named(
    customer: Customer, call: str, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, call)
    with pytest.raises(SluiceError, match=f"lacks {action}"):
        customer.enable()

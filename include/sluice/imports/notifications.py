"""Switching on a bucket's notifications of new files: only where nobody else has any (decisions I-17)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from sluice.access.queues import QueueError, SqsQueue
from sluice.access.storage import S3Store
from sluice.config import ImportConfig
from sluice.errors import SluiceError, TransientError
from sluice.imports.errors import ImportAccessError
from sluice.imports.objects import explain_refusal
from sluice.ledger import Ledger, sweeps

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Names of our entries in a bucket's configuration begin so: several sources may share a bucket.
_OURS = "sluice-import-"
_EVENTS = ["s3:ObjectCreated:*"]
# The kinds of a bucket's notification configuration; any of them takes what we might miss.
_KINDS = ("QueueConfigurations", "TopicConfigurations", "LambdaFunctionConfigurations")


class NotificationsTaken(SluiceError):
    """The bucket notifies somebody else, whose configuration is not ours to replace."""


def enable_notifications(source: ImportConfig, store: S3Store, ledger: Ledger, queue: SqsQueue) -> None:
    """Let the bucket tell the source's queue of new files, and make the source's next run list everything.

    Notifications are not retroactive, so what came before them is found by that run; S3's own test message,
    which it sends now, starts it. Harmless if it was done before. Raises NotificationsTaken, QueueError with
    the statement that the queue's policy lacks, or ImportAccessError with the missing permission.
    """
    client = store.client()
    kept = _others_of_ours(client, source)
    arn = _require_permission(source, queue)
    entry = {
        "Id": f"{_OURS}{source.id}",
        "QueueArn": arn,
        "Events": _EVENTS,
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": source.prefix}]}},
    }
    configuration: Any = {"QueueConfigurations": [*kept, entry]}
    try:
        client.put_bucket_notification_configuration(
            Bucket=source.bucket, NotificationConfiguration=configuration
        )
    except (ClientError, BotoCoreError) as error:
        _explain(error, source, queue)
    # Asked for when notifications are on: a listing that is under way now does not count.
    sweeps.request(ledger, source.id)


def _others_of_ours(client: S3Client, source: ImportConfig) -> list[Any]:
    """Return the entries of other Sluice sources. Raises NotificationsTaken if there are any others."""
    try:
        present: Any = client.get_bucket_notification_configuration(Bucket=source.bucket)
    except ClientError as error:
        explain_refusal(error, "s3:GetBucketNotification", f"arn:aws:s3:::{source.bucket}", source.bucket)
    except BotoCoreError as error:
        raise TransientError(f"The bucket {source.bucket} cannot be asked now: {error}") from error
    queues = present.get("QueueConfigurations", [])
    ours = [entry for entry in queues if str(entry.get("Id", "")).startswith(_OURS)]
    foreign = list(_foreign(present))
    if foreign:
        raise NotificationsTaken(
            f"The bucket {source.bucket} already notifies others, and its configuration holds all receivers:"
            f" {'; '.join(foreign)}. Remove that first, or use `discovery: scan` for {source.id}."
        )
    return [entry for entry in ours if entry["Id"] != f"{_OURS}{source.id}"]


def _foreign(present: dict[str, Any]) -> Iterator[str]:
    for kind in _KINDS:
        for entry in present.get(kind, []):
            name = str(entry.get("Id", "without id"))
            if kind == "QueueConfigurations" and name.startswith(_OURS):
                continue
            target = next((str(value) for key, value in entry.items() if key.endswith("Arn")), "?")
            yield f"{name} to {target} ({', '.join(entry.get('Events', []))})"
    if "EventBridgeConfiguration" in present:
        yield "EventBridge (all events)"


def _require_permission(source: ImportConfig, queue: SqsQueue) -> str:
    """Return the queue's ARN. Raises QueueError if it is not there, or does not let the bucket send."""
    try:
        answer = queue.client().get_queue_attributes(
            QueueUrl=queue.url, AttributeNames=["Policy", "QueueArn"]
        )
    except (ClientError, BotoCoreError) as error:
        queue.explain(error, "sqs:GetQueueAttributes")
    attributes = answer.get("Attributes", {})
    arn = str(attributes.get("QueueArn", queue.arn))
    bucket = f"arn:aws:s3:::{source.bucket}"
    try:
        policy = json.loads(attributes.get("Policy") or "{}")
    except ValueError:
        policy = {}
    statements = policy.get("Statement", []) if isinstance(policy, dict) else []
    statements = statements if isinstance(statements, list) else [statements]
    if any(_lets_send(statement, arn, bucket) for statement in statements):
        return arn
    missing = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": bucket}},
    }
    raise QueueError(
        f"The policy of the queue {queue.url} does not let the bucket {source.bucket} send to it: add the"
        f" statement {json.dumps(missing)}"
    )


def _lets_send(statement: object, queue: str, bucket: str) -> bool:
    """Say whether a statement lets S3 send from the bucket, as far as its own words tell."""
    if not isinstance(statement, dict) or statement.get("Effect") != "Allow":
        return False
    principal = statement.get("Principal")
    services = principal.get("Service", principal.get("AWS")) if isinstance(principal, dict) else principal
    if not {"s3.amazonaws.com", "*"} & set(_texts(services)):
        return False
    if not any(fnmatchcase("sqs:sendmessage", action.lower()) for action in _texts(statement.get("Action"))):
        return False
    if not any(fnmatchcase(queue, resource) for resource in _texts(statement.get("Resource"))):
        return False
    conditions = statement.get("Condition")
    sources = [
        arn
        for test in (conditions.values() if isinstance(conditions, dict) else ())
        for name, value in (test.items() if isinstance(test, dict) else ())
        if str(name).lower() == "aws:sourcearn"
        for arn in _texts(value)
    ]
    return not sources or any(fnmatchcase(bucket, arn) for arn in sources)


def _texts(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def _explain(error: ClientError | BotoCoreError, source: ImportConfig, queue: SqsQueue) -> NoReturn:
    if not isinstance(error, ClientError):
        raise TransientError(f"The bucket {source.bucket} cannot be configured now: {error}") from error
    if error.response.get("Error", {}).get("Code") == "InvalidArgument":
        raise ImportAccessError(
            f"S3 refuses to notify {queue.arn} of new files below s3://{source.bucket}/{source.prefix}:"
            f" {error.response['Error'].get('Message')}. The queue must lie in the bucket's region and be no"
            " FIFO queue; if it is encrypted, its KMS key must let s3.amazonaws.com use kms:GenerateDataKey*"
            " and kms:Decrypt; and no other source may have a prefix that begins like this one's."
        ) from error
    explain_refusal(error, "s3:PutBucketNotification", f"arn:aws:s3:::{source.bucket}", source.bucket)

"""One Kinesis data stream with the credentials and the endpoint that reach it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sluice.access.errors import StreamAccessError as StreamAccessError
from sluice.access.errors import StreamUnavailable as StreamUnavailable
from sluice.access.refusals import (
    Permission,
    credentials_fault,
    error_code,
    error_message,
    lacks_credentials,
    missing_permission,
)
from sluice.errors import SluiceError

# What the vendor's page has a customer allow (amplitude-spec 3.3).
_ACTIONS = ["kinesis:PutRecord", "kinesis:PutRecords", "iam:SimulatePrincipalPolicy"]
_KMS = {
    "KMSAccessDeniedException",
    "KMSDisabledException",
    "KMSInvalidStateException",
    "KMSNotFoundException",
    "KMSOptInRequired",
}
# What more of the same would be refused for as well: a field or a size that the service does not take.
_INVALID = {"ValidationException", "InvalidArgumentException", "SerializationException"}
_ACCOUNT = re.compile(r"arn:[\w-]+:(?:iam|sts|kinesis):[\w-]*:(\d{12}):")
_ROLE = re.compile(r"arn:[\w-]+:sts::\d{12}:assumed-role/([\w+=,.@-]+)/")
_ACTIVE = {"ACTIVE", "UPDATING"}


@dataclass(frozen=True)
class StreamFacts:
    """What a stream says of itself: its open shards, and the largest record that it takes, if it says so."""

    shards: int
    max_record_bytes: int | None


@dataclass(frozen=True)
class KinesisStream:
    """A data stream by its name and region; `endpoint_url` is None for AWS itself."""

    name: str
    region: str
    session: boto3.Session = field(repr=False)
    endpoint_url: str | None = None

    def client(self, timeout_seconds: float = 10.0) -> Any:
        """Return a boto3 client that tries each request once and gives it up after `timeout_seconds`.

        Trying again is the caller's, who knows which records of a request are missing and how long it has.
        """
        config = Config(
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=timeout_seconds / 3,
            read_timeout=timeout_seconds * 2 / 3,
        )
        return self.session.client(
            "kinesis", endpoint_url=self.endpoint_url, region_name=self.region, config=config
        )

    def arn(self, account: str = "{account-id}") -> str:
        """Return the stream's ARN in an account."""
        return f"arn:aws:kinesis:{self.region}:{account}:stream/{self.name}"

    def facts(self, client: Any) -> StreamFacts | None:
        """Ask the stream for its shards; None where the connection's identity may not, or nothing answers.

        Raises StreamAccessError if there is no such stream, StreamUnavailable while it is being created.
        """
        try:
            summary = client.describe_stream_summary(StreamName=self.name)["StreamDescriptionSummary"]
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                raise self._missing() from error
            return None
        except BotoCoreError:
            return None
        if summary["StreamStatus"] not in _ACTIVE:
            raise StreamUnavailable(
                f"The stream {self.name} in {self.region} takes nothing while its status is"
                f" {summary['StreamStatus']}: wait until it is ACTIVE; the task is retried."
            )
        kibibytes = summary.get("MaxRecordSizeInKiB")
        return StreamFacts(max(summary["OpenShardCount"], 1), kibibytes and kibibytes << 10)

    def refusal(self, error: ClientError | BotoCoreError) -> SluiceError:
        """Return what a refused PutRecords means: StreamAccessError, or StreamUnavailable to try it again."""
        if isinstance(error, BotoCoreError):
            if lacks_credentials(error):
                return StreamAccessError(
                    f"There are no AWS credentials for the stream {self.name}: set them in the Airflow"
                    " connection that the destination's YAML names."
                )
            return StreamUnavailable(f"The stream {self.name} does not answer: {error}")
        code, message = error_code(error), error_message(error)
        if code == "ResourceNotFoundException":
            return self._missing()
        if fault := credentials_fault(error):
            return StreamAccessError(
                f"{fault} ({code}), so the stream {self.name} cannot be used: correct the Airflow connection"
                " that the destination's YAML names."
            )
        if code in _KMS or (code == "AccessDeniedException" and "kms:" in message):
            return StreamAccessError(
                f"The stream {self.name} is there, but the KMS key that encrypts it cannot be used ({code}:"
                f" {message}): see that the key exists in {self.region} and is enabled, and that its policy"
                " lets the connection's credentials use it (kms:GenerateDataKey, kms:Decrypt)."
            )
        if missing := missing_permission(error, Permission("kinesis:PutRecords", self._arn_of(message))):
            # A bare status comes from servers other than AWS.
            doubt = ", unless the connection's credentials are wrong" if code == "403" else ""
            return StreamAccessError(
                f"Access to the stream {self.name} is denied ({code}){doubt}: the missing permission is"
                f" {missing.action} on {missing.resource}. Add this statement to the IAM policy of the"
                f" connection's role or user: {self._statement(missing.resource, message)}; see as well that"
                " no statement denies it. New policies take some minutes."
            )
        if code in _INVALID:
            return StreamAccessError(
                f"The stream {self.name} does not take these records ({code}: {message}): compare"
                " `max_record_bytes` and `stream` of the destination's YAML with the stream's settings."
            )
        return StreamUnavailable(f"The stream {self.name} takes nothing now ({code}: {message})")

    def _missing(self) -> StreamAccessError:
        return StreamAccessError(
            f"There is no stream {self.name} in {self.region}: create it, or correct `stream`, `region` or"
            " `connection` in the destination's YAML (the connection decides the account)."
        )

    def _arn_of(self, message: str) -> str:
        account = _ACCOUNT.search(message)
        return self.arn(account[1]) if account else self.arn()

    def _statement(self, resource: str, message: str) -> str:
        """Return the statement of the vendor's page; without a role there is nothing to simulate."""
        role, account = _ROLE.search(message), _ACCOUNT.search(message)
        if role is None or account is None:
            return json.dumps({"Effect": "Allow", "Action": _ACTIONS[:2], "Resource": [resource]})
        resources = [resource, f"arn:aws:iam::{account[1]}:role/{role[1]}"]
        return json.dumps({"Effect": "Allow", "Action": _ACTIONS, "Resource": resources})

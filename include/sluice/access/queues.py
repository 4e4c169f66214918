"""One SQS queue with the credentials and the endpoint that reach it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from sluice.errors import SluiceError, TransientError

_CLIENT_CONFIG = Config(retries={"mode": "standard", "max_attempts": 8}, connect_timeout=10, read_timeout=60)
_MISSING = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "InvalidAddress"}
_DENIED = {"AccessDenied", "AccessDeniedException", "AWS.SimpleQueueService.AccessDenied"}
_BAD_CREDENTIALS = {"InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException"}
_BAD_CREDENTIALS |= {"ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId"}


class QueueError(SluiceError):
    """The queue cannot be used as it is configured; the message names what is missing."""


@dataclass(frozen=True)
class SqsQueue:
    """A queue by its URL; `endpoint_url` is None for AWS itself, `region` is the bucket's as well."""

    url: str
    region: str
    session: boto3.Session = field(repr=False)
    endpoint_url: str | None = None

    def client(self) -> Any:
        """Return a boto3 client of the queue's service."""
        return self.session.client(
            "sqs", endpoint_url=self.endpoint_url, region_name=self.region, config=_CLIENT_CONFIG
        )

    @property
    def arn(self) -> str:
        """The queue's ARN, as far as its URL tells: …/<account>/<name>."""
        account, _, name = urlsplit(self.url).path.strip("/").rpartition("/")
        return f"arn:aws:sqs:{self.region}:{account.rpartition('/')[2] or '*'}:{name}"

    def explain(self, error: ClientError | BotoCoreError, action: str) -> NoReturn:
        """Raise what a person can do about a refused call: QueueError, or TransientError to try again."""
        if isinstance(error, NoCredentialsError | PartialCredentialsError):
            raise QueueError(
                f"No AWS credentials for the queue {self.url}: set them in the source's Airflow connection."
            ) from error
        if not isinstance(error, ClientError):
            raise TransientError(f"The queue {self.url} does not answer now: {error}") from error
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _MISSING:
            raise QueueError(
                f"The queue {self.url} does not exist: check `queue` and `region` of the source, and the"
                " account of its Airflow connection."
            ) from error
        if code in _DENIED:
            raise QueueError(
                f"Access denied: the connection's identity lacks {action} on {self.arn}. Allow it in the"
                f' role\'s policy: {{"Effect": "Allow", "Action": "{action}", "Resource": "{self.arn}"}}; a'
                " Deny elsewhere wins over it."
            ) from error
        if code in _BAD_CREDENTIALS:
            raise QueueError(
                f"SQS refuses the credentials ({code}): check the source's Airflow connection."
            ) from error
        raise TransientError(f"The queue {self.url} refuses {action} now: {error}") from error

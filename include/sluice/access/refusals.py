"""What AWS means by a refusal: the permission that is missing, or what is wrong with the credentials."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
    TokenRetrievalError,
)

# HEAD answers have no body, hence only the status.
_DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "AllAccessDisabled",
    "403",
    "Forbidden",
    "UnauthorizedAccess",
}
# AWS names what it missed, for KMS above all: a request for S3 may fail for the right to the key.
_NAMED = re.compile(r"not authorized to perform: ([a-z0-9-]+:\w+)(?: on (?:resource: )?\"?(arn:[^\s\"]+))?")
_CREDENTIALS = {
    "InvalidAccessKeyId": "The access key is unknown to the store",
    "UnrecognizedClientException": "The access key is unknown to AWS, or its session's token is not valid",
    "SignatureDoesNotMatch": "The secret key does not belong to the access key",
    "InvalidSignatureException": "The secret key does not belong to the access key",
    "ExpiredToken": "The session's token has expired",
    "ExpiredTokenException": "The session's token has expired",
    "InvalidToken": "The session's token is not valid",
    "InvalidClientTokenId": "The session's token is not valid",
}


@dataclass(frozen=True)
class Permission:
    """The right to one action on one resource, for instance s3:PutObject on arn:aws:s3:::bucket/*."""

    action: str
    resource: str

    @property
    def statement(self) -> str:
        """The statement that gives it, as JSON, for an IAM policy; a bucket's policy adds the principal."""
        return json.dumps({"Effect": "Allow", "Action": self.action, "Resource": self.resource})


def error_code(error: ClientError) -> str:
    """Return the code of an answer, for instance NoSuchBucket; of a HEAD, its status."""
    return str(error.response.get("Error", {}).get("Code", ""))


def error_message(error: ClientError) -> str:
    """Return what the answer says besides its code."""
    return str(error.response.get("Error", {}).get("Message", ""))


def missing_permission(error: ClientError, asked: Permission) -> Permission | None:
    """Return the permission whose lack an answer means, or None if it is no denial.

    It is the one that the request asked for, unless AWS names another.
    """
    if error_code(error) not in _DENIED:
        return None
    if named := _NAMED.search(error_message(error)):
        return Permission(named[1], named[2] or asked.resource)
    return asked


def credentials_fault(error: ClientError) -> str | None:
    """Return what is wrong with the credentials that AWS refused, as half a sentence; None if nothing is."""
    return _CREDENTIALS.get(error_code(error))


def lacks_credentials(error: BotoCoreError) -> bool:
    """Say whether a request was never sent because there are no credentials to sign it with."""
    return isinstance(error, NoCredentialsError | PartialCredentialsError | TokenRetrievalError)

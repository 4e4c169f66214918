"""Turns what a store answers into an error that says which permission is missing and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
    TokenRetrievalError,
)

from sluice.errors import SluiceError
from sluice.exports.errors import BucketUnavailable, ExportAccessError, Refused

# The action that a policy must allow for each request, and whether its resource is the bucket itself.
_ACTIONS = {
    "list": ("s3:ListBucket", True),
    "list uploads": ("s3:ListBucketMultipartUploads", True),
    "head": ("s3:GetObject", False),
    "write": ("s3:PutObject", False),
    "delete": ("s3:DeleteObject", False),
    "abort": ("s3:AbortMultipartUpload", False),
}

# HEAD answers have no body, hence only the status: "403", "404", "412".
_DENIED = {
    "AccessDenied",
    "AllAccessDisabled",
    "403",
    "Forbidden",
    "UnauthorizedAccess",
}
# AWS names what it missed, for KMS above all: a request for S3 may fail for the right to the key.
_NAMED = re.compile(r"not authorized to perform: ([a-z0-9-]+:\w+)(?: on (?:resource: )?\"?(arn:[^\s\"]+))?")
_CREDENTIALS = {
    "InvalidAccessKeyId": "The access key is unknown to the store",
    "SignatureDoesNotMatch": "The secret key does not belong to the access key",
    "ExpiredToken": "The session's token has expired",
    "InvalidToken": "The session's token is not valid",
    "InvalidClientTokenId": "The session's token is not valid",
}
_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"}
# Somebody else changed the object or the upload; ConditionalRequestConflict is AWS's answer during a race.
_REFUSED = {
    "PreconditionFailed",
    "ConditionalRequestConflict",
    "NoSuchUpload",
    "NoSuchKey",
    "404",
    "412",
}


@contextmanager
def explained(request: str, bucket: str, prefix: str) -> Iterator[None]:
    """Turn botocore's errors within the block into those of this room.

    `request` is one of list, list uploads, head, write, delete, abort; `prefix` is the destination's. Raises
    ExportAccessError, Refused, or BucketUnavailable for what the client's own retries did not cure.
    """
    try:
        yield
    except ClientError as error:
        raise _translated(error, request, bucket, prefix) from error
    except (NoCredentialsError, PartialCredentialsError, TokenRetrievalError) as error:
        raise ExportAccessError(
            f"There are no AWS credentials for the bucket {bucket}: set them in the Airflow connection that"
            " the destination's YAML names."
        ) from error
    except BotoCoreError as error:
        raise BucketUnavailable(
            f"The store of the bucket {bucket} does not answer: {error}. Check the connection's endpoint_url"
            " and the network; the task is retried."
        ) from error


def _translated(error: ClientError, request: str, bucket: str, prefix: str) -> Exception:
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in _REFUSED:
        return Refused(f"{error.operation_name}: {code}")
    message = str(error.response.get("Error", {}).get("Message", ""))
    return _access_error(code, message, request, bucket, prefix) or BucketUnavailable(
        f"The store of the bucket {bucket} refused {error.operation_name}: {error}. The task is retried."
    )


def _access_error(code: str, message: str, request: str, bucket: str, prefix: str) -> SluiceError | None:
    if code == "NoSuchBucket":
        return ExportAccessError(
            f"The bucket {bucket} does not exist (NoSuchBucket): create it, or correct `bucket`, `region` or"
            " `connection` in the destination's YAML."
        )
    if code in _CREDENTIALS:
        return ExportAccessError(
            f"{_CREDENTIALS[code]} ({code}), so the bucket {bucket} cannot be used: correct the Airflow"
            " connection that the destination's YAML names."
        )
    if code in _REGION:
        return ExportAccessError(
            f"The bucket {bucket} lies in another region ({code}): set `region` in the destination's YAML."
        )
    if code.startswith("KMS."):
        return ExportAccessError(
            f"The bucket {bucket} is there, but the KMS key cannot be used ({code}: {message}): see that the"
            " key of `kms_key`, or of the bucket's default encryption, exists in the bucket's region and is"
            " enabled, and that its policy lets the connection's credentials use it (kms:GenerateDataKey,"
            " kms:Decrypt)."
        )
    if code in _DENIED:
        action, on_bucket = _ACTIONS[request]
        resource = f"arn:aws:s3:::{bucket}" if on_bucket else f"arn:aws:s3:::{bucket}/{prefix}*"
        if named := _NAMED.search(message):
            action, resource = named[1], named[2] or resource
        where = "the key's policy" if action.startswith("kms:") else "the bucket's policy"
        return ExportAccessError(
            f"Access to the bucket {bucket} is denied ({code or 'AccessDenied'}): the missing permission is"
            f" {action} on {resource}. Allow it to the credentials of the destination's connection in"
            f" {where} or in their IAM policy, and see that no statement denies it; new policies take"
            " some minutes. docs/export.md has the whole policy."
        )
    return None

"""Turns what a bucket's store answers into an error that says which permission is missing and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from sluice.access.errors import BucketAccessError as BucketAccessError
from sluice.access.errors import BucketUnavailable as BucketUnavailable
from sluice.access.errors import Refused as Refused
from sluice.access.refusals import (
    Permission,
    credentials_fault,
    error_code,
    error_message,
    lacks_credentials,
    missing_permission,
)
from sluice.errors import SluiceError

# The action that a policy must allow for each request, and whether its resource is the bucket itself.
_ACTIONS = {
    "list": ("s3:ListBucket", True),
    "list uploads": ("s3:ListBucketMultipartUploads", True),
    "head": ("s3:GetObject", False),
    "write": ("s3:PutObject", False),
    "delete": ("s3:DeleteObject", False),
    "abort": ("s3:AbortMultipartUpload", False),
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
def explained(request: str, bucket: str, prefix: str, page: str = "docs/export.md") -> Iterator[None]:
    """Turn botocore's errors within the block into those of this module.

    `request` is one of list, list uploads, head, write, delete, abort; `prefix` is the destination's; `page`
    shows the whole policy. Raises BucketAccessError, Refused, or BucketUnavailable for what the client's own
    retries did not cure.
    """
    try:
        yield
    except ClientError as error:
        raise _translated(error, request, bucket, prefix, page) from error
    except BotoCoreError as error:
        if lacks_credentials(error):
            raise BucketAccessError(
                f"There are no AWS credentials for the bucket {bucket}: set them in the Airflow connection"
                " that the destination's YAML names."
            ) from error
        raise BucketUnavailable(
            f"The store of the bucket {bucket} does not answer: {error}. Check the connection's endpoint_url"
            " and the network; the task is retried."
        ) from error


def _translated(error: ClientError, request: str, bucket: str, prefix: str, page: str) -> Exception:
    code = error_code(error)
    if code in _REFUSED:
        return Refused(f"{error.operation_name}: {code}")
    return _access_error(error, request, bucket, prefix, page) or BucketUnavailable(
        f"The store of the bucket {bucket} refused {error.operation_name}: {error}. The task is retried."
    )


def _access_error(
    error: ClientError, request: str, bucket: str, prefix: str, page: str
) -> SluiceError | None:
    code = error_code(error)
    if code == "NoSuchBucket":
        return BucketAccessError(
            f"The bucket {bucket} does not exist (NoSuchBucket): create it, or correct `bucket`, `region` or"
            " `connection` in the destination's YAML."
        )
    if fault := credentials_fault(error):
        return BucketAccessError(
            f"{fault} ({code}), so the bucket {bucket} cannot be used: correct the Airflow"
            " connection that the destination's YAML names."
        )
    if code in _REGION:
        return BucketAccessError(
            f"The bucket {bucket} lies in another region ({code}): set `region` in the destination's YAML."
        )
    if code.startswith("KMS."):
        return BucketAccessError(
            f"The bucket {bucket} is there, but the KMS key cannot be used ({code}: {error_message(error)}):"
            " see that the key of `kms_key`, or of the bucket's default encryption, exists in the bucket's"
            " region and is enabled, and that its policy lets the connection's credentials use it"
            " (kms:GenerateDataKey, kms:Decrypt)."
        )
    action, on_bucket = _ACTIONS[request]
    asked = Permission(action, f"arn:aws:s3:::{bucket}" + ("" if on_bucket else f"/{prefix}*"))
    if missing := missing_permission(error, asked):
        where = "the key's policy" if missing.action.startswith("kms:") else "the bucket's policy"
        return BucketAccessError(
            f"Access to the bucket {bucket} is denied ({code}): the missing permission is"
            f" {missing.action} on {missing.resource}. Allow it to the credentials of the destination's"
            f" connection in {where} or in their IAM policy, with the statement {missing.statement}, and see"
            f" that no statement denies it; new policies take some minutes. {page} has the whole policy."
        )
    return None

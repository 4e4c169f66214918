"""Refuse a store on which two writers could both believe that they created an object."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING

from sluice.errors import SluiceError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PROBE_PREFIX = ".sluice-probe/"
PRECONDITION_FAILED = 412
# What stores answer that know the header and do not serve it.
NOT_SERVED = {400, 405, 501}


class UnsafeStoreError(SluiceError):
    """The store does not honour conditional writes, so the lake's commits would not be safe on it."""


def probe_conditional_puts(s3_client: S3Client, bucket: str) -> None:
    """Put one object twice with `If-None-Match: *`; the second put must be refused with 412.

    The probe's object is removed again. A store that takes both puts, or that does not know the
    header, is refused; an error of access is raised as botocore has it.
    """
    from botocore.exceptions import ClientError

    store = f"{s3_client.meta.endpoint_url} (bucket {bucket})"
    key = PROBE_PREFIX + uuid.uuid4().hex
    try:
        try:
            s3_client.put_object(Bucket=bucket, Key=key, Body=b"first", IfNoneMatch="*")
        except ClientError as error:
            if _status(error) in NOT_SERVED:
                raise UnsafeStoreError(
                    f"the store {store} refuses a conditional put ({error}); the lake needs If-None-Match"
                ) from error
            raise
        try:
            s3_client.put_object(Bucket=bucket, Key=key, Body=b"second", IfNoneMatch="*")
        except ClientError as error:
            if _status(error) == PRECONDITION_FAILED:
                return
            raise UnsafeStoreError(
                f"the store {store} answers a conditional put of an existing object with {error},"
                f" where the lake needs status {PRECONDITION_FAILED}"
            ) from error
        raise UnsafeStoreError(
            f"the store {store} ignores If-None-Match: two writers could both commit one version of a"
            " table; keep the lake on a store with conditional writes, such as Amazon S3"
        )
    finally:
        # Where the put was denied, this is too, and says less.
        with contextlib.suppress(ClientError):
            s3_client.delete_object(Bucket=bucket, Key=key)


def _status(error: Exception) -> int:
    response: dict[str, dict[str, int]] = getattr(error, "response", {})
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))

"""The source's bucket: listing it, and streaming one object that must not have changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from urllib3.exceptions import HTTPError

from sluice.errors import TransientError
from sluice.imports.errors import FileError, ImportAccessError
from sluice.imports.ranges import RangedFile

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BLOCK_BYTES = 1 << 20
# How often in a row a download may break without a byte of progress before the task fails and is retried.
_BREAKS = 5

_BROKEN_DOWNLOAD = (
    BotoConnectionError,
    ConnectionClosedError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
    HTTPError,
    OSError,
)
_DENIED = {"AccessDenied", "403", "Forbidden", "AllAccessDisabled"}
_BAD_CREDENTIALS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}


@dataclass(frozen=True)
class ListedObject:
    """One object as a listing shows it; `size` in bytes, `etag` with its quotes."""

    key: str
    etag: str
    size: int
    last_modified: datetime


def list_objects(client: S3Client, bucket: str, prefix: str) -> Iterator[ListedObject]:
    """Stream all objects of a bucket whose key begins with `prefix`, a page of 1,000 at a time.

    Raises ImportAccessError for a bucket that does not exist or may not be listed.
    """
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    try:
        for page in pages:
            for item in page.get("Contents", ()):
                yield ListedObject(item["Key"], item["ETag"], item["Size"], item["LastModified"])
    except ClientError as error:
        explain_refusal(error, "s3:ListBucket", f"arn:aws:s3:::{bucket}", bucket)
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise ImportAccessError(
            f"No AWS credentials to list the bucket {bucket}: set them in the source's Airflow connection."
        ) from error
    except BotoCoreError as error:
        raise TransientError(f"The bucket {bucket} cannot be listed now: {error}") from error


def describe(client: S3Client, bucket: str, key: str) -> ListedObject:
    """Return one object as a listing would show it. Raises SluiceError if it is not there."""
    for item in list_objects(client, bucket, key):
        # The first key with this prefix is the key itself, if there is such an object.
        if item.key == key:
            return item
        break
    raise FileError(f"The object s3://{bucket}/{key} is not there: upload it again.")


def look_up(client: S3Client, bucket: str, key: str) -> ListedObject | None:
    """Return one object as a listing would show it, by its name alone; None if it is not there.

    Raises ImportAccessError if it may not be read.
    """
    try:
        head = client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if _code(error) in {"404", "NoSuchKey", "NotFound"}:
            return None
        explain_refusal(error, "s3:GetObject", f"arn:aws:s3:::{bucket}/{key}", bucket)
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise ImportAccessError(
            f"No AWS credentials to read s3://{bucket}/{key}: set them in the source's Airflow connection."
        ) from error
    except BotoCoreError as error:
        raise TransientError(f"s3://{bucket}/{key} cannot be looked at now: {error}") from error
    return ListedObject(key, head["ETag"], head["ContentLength"], head["LastModified"])


@dataclass(frozen=True)
class SourceObject:
    """One object as it was found. `seen` is told of every block with its size, and may raise to stop."""

    client: S3Client
    bucket: str
    key: str
    etag: str
    size: int
    seen: Callable[[int], None] = lambda size: None

    def blocks(self) -> Iterator[bytes]:
        """Stream the object from its beginning; see `read_blocks`."""
        for block in read_blocks(self.client, self.bucket, self.key, self.etag):
            yield block
            self.seen(len(block))

    def file(self, block_bytes: int, kept: int) -> RangedFile:
        """Open the object to be read anywhere; every read is of the version that was found."""
        return RangedFile(self._range, self.size, block_bytes, kept)

    def _range(self, start: int, end: int) -> bytes:
        block = b"".join(read_blocks(self.client, self.bucket, self.key, self.etag, start, end))
        self.seen(len(block))
        return block


def read_blocks(
    client: S3Client, bucket: str, key: str, etag: str, start: int = 0, end: int | None = None
) -> Iterator[bytes]:
    """Stream one object in blocks of 1 MiB at most, only as the version that `etag` names (invariant 4).

    `start` and `end` bound the bytes. A download that breaks goes on where it stopped. Raises FileError if
    the object was changed, removed or archived, ImportAccessError if it may not be read.
    """
    offset, breaks = start, 0
    while end is None or offset < end:
        body = _open(client, bucket, key, etag, offset, end)
        try:
            while block := body.read(BLOCK_BYTES):
                offset += len(block)
                breaks = 0
                yield block
        except _BROKEN_DOWNLOAD as error:
            breaks += 1
            if breaks >= _BREAKS:
                raise TransientError(
                    f"The download of s3://{bucket}/{key} broke {breaks} times at byte {offset:,}: {error}"
                ) from error
            continue
        finally:
            body.close()
        return


def _open(client: S3Client, bucket: str, key: str, etag: str, offset: int, end: int | None) -> Any:
    request: dict[str, Any] = {"Bucket": bucket, "Key": key, "IfMatch": etag}
    if offset or end is not None:
        request["Range"] = f"bytes={offset}-" if end is None else f"bytes={offset}-{end - 1}"
    try:
        return client.get_object(**request)["Body"]
    except ClientError as error:
        code, status = _code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code == "PreconditionFailed" or status == 412:
            raise FileError(
                "The object was changed after it was discovered, and a source takes each file name once"
                " (decisions I-9): upload the new content under a new name."
            ) from error
        if code == "NoSuchKey":
            raise FileError(
                "The object was removed after it was discovered: upload it again under a new name."
            ) from error
        if code == "InvalidObjectState":
            raise FileError(
                "The object lies in an archive storage class: restore it, then retry the file."
            ) from error
        if code == "InvalidRange":
            raise FileError("The object is shorter than its listing said: upload it again.") from error
        explain_refusal(error, "s3:GetObject", f"arn:aws:s3:::{bucket}/{key}", bucket)
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise ImportAccessError(
            f"No AWS credentials to read s3://{bucket}/{key}: set them in the source's Airflow connection."
        ) from error
    except BotoCoreError as error:
        raise TransientError(f"s3://{bucket}/{key} cannot be read now: {error}") from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def explain_refusal(error: ClientError, action: str, resource: str, bucket: str) -> NoReturn:
    """Raise what a person can do about a refused call: the permission, the bucket, the region, the keys."""
    code = _code(error)
    if code == "NoSuchBucket":
        raise ImportAccessError(
            f"The bucket {bucket} does not exist: check `bucket` and `region` of the source, and the account"
            " of its Airflow connection."
        ) from error
    if code in _DENIED:
        raise ImportAccessError(
            f"Access denied: the connection's identity lacks {action} on {resource}. Allow it in the bucket"
            f' policy or in the role\'s policy: {{"Effect": "Allow", "Action": "{action}", "Resource":'
            f' "{resource}"}}; a Deny elsewhere wins over it.'
        ) from error
    if code in _BAD_CREDENTIALS:
        raise ImportAccessError(
            f"The store refuses the credentials ({code}): check the source's Airflow connection."
        ) from error
    if code in {"PermanentRedirect", "AuthorizationHeaderMalformed", "301"}:
        region = error.response.get("Error", {}).get("Region")
        hint = f", which is {region}" if region else ""
        raise ImportAccessError(
            f"The bucket {bucket} lies in another region: set `region` of the source to the bucket's{hint}."
        ) from error
    raise TransientError(f"{action} on {resource} failed: {error}") from error

"""Sends a turn's CSV files to the destination's bucket, `existing` last: it is the commit."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from sluice.access.bucket_errors import BucketUnavailable, Refused, explained
from sluice.cohorts.staged_file import checked
from sluice.errors import SluiceError
from sluice.ledger.syncs import TurnFile

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from sluice.config import S3CohortDestination

log = logging.getLogger(__name__)

Read = Callable[[TurnFile], Iterable[bytes]]
# Called with a file and how many of its bytes have arrived, all of them once the object is there and was
# looked at; it may raise to stop.
Progress = Callable[[TurnFile, int], None]

CONTENT_TYPE = "text/csv"
# The metadata of an object; consumers may check what they read by it.
SHA256, ROWS = "sluice-sha256", "sluice-rows"
PART_BYTES = 8 << 20
# Where the whole policy of a destination stands.
_PAGE = "docs/cohorts.md"
_REMEDY = (
    "Nothing of it was sent. Restore the lake's `_syncs` folder, or let the next run of the sync take this"
    " turn's place."
)
# Parts that travel at once, over and above the one being filled.
_IN_FLIGHT = 3


def deliver_files(
    files: Sequence[TurnFile],
    read: Read,
    client: S3Client,
    destination: S3CohortDestination,
    on_progress: Progress = lambda file, sent: None,
) -> None:
    """Send the files in their order; a retry overwrites what an earlier try sent, with the same bytes.

    `read` streams a staged file from the lake. An object is there whole or not at all: what was read is
    compared with what was fixed before it is made, what the store has, after. Uploads that an earlier try
    left open are aborted. Raises BucketAccessError, BucketUnavailable, or StagingError for staged bytes that
    are not those that were fixed, and what `on_progress` raises.
    """
    bucket = _Bucket(client, destination)
    with ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="sluice-deliver") as executor:
        for file in files:
            started = time.monotonic()
            _send(file, read, bucket, executor, on_progress)
            bucket.verify(file)
            on_progress(file, file.bytes)
            seconds = time.monotonic() - started
            log.info(
                "Delivered s3://%s/%s: %s rows, %.1f MB, %.1f MB/s",
                bucket.name, file.key, f"{file.rows:,}", file.bytes / 1e6,
                file.bytes / 1e6 / max(seconds, 1e-3),
            )  # fmt: skip


def _send(
    file: TurnFile, read: Read, bucket: _Bucket, executor: ThreadPoolExecutor, on_progress: Progress
) -> None:
    parts = _parts(checked(file, read(file), _REMEDY))
    if file.bytes <= PART_BYTES:
        (body,) = parts
        bucket.put(file, body)
        return
    bucket.abort_left_open(file.key)
    upload_id = bucket.create_upload(file)
    try:
        etags: list[str] = []
        sent = 0
        waiting: deque[tuple[int, Future[str]]] = deque()

        def arrived() -> None:
            nonlocal sent
            size, future = waiting.popleft()
            etags.append(future.result())
            sent += size
            if sent < file.bytes:
                on_progress(file, sent)

        for number, part in enumerate(parts, start=1):
            if len(waiting) >= _IN_FLIGHT:
                arrived()
            future = executor.submit(bucket.upload_part, file.key, upload_id, number, part)
            waiting.append((len(part), future))
        while waiting:
            arrived()
        bucket.complete(file.key, upload_id, etags)
    except BaseException:
        # The first error is the one to show; what stays open, the next try aborts.
        with contextlib.suppress(SluiceError):
            bucket.abort(file.key, upload_id)
        raise


def _parts(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut a stream into parts of one size; only the last is shorter, and there always is one."""
    pending = bytearray()
    for block in blocks:
        pending += block
        while len(pending) > PART_BYTES:
            yield bytes(pending[:PART_BYTES])
            del pending[:PART_BYTES]
    yield bytes(pending)


class _Bucket:
    """The destination's bucket: the few requests that delivering takes."""

    def __init__(self, client: S3Client, destination: S3CohortDestination) -> None:
        self._client = client
        self.name = destination.bucket
        self._path = destination.path

    def put(self, file: TurnFile, body: bytes) -> None:
        with self._explained("write"):
            self._client.put_object(
                Bucket=self.name, Key=file.key, Body=body, ContentMD5=_md5(body), **_description(file)
            )

    def create_upload(self, file: TurnFile) -> str:
        with self._explained("write"):
            answer = self._client.create_multipart_upload(
                Bucket=self.name, Key=file.key, **_description(file)
            )
        return answer["UploadId"]

    def upload_part(self, key: str, upload_id: str, number: int, part: bytes) -> str:
        with self._explained("write"):
            answer = self._client.upload_part(
                Bucket=self.name,
                Key=key,
                UploadId=upload_id,
                PartNumber=number,
                Body=part,
                ContentMD5=_md5(part),
            )
        return answer["ETag"]

    def complete(self, key: str, upload_id: str, etags: Sequence[str]) -> None:
        parts: Any = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, start=1)]
        with self._explained("write"):
            self._client.complete_multipart_upload(
                Bucket=self.name, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}
            )

    def abort_left_open(self, key: str) -> None:
        """Abort the uploads of this very object that an earlier try left open."""
        with self._explained("list uploads"):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.name, Prefix=key
            )
            open_uploads = [
                item["UploadId"] for page in pages for item in page.get("Uploads", []) if item["Key"] == key
            ]
        for upload_id in open_uploads:
            self.abort(key, upload_id)

    def abort(self, key: str, upload_id: str) -> None:
        """Abort an upload; one that is gone already is no error."""
        with contextlib.suppress(Refused), explained("abort", self.name, self._path, _PAGE):
            self._client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=upload_id)

    def verify(self, file: TurnFile) -> None:
        """Raise BucketUnavailable unless the object is the file."""
        with self._explained("head"):
            head = self._client.head_object(Bucket=self.name, Key=file.key)
        if head["ContentLength"] != file.bytes or head["Metadata"].get(SHA256) != file.sha256:
            raise BucketUnavailable(
                f"s3://{self.name}/{file.key} is not what was sent: {head['ContentLength']:,} bytes instead"
                f" of {file.bytes:,}, or another writer's. See that nobody else writes to this path; the task"
                " is retried."
            )

    @contextlib.contextmanager
    def _explained(self, request: str) -> Iterator[None]:
        try:
            with explained(request, self.name, self._path, _PAGE):
                yield
        except Refused as refusal:
            raise BucketUnavailable(
                f"Something else works on the same files in the bucket {self.name} ({refusal}): another try"
                " of this sync, or a rule of the bucket. The task is retried."
            ) from refusal


def _description(file: TurnFile) -> dict[str, Any]:
    return {"ContentType": CONTENT_TYPE, "Metadata": {SHA256: file.sha256, ROWS: str(file.rows)}}


def _md5(data: bytes) -> str:
    """Return what the store checks the data by when they arrive."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()

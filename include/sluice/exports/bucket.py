"""A destination's bucket: the few requests that exporting takes, each with its condition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import HTTPClientError, IncompleteReadError
from urllib3.exceptions import HTTPError

from sluice.access.bucket_errors import explained
from sluice.access.errors import BucketUnavailable, Refused
from sluice.config import ExportConfig
from sluice.exports.keys import HourObject, listing_prefixes, normalise_prefix, parse_key

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Not Content-Encoding: a client that unpacks by itself would hand out lines under the name of a gzip file.
DATA_TYPE = "application/gzip"
MARKER_TYPE = "application/octet-stream"
_READ_BYTES = 1 << 20
# How often in a row reading may break without a byte of progress.
_BREAKS = 5


@dataclass(frozen=True)
class StoredObject:
    """An hour's object as the listing shows it; `etag` with its quotes, `size` in bytes."""

    key: str
    etag: str
    size: int
    last_modified: datetime
    names: HourObject


@dataclass(frozen=True)
class OpenUpload:
    """A multipart upload that is neither completed nor aborted; `initiated` as far as the store says it."""

    key: str
    upload_id: str
    names: HourObject
    initiated: datetime | None = None


@dataclass(frozen=True)
class ObjectHead:
    """What an object says about itself: its ETag and the metadata that its writer gave it."""

    etag: str
    metadata: dict[str, str]


class Bucket:
    """One bucket below one prefix; `encryption` is what each new object asks the store for.

    Every method raises BucketAccessError or BucketUnavailable; methods that change something raise Refused
    if their condition does not hold, or if what they work on is gone.
    """

    def __init__(
        self, client: S3Client, name: str, prefix: str = "", encryption: Mapping[str, Any] | None = None
    ) -> None:
        self._client = client
        self.name = name
        self.prefix = prefix
        self._encryption: Any = dict(encryption or {})

    @classmethod
    def of(cls, client: S3Client, config: ExportConfig) -> Self:
        """Return a destination's bucket."""
        return cls(client, config.bucket, config.prefix, encryption_of(config))

    def objects(self, project: int, days: Iterable[date]) -> Iterator[StoredObject]:
        """List the objects of a project's days, whatever layout and numbering wrote them."""
        wanted = set(days)
        for prefix in listing_prefixes(self.prefix, project, wanted):
            with self._explained("list"):
                pages = self._client.get_paginator("list_objects_v2").paginate(
                    Bucket=self.name, Prefix=prefix
                )
                found = [item for page in pages for item in page.get("Contents", [])]
            for item in found:
                names = parse_key(self.prefix, item["Key"])
                if names is not None and names.project == project and names.hour.date() in wanted:
                    yield StoredObject(item["Key"], item["ETag"], item["Size"], item["LastModified"], names)

    def open_uploads(self, project: int, days: Iterable[date]) -> Iterator[OpenUpload]:
        """List the open multipart uploads of a project's days."""
        wanted = set(days)
        for prefix in listing_prefixes(self.prefix, project, wanted):
            for upload in self._uploads(project, prefix):
                if upload.names.hour.date() in wanted:
                    yield upload

    def all_open_uploads(self, project: int) -> Iterator[OpenUpload]:
        """List all open multipart uploads of a project, in any layout."""
        base = normalise_prefix(self.prefix)
        for prefix in (f"{base}{project}/{project}_", f"{base}{project}_"):
            yield from self._uploads(project, prefix)

    def _uploads(self, project: int, prefix: str) -> Iterator[OpenUpload]:
        with self._explained("list uploads"):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.name, Prefix=prefix
            )
            found = [item for page in pages for item in page.get("Uploads", [])]
        for item in found:
            names = parse_key(self.prefix, item["Key"])
            if names is not None and names.project == project:
                yield OpenUpload(item["Key"], item["UploadId"], names, item.get("Initiated"))

    def head(self, key: str) -> ObjectHead | None:
        """Return an object's ETag and metadata, or None if it is not there."""
        try:
            with self._explained("head"):
                answer = self._client.head_object(Bucket=self.name, Key=key)
        except Refused:
            return None
        return ObjectHead(answer["ETag"], answer["Metadata"])

    def read(self, key: str, etag: str) -> Iterator[bytes]:
        """Stream the object with this ETag, and go on where it was when the connection breaks.

        Raises Refused if it is gone or was overwritten.
        """
        position = breaks = 0
        while True:
            with self._explained("head"):
                # Not a range from 0: stores refuse it for an empty object.
                range_from: Any = {"Range": f"bytes={position}-"} if position else {}
                answer = self._client.get_object(Bucket=self.name, Key=key, IfMatch=etag, **range_from)
                try:
                    for block in answer["Body"].iter_chunks(_READ_BYTES):
                        position, breaks = position + len(block), 0
                        yield block
                    return
                except (HTTPClientError, IncompleteReadError, HTTPError) as error:
                    breaks += 1
                    if breaks > _BREAKS:
                        raise BucketUnavailable(
                            f"Reading {key} from the bucket {self.name} broke {breaks} times at byte"
                            f" {position:,}: {error}. Check the network; the task is retried."
                        ) from error

    def create_upload(self, key: str, metadata: dict[str, str], content_type: str = DATA_TYPE) -> str:
        """Open a multipart upload and return its id."""
        with self._explained("write"):
            answer = self._client.create_multipart_upload(
                Bucket=self.name, Key=key, ContentType=content_type, Metadata=metadata, **self._encryption
            )
        return answer["UploadId"]

    def upload_part(self, key: str, upload_id: str, number: int, data: bytes) -> str:
        """Upload one part, counted from 1, and return its ETag."""
        with self._explained("write"):
            answer = self._client.upload_part(
                Bucket=self.name, Key=key, UploadId=upload_id, PartNumber=number, Body=data
            )
        return answer["ETag"]

    def complete(self, key: str, upload_id: str, etags: Iterable[str], replaces: str | None) -> str:
        """Make an upload the object: in place of the one with the ETag `replaces`, or of none.

        Returns the object's ETag.
        """
        parts: Any = [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, start=1)]
        with self._explained("write"):
            answer = self._client.complete_multipart_upload(
                Bucket=self.name,
                Key=key,
                UploadId=upload_id,
                MultipartUpload={"Parts": parts},
                **_condition(replaces),
            )
        return answer["ETag"]

    def put(self, key: str, body: bytes, metadata: dict[str, str], replaces: str | None) -> str:
        """Write a small object in one request, in place of the one with the ETag `replaces`, or of none."""
        with self._explained("write"):
            answer = self._client.put_object(
                Bucket=self.name,
                Key=key,
                Body=body,
                ContentType=MARKER_TYPE,
                Metadata=metadata,
                **self._encryption,
                **_condition(replaces),
            )
        return answer["ETag"]

    def delete(self, key: str, etag: str) -> None:
        """Delete an object if it still has this ETag."""
        with self._explained("delete"):
            self._client.delete_object(Bucket=self.name, Key=key, IfMatch=etag)

    def abort(self, key: str, upload_id: str) -> None:
        """Abort an upload; one that is gone already is no error."""
        try:
            with self._explained("abort"):
                self._client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=upload_id)
        except Refused:
            return

    def _explained(self, request: str) -> Any:
        return explained(request, self.name, self.prefix)


def encryption_of(config: ExportConfig) -> dict[str, Any]:
    """Return what a request that makes an object says of its encryption."""
    if config.encryption == "sse-s3":
        return {"ServerSideEncryption": "AES256"}
    if config.encryption == "sse-kms":
        # One data key for many objects: without it, each part of each file is a request to KMS.
        return {
            "ServerSideEncryption": "aws:kms",
            "SSEKMSKeyId": config.kms_key,
            "BucketKeyEnabled": True,
        }
    return {}


def _condition(replaces: str | None) -> Any:
    return {"IfNoneMatch": "*"} if replaces is None else {"IfMatch": replaces}

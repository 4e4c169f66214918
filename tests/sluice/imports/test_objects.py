"""Reading one object: resumed where it broke, only as the version that was found, and clear when refused."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from botocore.exceptions import ClientError, IncompleteReadError, NoCredentialsError

from sluice.errors import TransientError
from sluice.imports.errors import FileError, ImportAccessError
from sluice.imports.objects import list_objects, read_blocks

CONTENT = bytes(range(256)) * 40


class Body(BytesIO):
    """A response that breaks after some bytes."""

    def __init__(self, content: bytes, breaks_after: int | None) -> None:
        super().__init__(content)
        self._left = breaks_after

    def read(self, size: int | None = -1) -> bytes:
        if self._left is None:
            return super().read(size)
        if self._left == 0:
            raise IncompleteReadError(actual_bytes=0, expected_bytes=1)
        block = super().read(min(self._left, size if size and size > 0 else self._left))
        self._left -= len(block)
        return block


class Client:
    """An S3 client whose downloads break as planned, or which refuses."""

    def __init__(self, *plan: int | Exception | None) -> None:
        self._plan = list(plan)
        self.requests: list[dict[str, Any]] = []

    def get_object(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        step = self._plan.pop(0)
        if isinstance(step, Exception):
            raise step
        start, _, last = request.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        return {"Body": Body(CONTENT[int(start) : int(last) + 1 if last else None], step)}

    def get_paginator(self, name: str) -> Any:
        return self

    def paginate(self, **request: Any) -> Any:
        yield {}
        raise self._plan.pop(0)  # type: ignore[misc]


def refused(code: str, status: int = 400, **error: str) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, **error}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "GetObject",
    )


def read(client: Client) -> bytes:
    return b"".join(read_blocks(client, "bucket", "dir/key", '"etag"'))  # type: ignore[arg-type]


def test_a_broken_download_goes_on_where_it_stopped_with_the_same_version() -> None:
    client = Client(1000, 0, 2000, None)
    assert read(client) == CONTENT
    assert [request.get("Range") for request in client.requests] == [
        None,
        "bytes=1000-",
        "bytes=1000-",
        "bytes=3000-",
    ]
    assert {request["IfMatch"] for request in client.requests} == {'"etag"'}


def test_a_range_that_breaks_goes_on_to_its_end_and_no_further() -> None:
    client = Client(1000, 500, None)
    blocks = read_blocks(client, "bucket", "dir/key", '"etag"', 2000, 5000)  # type: ignore[arg-type]
    assert b"".join(blocks) == CONTENT[2000:5000]
    ranges = [request["Range"] for request in client.requests]
    assert ranges == ["bytes=2000-4999", "bytes=3000-4999", "bytes=3500-4999"]
    # It broke where all bytes were there: nothing is left to ask for.
    broken_at_the_end = Client(100)
    assert b"".join(read_blocks(broken_at_the_end, "b", "k", '"etag"', 0, 100)) == CONTENT[:100]  # type: ignore[arg-type]


def test_a_download_without_progress_ends_as_transient() -> None:
    with pytest.raises(TransientError, match=r"s3://bucket/dir/key broke 5 times at byte 10:"):
        read(Client(10, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (refused("PreconditionFailed", 412), FileError, "changed after it was discovered"),
        (refused("NoSuchKey", 404), FileError, "removed after it was discovered"),
        (refused("InvalidObjectState", 403), FileError, "archive storage class"),
        (refused("InvalidRange", 416), FileError, "shorter than its listing"),
        (
            refused("AccessDenied", 403),
            ImportAccessError,
            "lacks s3:GetObject on arn:aws:s3:::bucket/dir/key",
        ),
        (refused("NoSuchBucket", 404), ImportAccessError, "bucket bucket does not exist"),
        (refused("SignatureDoesNotMatch", 403), ImportAccessError, "refuses the credentials"),
        (refused("PermanentRedirect", 301, Region="eu-west-1"), ImportAccessError, "which is eu-west-1"),
        (refused("InternalError", 500), TransientError, "s3:GetObject"),
        (NoCredentialsError(), ImportAccessError, "No AWS credentials"),
    ],
)
def test_a_refusal_says_what_to_do(error: Exception, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        read(Client(error))


def test_a_refused_listing_names_the_permission_and_the_statement() -> None:
    with pytest.raises(ImportAccessError) as caught:
        list(list_objects(Client(refused("AccessDenied", 403)), "bucket", "in/"))  # type: ignore[arg-type]
    for part in ("lacks s3:ListBucket on arn:aws:s3:::bucket", '"Action": "s3:ListBucket"'):
        assert part in str(caught.value)

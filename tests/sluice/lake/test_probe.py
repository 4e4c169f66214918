"""Only a store that honours conditional puts may hold the lake."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from sluice.lake.probe import UnsafeStoreError, probe_conditional_puts
from sluice.local.seaweedfs import S3Access

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Store:
    """A store that answers the n-th put with a given status, and records what it was asked."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.requests: list[tuple[str, str, str | None]] = []
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.answer(store.statuses.pop(0))

            def do_DELETE(self) -> None:
                self.answer(204)

            def answer(self, status: int) -> None:
                store.requests.append((self.command, self.path, self.headers.get("If-None-Match")))
                body = b"" if status < 300 else b"<Error><Code>Answer</Code><Message>no</Message></Error>"
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def client(self) -> S3Client:
        access = S3Access(f"http://127.0.0.1:{self.server.server_port}", "key", "secret")
        return access.client(
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
        )


@pytest.fixture
def store() -> Iterator[Callable[..., Store]]:
    stores: list[Store] = []

    def make(*statuses: int) -> Store:
        stores.append(Store(*statuses))
        return stores[-1]

    yield make
    for made in stores:
        made.server.shutdown()
        made.server.server_close()


def test_a_real_store_passes_and_keeps_nothing_of_the_probe(s3: S3Client, bucket: str) -> None:
    probe_conditional_puts(s3, bucket)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_two_puts_of_one_new_key_are_asked_and_the_object_is_removed(store: Callable[..., Store]) -> None:
    good = store(200, 412)
    probe_conditional_puts(good.client(), "lake")
    put, again, delete = good.requests
    assert put == again == ("PUT", delete[1], "*")
    assert delete[0] == "DELETE"
    other = store(200, 412)
    probe_conditional_puts(other.client(), "lake")
    assert other.requests[0][1] != put[1]


@pytest.mark.parametrize(
    ("statuses", "reason"),
    [
        pytest.param((200, 200), "ignores If-None-Match", id="takes-both"),
        pytest.param((501,), "refuses a conditional put", id="not-implemented"),
        pytest.param((400,), "refuses a conditional put", id="unknown-header"),
        pytest.param((200, 409), "where the lake needs status 412", id="other-conflict"),
        pytest.param((200, 500), "where the lake needs status 412", id="second-put-fails"),
    ],
)
def test_any_other_store_is_refused_by_name(
    store: Callable[..., Store], statuses: tuple[int, ...], reason: str
) -> None:
    bad = store(*statuses)
    client = bad.client()
    with pytest.raises(UnsafeStoreError, match=reason) as caught:
        probe_conditional_puts(client, "lake")
    assert f"{client.meta.endpoint_url} (bucket lake)" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert bad.requests[-1][0] == "DELETE"


def test_denied_access_is_no_verdict_on_the_store(store: Callable[..., Store]) -> None:
    with pytest.raises(ClientError) as caught:
        probe_conditional_puts(store(403).client(), "lake")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403

"""Uploads a file's parts in the background, a bounded number at a time."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Executor, Future

from sluice.exports.bucket import Bucket

# Parts that wait or travel, over and above the one being filled: with 8 MiB each, what memory they take.
_IN_FLIGHT = 2


class UploadSink:
    """A PartSink that is one multipart upload: parts are sent by the executor, in any order.

    Raises what Bucket.upload_part raises, at a later part or at the end.
    """

    def __init__(self, bucket: Bucket, key: str, upload_id: str, executor: Executor) -> None:
        self._bucket = bucket
        self.key = key
        self.upload_id = upload_id
        self._executor = executor
        self._sent: deque[Future[str]] = deque()
        self.etags: list[str] = []
        self._next = 1

    def add(self, part: bytes) -> None:
        """Send the next part as soon as there is room for it."""
        while len(self._sent) >= _IN_FLIGHT:
            self.etags.append(self._sent.popleft().result())
        self._sent.append(
            self._executor.submit(self._bucket.upload_part, self.key, self.upload_id, self._next, part)
        )
        self._next += 1

    def close(self) -> None:
        """Wait until all parts have arrived."""
        while self._sent:
            self.etags.append(self._sent.popleft().result())

"""Staged messages into a Kinesis stream (amplitude-spec 3.4, decisions K-8 and K-9; invariant 8)."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from sluice.access.refusals import error_code
from sluice.access.streams import StreamAccessError
from sluice.cohorts.pacing import MAX_RECORDS, Pace, backoff
from sluice.cohorts.staged_file import StagingError, checked
from sluice.errors import SluiceError, TransientError
from sluice.ledger.syncs import TurnFile

if TYPE_CHECKING:
    from sluice.access.streams import KinesisStream
    from sluice.config.cohort_destinations import KinesisCohortDestination

log = logging.getLogger(__name__)

# Called after every answer of the stream: so many messages, from the first on, are in it. May raise to stop.
Acknowledged = Callable[[int], None]

# Ends what a message says of itself. Within a JSON string the quotes would be escaped.
_USERS = b',"users":['
_LOG_SECONDS = 10.0
_REMEDY = "The next run of the sync takes this turn's place, and makes good what was sent."


class MessageTooLarge(SluiceError):
    """A message has more bytes than a record of the stream may have."""


class PartlyDelivered(TransientError):
    """The budget ended: the first `acknowledged` of `total` messages are in the stream, maybe more."""

    def __init__(self, message: str, acknowledged: int, total: int) -> None:
        super().__init__(message)
        self.acknowledged = acknowledged
        self.total = total


@dataclass(frozen=True)
class Delivered:
    """What one call sent: messages and their bytes, and how often one of them had to be sent again."""

    messages: int
    bytes: int
    again: int


def deliver_messages(
    file: TurnFile,
    read: Callable[[TurnFile], Iterable[bytes]],
    stream: KinesisStream,
    destination: KinesisCohortDestination,
    *,
    start: int = 0,
    budget_seconds: float,
    on_acknowledged: Acknowledged = lambda messages: None,
) -> Delivered:
    """Put the messages from number `start` on into the stream, each at least once and under its own id.

    `read` streams the staged file; its last messages leave only if it is what was fixed, so one that is not
    is never delivered to its end. Only records that the stream refused are sent again. Raises
    PartlyDelivered when the budget ends, StreamAccessError or StreamUnavailable for a stream that cannot be
    used, MessageTooLarge before a message is sent that the stream does not take, StagingError for staged
    bytes that are not those that were fixed.
    """
    if start >= file.rows:
        return Delivered(0, 0, 0)
    # A request that hangs must not outlast the budget: none begins in its last part.
    last = min(10.0, max(budget_seconds, 0.0) / 8)
    timeout = max(1.0, last)
    deadline = time.monotonic() + budget_seconds - last
    client = stream.client(timeout)
    shards, max_bytes = _limits(stream, client, destination)
    courier = _Courier(file, stream, client, Pace(shards), start, budget_seconds, deadline, on_acknowledged)
    messages = islice(_lines(checked(file, read(file), _REMEDY)), start, None)
    records = _records(file, messages, destination, max_bytes)
    for request in _requests(records, courier.pace.max_bytes):
        courier.send(request)
    return courier.delivered()


@dataclass(frozen=True)
class _Record:
    """One message on its way; `size` counts its partition key as well."""

    data: bytes
    key: str

    @property
    def size(self) -> int:
        return len(self.data) + len(self.key.encode())


class _Courier:
    """Sends requests until the stream has all their records, or the time is up."""

    def __init__(
        self,
        file: TurnFile,
        stream: KinesisStream,
        client: Any,
        pace: Pace,
        start: int,
        budget_seconds: float,
        deadline: float,
        on_acknowledged: Acknowledged,
    ) -> None:
        self.pace = pace
        self.acknowledged = start
        self._file = file
        self._stream = stream
        self._client = client
        self._start = start
        self._budget_seconds = budget_seconds
        self._deadline = deadline
        self._on_acknowledged = on_acknowledged
        self._arrived = 0
        self._bytes = 0
        self._again = 0
        self._reason = "the shards take no more in that time"
        self._began = self._told = time.monotonic()

    def delivered(self) -> Delivered:
        return Delivered(self._arrived, self._bytes, self._again)

    def send(self, request: list[_Record]) -> None:
        """Send records, those that are refused again and again. Raises PartlyDelivered out of time."""
        first = self.acknowledged
        waiting = dict(enumerate(request))
        refused = 0
        while waiting:
            self._pause(self.pace.book(len(waiting), sum(record.size for record in waiting.values())))
            arrived = self._put(waiting)
            for place in arrived:
                self._bytes += len(waiting.pop(place).data)
            self._arrived += len(arrived)
            self._again += len(waiting)
            # What arrived behind a gap counts when the gap is closed.
            self.acknowledged = first + min(waiting, default=len(request))
            self._on_acknowledged(self.acknowledged)
            self._tell()
            if waiting:
                refused = 1 if arrived else refused + 1
                self._pause(backoff(refused))

    def _put(self, waiting: dict[int, _Record]) -> list[int]:
        """Send one request; return the places of the records that arrived."""
        records = [{"Data": record.data, "PartitionKey": record.key} for record in waiting.values()]
        try:
            answer = self._client.put_records(StreamName=self._stream.name, Records=records)
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and error_code(error) == "ResourceNotFoundException":
                # It may be on its way: then the stream itself says so.
                self._stream.facts(self._client)
            refusal = self._stream.refusal(error)
            if isinstance(refusal, StreamAccessError):
                raise refusal from error
            self._reason = str(refusal)
            return []
        arrived = []
        for place, result in zip(waiting, answer["Records"], strict=True):
            if code := result.get("ErrorCode"):
                self._reason = f"the stream refused records ({code}: {result.get('ErrorMessage', '')})"
            else:
                arrived.append(place)
        return arrived

    def _pause(self, seconds: float) -> None:
        if time.monotonic() + seconds > self._deadline:
            raise PartlyDelivered(
                f"{self._start + self._arrived} of {self._file.rows} messages arrived in the stream"
                f" {self._stream.name} within {self._budget_seconds:.0f} s; the last reason to wait:"
                f" {self._reason}. The next try goes on behind message {self.acknowledged}. If this happens"
                " again and again, give the stream more shards, or the sync a slower cadence.",
                self.acknowledged,
                self._file.rows,
            )
        if seconds > 0:
            time.sleep(seconds)

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told >= _LOG_SECONDS or self.acknowledged == self._file.rows:
            self._told = now
            log.info(
                "%d of %d messages are in the stream %s: %.1f MB in %.1f s, %d sent again",
                self.acknowledged,
                self._file.rows,
                self._stream.name,
                self._bytes / 1e6,
                now - self._began,
                self._again,
            )


def _limits(stream: KinesisStream, client: Any, destination: KinesisCohortDestination) -> tuple[int, int]:
    """Return how many shards to reckon with, and how many bytes a record may have, its key included."""
    facts = stream.facts(client) if destination.shards is None else None
    max_bytes = destination.max_record_bytes
    if facts is not None and facts.max_record_bytes is not None:
        max_bytes = min(max_bytes, facts.max_record_bytes)
    if destination.partition_key == "cohort_id":
        return 1, max_bytes  # one key, one shard
    if destination.shards is None and facts is None:
        log.info(
            "The stream %s does not say how many shards it has (that takes kinesis:DescribeStreamSummary):"
            " paced to one; `shards` of the destination tells more.",
            stream.name,
        )
    return destination.shards or (facts.shards if facts else 1), max_bytes


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut chunks of any size at their line feeds."""
    begun: list[bytes] = []
    for chunk in chunks:
        first, *more = chunk.split(b"\n")
        begun.append(first)
        if more:
            yield b"".join(begun)
            yield from more[:-1]
            begun = more[-1:]


def _records(
    file: TurnFile, messages: Iterable[bytes], destination: KinesisCohortDestination, max_bytes: int
) -> Iterator[_Record]:
    for data in messages:
        try:
            about = json.loads(data.partition(_USERS)[0] + b"}")
        except ValueError as error:
            raise StagingError(
                f"The staged file {file.name} is not what was fixed: one of its lines is no message."
                f" {_REMEDY}"
            ) from error
        record = _Record(data, about[destination.partition_key])
        if record.size > max_bytes:
            raise MessageTooLarge(
                f"The message {about['message_id']} has {record.size} bytes with its partition key, and a"
                f" record of the stream {destination.stream} has at most {max_bytes}: lower"
                f" `max_message_bytes` of the destination {destination.id}, or let the stream take more"
                " (UpdateMaxRecordSize, and then `max_record_bytes`). The next run writes new messages."
            )
        yield record


def _requests(records: Iterable[_Record], max_bytes: int) -> Iterator[list[_Record]]:
    """Put records together to requests of at most 500 records and `max_bytes`; a larger one goes alone."""
    request: list[_Record] = []
    size = 0
    for record in records:
        if request and (len(request) == MAX_RECORDS or size + record.size > max_bytes):
            yield request
            request, size = [], 0
        request.append(record)
        size += record.size
    if request:
        yield request

"""A source's queue of notifications: read until it is empty, deleted from only once the ledger knows.

The trigger that starts a run takes one message as its bell and deletes none; the run takes that message from
the asset events, and all others from the queue by itself. So no message is lost with an asset event that
Airflow drops, or with a run that fails: what is not deleted comes again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from sluice.access.queues import SqsQueue
from sluice.imports.messages import Message

log = logging.getLogger(__name__)

# What is looked up, recorded and deleted at once: the memory that a flood of messages takes.
PORTION = 500
# What one run takes; the next one, for which the remaining messages ring, goes on.
MAX_MESSAGES = 20_000
# How long a portion may take before its messages come again, in seconds.
_HIDDEN_SECONDS = 120
# Without a wait SQS asks only some of its servers and may miss messages.
_WAIT_SECONDS = 1
# What SQS receives and deletes in one call.
_BATCH = 10


class Inbox:
    """The messages of a source's queue, those that started the run first."""

    def __init__(self, queue: SqsQueue, rung: Iterable[Message] = ()) -> None:
        self._queue = queue
        self._client = queue.client()
        self._rung = rung

    def portions(self) -> Iterator[list[Message]]:
        """Yield the messages in portions, until the queue gives none or the run has taken its share.

        Raises QueueError if the queue may not be read.
        """
        messages = islice(self._messages(), MAX_MESSAGES)
        while portion := list(islice(messages, PORTION)):
            yield portion

    def delete(self, messages: Sequence[Message]) -> None:
        """Delete messages that were dealt with; one that stays comes again, which changes nothing."""
        receipts = [message.receipt for message in messages if message.receipt]
        for start in range(0, len(receipts), _BATCH):
            entries: Any = [
                {"Id": str(number), "ReceiptHandle": receipt}
                for number, receipt in enumerate(receipts[start : start + _BATCH])
            ]
            try:
                answer = self._client.delete_message_batch(QueueUrl=self._queue.url, Entries=entries)
            except (ClientError, BotoCoreError) as error:
                self._queue.explain(error, "sqs:DeleteMessage")
            for failure in answer.get("Failed", ()):
                log.warning("A message stays in the queue and comes again: %s", failure.get("Code"))

    def _messages(self) -> Iterator[Message]:
        yield from self._rung
        while True:
            try:
                answer = self._client.receive_message(
                    QueueUrl=self._queue.url,
                    MaxNumberOfMessages=_BATCH,
                    WaitTimeSeconds=_WAIT_SECONDS,
                    VisibilityTimeout=_HIDDEN_SECONDS,
                )
            except (ClientError, BotoCoreError) as error:
                self._queue.explain(error, "sqs:ReceiveMessage")
            received = answer.get("Messages", ())
            if not received:
                return
            for message in received:
                yield Message(message.get("Body"), message.get("ReceiptHandle"))

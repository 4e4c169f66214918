"""Staged messages into a Kinesis stream (amplitude-spec 3.4, decisions K-8, K-9; invariant 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.errors import TransientError

if TYPE_CHECKING:
    from sluice.access.streams import KinesisStream
    from sluice.cohorts.staged_file import StagedFile
    from sluice.config.cohort_destinations import KinesisCohortDestination


class PartlyDelivered(TransientError):
    """The budget ended: the first `acknowledged` of `total` messages are in the stream."""

    def __init__(self, message: str, acknowledged: int, total: int) -> None:
        super().__init__(message)
        self.acknowledged = acknowledged
        self.total = total


@dataclass(frozen=True)
class Delivered:
    """What a delivery sent: messages of this call, their bytes, and how many of them it sent again."""

    messages: int
    bytes: int
    again: int


def deliver_messages(
    file: StagedFile,
    read: Callable[[StagedFile], Iterable[bytes]],
    stream: KinesisStream,
    destination: KinesisCohortDestination,
    *,
    start: int = 0,
    budget_seconds: float,
    on_acknowledged: Callable[[int], None],
) -> Delivered:
    """Put the messages from number `start` on into the stream, each at least once under its own id."""
    raise PartlyDelivered("not yet", start, file.rows)

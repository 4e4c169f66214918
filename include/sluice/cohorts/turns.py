"""What happens to a fixed turn: a person's answer, and its delivery (ADR 14)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sluice.config.syncs import Sync
from sluice.lake import Lake
from sluice.ledger import Ledger
from sluice.ledger.syncs import Turn

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from sluice.access.streams import KinesisStream


@dataclass(frozen=True)
class Delivery:
    """What a delivery step ends with: `delivered`, or `skipped` with the reason why nothing was to be sent."""

    outcome: Literal["delivered", "skipped"]
    turn: Turn
    reason: str | None = None

    @property
    def skipped(self) -> bool:
        """Whether this run leaves the sync alone: the turn was declined, superseded, or is another run's."""
        return self.outcome == "skipped"


def deliver(
    sync: Sync,
    lake: Lake,
    ledger: Ledger,
    *,
    number: int,
    run: str,
    client: S3Client | None = None,
    stream: KinesisStream | None = None,
    budget_seconds: float | None = None,
) -> Delivery:
    """Send the fixed bytes of a turn; a retry goes on where the last try ended, with the same bytes.

    `client` reaches the bucket of an S3 destination, `stream` is the one of a Kinesis destination;
    `budget_seconds` bounds the sending of messages, by the cadence by default. Raises what the delivery
    raises (access errors, PartlyDelivered), and TurnLost if another run took the sync over meanwhile.
    """
    raise NotImplementedError


def question(sync: Sync, lake: Lake, ledger: Ledger, *, number: int, members: int = 5) -> str:
    """Return what a person is asked about a held turn, as Markdown: numbers, limits, and a few members.

    The ids are personal data, shown here on purpose.
    """
    raise NotImplementedError


def approve(sync: Sync, ledger: Ledger, *, number: int, by: str | None = None) -> Turn:
    """Let a held turn go on; again changes nothing. Raises SyncBusy if it was declined meanwhile."""
    raise NotImplementedError


def decline(sync: Sync, ledger: Ledger, *, number: int, reason: str, by: str | None = None) -> Turn:
    """Give a held turn up: `reason` says that a person said no, or that nobody answered in time."""
    raise NotImplementedError

"""What happens to a fixed turn: a person's answer, and its delivery (ADR 14)."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sluice.cohorts.chains import chain_of, claim_seconds, target_of
from sluice.cohorts.clean import drop_lists
from sluice.cohorts.deliver_files import deliver_files
from sluice.cohorts.deliver_messages import MessageTooLarge, deliver_messages
from sluice.cohorts.gate import require_passed
from sluice.cohorts.heartbeat import Heartbeat, give_back
from sluice.cohorts.staged_file import StagingError
from sluice.cohorts.staging import reader
from sluice.config.cohort_destinations import KinesisCohortDestination
from sluice.config.syncs import Sync
from sluice.errors import SluiceError
from sluice.lake import Lake
from sluice.ledger import Ledger, syncs
from sluice.ledger.database import LedgerUnavailable
from sluice.ledger.syncs import Claim, SyncBusy, Turn, TurnFile, TurnLost

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from sluice.access.streams import KinesisStream

log = logging.getLogger(__name__)

# How long messages are sent in one try, in seconds. A first population may take long: the later turns of its
# sync are skipped meanwhile.
_REAL_TIME_BUDGET = 40.0
_BUDGET = 3_000.0
# How often, in seconds, the ledger is told how many messages have arrived.
_RECORD_EVERY = 1.0


@dataclass(frozen=True)
class Delivery:
    """What a delivery step ends with: the turn is `delivered`, or `skipped` with the reason.

    It is skipped where there was nothing for this run to send.
    """

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
    `budget_seconds` bounds the sending of messages, by the cadence by default. Raises SluiceError for a turn
    that waits for a person or has not passed its quality gate, and what the delivery raises: access errors,
    PartlyDelivered.
    """
    chain = chain_of(sync)
    turn = syncs.turn_of(ledger, chain, number)
    if turn.state == "held":
        raise SluiceError(
            f"The turn of the {chain} as of {turn.as_of:%Y-%m-%d %H:%M} UTC waits for a person's approval:"
            f" {turn.reason} Answer it in the Airflow UI, then clear this task. A run that is older than the"
            " sync's limits has no step that asks: its turn is given up at"
            f" {turn.held_until:%Y-%m-%d %H:%M} UTC, and the next run makes a new one."
        )
    if turn.state == "stopped":
        raise SluiceError(
            f"The quality gate of the {chain} has stopped the turn as of {turn.as_of:%Y-%m-%d %H:%M} UTC:"
            f" nothing of it is sent. `sluice quality show {turn.run}` says why, and how to let it go on."
        )
    if (reason := _not_ours(turn, run)) is not None:
        return _skipped(ledger, turn, run, reason)
    if turn.state == "delivered":
        return Delivery("delivered", turn)
    seconds = claim_seconds(sync.cadence)
    try:
        claim = syncs.claim(ledger, chain, run, seconds)
    except SyncBusy as busy:
        return _skipped(ledger, turn, run, str(busy))
    try:
        with Heartbeat(ledger, claim, seconds) as heartbeat:
            if turn.target != target_of(sync.destination):
                return _moved(sync, ledger, claim, turn)
            require_passed(sync, ledger, turn)
            turn = syncs.begin_sending(ledger, claim, turn, seconds)
            sending = _Sending(sync, lake, ledger, claim, heartbeat, turn, seconds)
            if isinstance(sync.destination, KinesisCohortDestination):
                sending.messages(stream, _budget(sync, turn) if budget_seconds is None else budget_seconds)
            else:
                sending.files(client)
            turn = syncs.finish(ledger, claim, turn)
    except TurnLost as lost:
        syncs.release(ledger, claim)
        return _skipped(ledger, turn, run, str(lost))
    except BaseException as error:
        give_back(ledger, claim, error)
        raise
    log.info("Delivered the %s as of %s.", chain, f"{turn.as_of:%Y-%m-%d %H:%M:%S} UTC")
    try:
        # Each turn's list of members is as long as the cohort, and only the newest is needed.
        drop_lists(lake, ledger, chain)
    except (OSError, LedgerUnavailable) as error:
        log.warning("Needless lists stay until lake_maintenance takes them: %s", error)
    return Delivery("delivered", turn)


def approve(sync: Sync, ledger: Ledger, *, number: int, by: str | None = None) -> Turn:
    """Let a held turn go on; again changes nothing. Raises SyncBusy if it was declined meanwhile."""
    turn = syncs.turn_of(ledger, chain_of(sync), number)
    approved = syncs.approve(ledger, turn, by, claim_seconds(sync.cadence))
    log.info("The turn of the %s as of %s is approved.", turn.chain, turn.as_of)
    return approved


def decline(sync: Sync, ledger: Ledger, *, number: int, reason: str, by: str | None = None) -> Turn:
    """Give a held turn up: `reason` says that a person said no, or that nobody answered in time."""
    turn = syncs.turn_of(ledger, chain_of(sync), number)
    log.info("The turn of the %s as of %s is declined: %s", turn.chain, turn.as_of, reason)
    return syncs.decline(ledger, turn, reason, by)


def _not_ours(turn: Turn, run: str) -> str | None:
    when = f"{turn.as_of:%Y-%m-%d %H:%M:%S} UTC"
    if turn.state == "superseded":
        return f"The turn of the {turn.chain} as of {when} is superseded: {turn.reason}"
    if turn.state == "declined":
        return (
            f"The turn of the {turn.chain} as of {when} was declined: {turn.reason} Nothing of it was sent."
        )
    if turn.run != run:
        return f"The run {turn.run} has taken over the turn of the {turn.chain} as of {when}."
    return None


def _skipped(ledger: Ledger, turn: Turn, run: str, reason: str) -> Delivery:
    log.info("Skipped: %s", reason)
    syncs.note_skipped(ledger, turn.chain, run, reason)
    return Delivery("skipped", syncs.turn_of(ledger, turn.chain, turn.number), reason)


def _moved(sync: Sync, ledger: Ledger, claim: Claim, turn: Turn) -> Delivery:
    reason = (
        f"It was fixed for {turn.target}, and the destination is {target_of(sync.destination)} now. The next"
        " run fixes a turn for that."
    )
    syncs.give_up(ledger, claim, turn, reason)
    return _skipped(ledger, turn, claim.run, f"The turn of the {turn.chain} is not sent: {reason}")


def _budget(sync: Sync, turn: Turn) -> float:
    return _REAL_TIME_BUDGET if sync.cadence == "real_time" and turn.baseline is not None else _BUDGET


@dataclass
class _Sending:
    """Sends one turn's bytes, and tells the ledger how far it is."""

    sync: Sync
    lake: Lake
    ledger: Ledger
    claim: Claim
    heartbeat: Heartbeat
    turn: Turn
    seconds: float

    def files(self, client: S3Client | None) -> None:
        """Send the files; their number is recorded after each, and again with every retry."""
        assert client is not None, "an S3 destination takes a client"
        assert not isinstance(self.sync.destination, KinesisCohortDestination)
        arrived = 0

        def on_progress(file: TurnFile, sent: int) -> None:
            nonlocal arrived
            self.heartbeat.check()
            if sent >= file.bytes:
                arrived += 1
                self._record(files=max(arrived, self.turn.files_delivered))

        deliver_files(
            self.turn.sent_files, reader(self.lake, self.turn), client, self.sync.destination, on_progress
        )

    def messages(self, stream: KinesisStream | None, budget_seconds: float) -> None:
        """Send the messages from the acknowledged ones on."""
        assert stream is not None, "a Kinesis destination takes a stream"
        assert isinstance(self.sync.destination, KinesisCohortDestination)
        (file,) = self.turn.sent_files
        arrived = self.turn.messages_delivered
        if arrived == file.rows:
            return
        recorded = time.monotonic()

        def on_acknowledged(messages: int) -> None:
            nonlocal arrived, recorded
            arrived = messages
            self.heartbeat.check()
            if time.monotonic() - recorded >= _RECORD_EVERY:
                self._record(messages=arrived)
                recorded = time.monotonic()
                log.info("%s of %s messages have arrived.", f"{arrived:,}", f"{file.rows:,}")

        try:
            deliver_messages(
                file,
                reader(self.lake, self.turn),
                stream,
                self.sync.destination,
                start=arrived,
                budget_seconds=budget_seconds,
                on_acknowledged=on_acknowledged,
            )
        except SluiceError as error:
            self._record(messages=arrived)
            if arrived and isinstance(error, MessageTooLarge | StagingError):
                # They never get through, and the next run would go on behind those that have arrived.
                syncs.give_up(self.ledger, self.claim, self.turn, str(error))
            raise
        self._record(messages=file.rows)

    def _record(self, *, files: int = 0, messages: int = 0) -> None:
        syncs.record_progress(
            self.ledger, self.claim, self.turn, self.seconds, files=files, messages=messages
        )

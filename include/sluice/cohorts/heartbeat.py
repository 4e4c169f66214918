"""Keeps a run's claim on a sync alive while it works, and tells it when another run has the sync."""

from __future__ import annotations

import logging
from threading import Event, Thread
from types import TracebackType

from sluice.ledger import Ledger, syncs
from sluice.ledger.database import LedgerUnavailable
from sluice.ledger.syncs import Claim, TurnLost

log = logging.getLogger(__name__)


def give_back(ledger: Ledger, claim: Claim, error: BaseException) -> None:
    """Record why a run failed and give its claim back, so that the next one need not wait for its end."""
    try:
        syncs.note_failed(ledger, claim, str(error) or type(error).__name__)
    except LedgerUnavailable as unavailable:
        log.warning("The claim on the %s is not given back and runs out: %s", claim.chain, unavailable)


class Heartbeat:
    """Renews a claim in the background for a block.

    A ledger that does not answer ends nothing: the claim runs out by itself, and whoever claims next is met
    at the next change of the ledger.
    """

    def __init__(self, ledger: Ledger, claim: Claim, seconds: float) -> None:
        self._ledger = ledger
        self._claim = claim
        self._seconds = seconds
        self._done = Event()
        self._lost: TurnLost | None = None
        self._thread = Thread(target=self._keep, name=f"claim {claim.chain.sync}", daemon=True)

    def check(self) -> None:
        """Raise TurnLost if another run has claimed the sync since."""
        if self._lost is not None:
            raise self._lost

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._done.wait(self._seconds / 3):
            try:
                syncs.renew(self._ledger, self._claim, self._seconds)
            except TurnLost as lost:
                self._lost = lost
                return
            except LedgerUnavailable as error:
                log.warning("The claim on the %s is not renewed for now: %s", self._claim.chain, error)

"""Keeps the claims of staged hours alive while a run works on the next one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from sluice.ledger import Ledger, exported
from sluice.ledger.exported import Claim, HourHeld

log = logging.getLogger(__name__)

# How long, in seconds, an hour stays claimed without a sign of life: time enough to start the next task on a
# busy machine, short enough that the retries of another run outlast a dead one.
LEASE_SECONDS = 600.0


class Keeper:
    """Renews the claims of the hours that a run has staged, and that of the one at hand."""

    def __init__(
        self, ledger: Ledger, lease_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ledger = ledger
        self._lease = lease_seconds
        self._clock = clock
        self._staged: list[Claim] = []
        self._current: Claim | None = None
        self._renewed = clock()

    def start(self, claim: Claim) -> None:
        """Turn to the hour that is being worked on now."""
        self._current = claim
        self._renew()

    def add(self, claim: Claim) -> None:
        """Count an hour as staged."""
        self._current = None
        self._staged.append(claim)

    def beat(self) -> None:
        """Renew the claims if it is time. Raises HourHeld if the hour that is being worked on is lost."""
        if self._clock() - self._renewed >= self._lease / 3:
            self._renew()

    def _renew(self) -> None:
        self._renewed = self._clock()
        for claim in list(self._staged):
            try:
                exported.renew(self._ledger, claim, self._lease)
            except HourHeld as held:
                # Publishing will find it out as well; the hour at hand goes on.
                log.warning("%s", held)
                self._staged.remove(claim)
        if self._current is not None:
            exported.renew(self._ledger, self._current, self._lease)

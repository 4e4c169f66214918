"""What quality gates hold, as the status of each pipeline shows it."""

from __future__ import annotations

from collections.abc import Iterator

from sluice.ledger import Ledger, quality
from sluice.ledger.quality import Pipeline


def held_lines(ledger: Ledger, pipeline: Pipeline, name: str | None = None) -> Iterator[str]:
    """Yield a line for everything that waits for a person, with what to do; `name` means only its own."""
    moment = ledger.now()
    for gate in quality.held(ledger, pipeline, name):
        if gate.held_until is not None and gate.held_until <= moment:
            end = "its time is over, the next run gives it up"
        else:
            end = f"until {gate.held_until:%Y-%m-%d %H:%M} UTC; release or discard it"
        yield (
            f"held by its quality gate: {gate.unit} of {gate.name}, run {gate.run}, {end}:"
            f" sluice quality show {gate.id}"
        )

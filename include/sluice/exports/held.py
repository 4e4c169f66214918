"""Hours that a quality gate holds: nobody but their own run touches them until a person has decided.

An hour is held from the moment its gate says so, and after its release until its run has published it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from sluice.exports.staged import StagedHour
from sluice.ledger import Ledger, exported, quality
from sluice.ledger.exported import HourId
from sluice.ledger.quality import Gate, GateId

_UNIT = re.compile(r"hour (\d{4}-\d\d-\d\dT\d\d) of project (\d+)")


def gate_of(id: HourId, run: str) -> GateId:
    """Return the gate in front of an hour that a run has staged."""
    return GateId("export", id.destination, run, f"hour {id.hour:%Y-%m-%dT%H} of project {id.project}")


def hour_of(gate: Gate) -> HourId | None:
    """Return the hour behind a gate, or None if it stands in front of several."""
    found = _UNIT.fullmatch(gate.unit)
    if found is None:
        return None
    hour = datetime.strptime(found[1], "%Y-%m-%dT%H").replace(tzinfo=UTC)
    return HourId(gate.name, int(found[2]), hour)


def content_text(staged: StagedHour) -> str:
    """Name exactly what a gate checks of a staged hour: its content, its filter, its form, its files.

    Staged once more, the same events give the same files to the byte; so a verdict stays good until then.
    """
    content = staged.content.fingerprint
    return f"{content.rows} {content.digest} {staged.filter_hash} {staged.config_hash} {staged.manifest}"


def waiting_hours(ledger: Ledger, destination: str) -> dict[HourId, Gate]:
    """Return the hours of a destination that wait for a person, or for their run after a release."""
    found: dict[HourId, Gate] = {}
    released = []
    for gate in quality.waiting(ledger, "export", destination):
        id = hour_of(gate)
        if id is None:
            continue
        if gate.state == "held":
            found[id] = gate
        else:
            released.append((id, gate))
    if released:
        staged = exported.all_staged(ledger, destination)
        for id, gate in released:
            if id in staged and staged[id]["run"] == gate.run:
                found.setdefault(id, gate)
    return found


def waiting_elsewhere(ledger: Ledger, id: HourId, run: str) -> Gate | None:
    """Return the gate that holds an hour for another run than this one, or None."""
    gate = waiting_hours(ledger, id.destination).get(id)
    return gate if gate is not None and gate.run != run else None


def passing_by(gate: Gate) -> str:
    """Say why another run leaves an hour alone, and what a person can do."""
    if gate.state == "released":
        return (
            f"the run {gate.run} has staged it, and its quality gate was released: clear the failed tasks of"
            " that run, and it publishes the hour"
        )
    until = f", at most until {gate.held_until:%Y-%m-%d %H:%M} UTC" if gate.held_until else ""
    return (
        f"the quality gate of the run {gate.run} holds it{until}: see `sluice quality show {gate.id}`, then"
        " release or discard it"
    )

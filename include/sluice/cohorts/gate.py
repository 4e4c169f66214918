"""The quality gate between a fixed turn and its delivery (ADR 16).

A gate that stops a turn makes it `stopped` in the ledger: nothing of it has left, other runs pass it by, and
its baseline stays. A person releases or discards it, or its time ends. A turn remembers the gate that let it
pass, so that whoever sends it, its bytes are not checked again; nor are bytes of which some have left.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.cohorts.chains import chain_of, claim_seconds
from sluice.cohorts.heartbeat import Heartbeat, give_back
from sluice.config.syncs import Sync
from sluice.lake import Lake
from sluice.ledger import Ledger, quality, syncs
from sluice.ledger.quality import Gate, GateId
from sluice.ledger.syncs import Chain, Claim, SyncBusy, Turn, TurnLost
from sluice.quality.gate import Checked, Override, pass_gate, require_open
from sluice.quality.report import write_report

if TYPE_CHECKING:
    from sluice.access.access import Access

log = logging.getLogger(__name__)

_UNIT = "turn "


def gate_id(turn: Turn) -> GateId:
    """Return what the gate of a turn is known by, while its run has it."""
    return GateId("cohort", turn.sync, turn.run, f"{_UNIT}{turn.number}")


def content_of(turn: Turn) -> str:
    """Name exactly what a turn's gate checks: its files, where they lie, with their checksums."""
    files = json.dumps([asdict(file) for file in turn.files], sort_keys=True)
    return f"{turn.folder} {hashlib.sha256(files.encode()).hexdigest()}"


def check_turn(
    sync: Sync,
    lake: Lake,
    ledger: Ledger,
    *,
    number: int,
    run: str,
    override: Override | None = None,
    scratch: Path | None = None,
) -> Gate | None:
    """Check a run's fixed turn; return its gate, open or held. The caller raises `stopped(gate)` if held.

    None means that nothing of this run stands before a gate: the gate is switched off, the bytes have been
    sent before, or the turn is over or another run's, of which the delivery tells. Of a turn that also waits
    for an approval, neither can do for the other. `scratch` is where local files go, the system's temporary
    folder by default. Raises SyncBusy or TurnLost if another run works on the sync: the caller leaves it
    alone, as one whose delivery finds that does.
    """
    turn = syncs.turn_of(ledger, chain_of(sync), number)
    if (reason := _needs_none(sync, turn, run)) is not None:
        log.info("The turn as of %s stands before no gate: %s", turn.as_of, reason)
        return None
    seconds = claim_seconds(sync.cadence)
    try:
        claim = syncs.claim(ledger, turn.chain, run, seconds)
    except SyncBusy as busy:
        syncs.note_skipped(ledger, turn.chain, run, str(busy))
        raise
    try:
        with Heartbeat(ledger, claim, seconds) as heartbeat:
            gate = _passed_before(ledger, turn) or _given_up(ledger, turn)
            if gate is None:
                gate = _pass(sync, lake, ledger, turn, claim, heartbeat, override, scratch)
            _record(ledger, claim, turn, gate, seconds)
    except TurnLost as lost:
        syncs.release(ledger, claim)
        syncs.note_skipped(ledger, turn.chain, run, str(lost))
        raise
    except BaseException as error:
        give_back(ledger, claim, error)
        raise
    return gate


def require_passed(sync: Sync, ledger: Ledger, turn: Turn) -> None:
    """See that a turn may leave: the last look before its first byte does.

    What has begun to leave is finished, and what was delivered is sent again, whatever a gate would say now.
    Raises QualityNotChecked for a turn that has passed no gate, QualityStopped for one whose gate is held.
    """
    if not sync.cohort.quality.enabled or turn.sent or turn.kind == "resend":
        return
    gate = None if turn.gate is None else quality.by_id(ledger, turn.gate)
    require_open(ledger, gate_id(turn) if gate is None else gate.gate, content_of(turn))


def discard_held(access: Access, gate: Gate) -> None:
    """Give up the turn of a gate that was discarded or has expired; once more changes nothing.

    Its baseline stays: the next run makes a new turn.
    """
    for turn in syncs.turns(access.ledger, sync=gate.name, states=["stopped"]):
        if turn.gate == gate.id:
            _decline(access.ledger, turn, gate)


def expire_held(ledger: Ledger, lake: Lake, sync: Sync) -> list[Gate]:
    """Give up what nobody decided about in time, and finish what a process left half done; return the former.

    A gate of a turn that is over for another reason is given up as well: nothing waits for it.
    """
    return _expire(ledger, lake, chain_of(sync))


def expire_held_of_all(ledger: Ledger, lake: Lake) -> list[Gate]:
    """Do so for all chains, also of syncs that no run follows on any more."""
    return [gate for state in syncs.chains(ledger) for gate in _expire(ledger, lake, state.chain)]


def _expire(ledger: Ledger, lake: Lake, chain: Chain) -> list[Gate]:
    expired = quality.expire(ledger, "cohort", chain.sync)
    for gate in expired:
        log.warning("The %s was stopped by its gate, and nobody decided in time: it is given up.", gate.gate)
        write_report(lake, gate)
    for turn in syncs.turns(ledger, chain=chain, states=["stopped"]):
        known = None if turn.gate is None else quality.by_id(ledger, turn.gate)
        if known is not None and known.state in ("discarded", "expired"):
            _decline(ledger, turn, known)
    for gate in quality.held(ledger, "cohort", chain.sync):
        over = _turn_that_is_over(ledger, chain, gate)
        if over is not None:
            reason = f"The turn is {over.state}: {over.reason}"
            write_report(lake, quality.discard(ledger, gate, "Sluice", reason))
    return expired


def _needs_none(sync: Sync, turn: Turn, run: str) -> str | None:
    if turn.run != run:
        return f"the run {turn.run} has it."
    if turn.state in ("delivered", "superseded", "declined"):
        return f"it is {turn.state}."
    if turn.sent:
        return "some of it has left, so all of it shall."
    if turn.kind == "resend":
        return "its bytes were delivered before."
    if not sync.cohort.quality.enabled and turn.state != "stopped":
        return "the cohort's gate is switched off."
    return None


def _passed_before(ledger: Ledger, turn: Turn) -> Gate | None:
    """Return the gate that has let these bytes pass already, for this run or one that gave the turn up."""
    known = None if turn.gate is None else quality.by_id(ledger, turn.gate)
    if known is None or not known.is_open or known.content != content_of(turn):
        return None
    log.info("The turn as of %s has passed its gate: it is %s.", turn.as_of, known.state)
    return known


def _given_up(ledger: Ledger, turn: Turn) -> Gate | None:
    """Return the gate if it was discarded before its turn knew of it."""
    known = quality.find(ledger, gate_id(turn))
    if known is None or known.state not in ("discarded", "expired") or known.content != content_of(turn):
        return None
    return known


def _pass(
    sync: Sync,
    lake: Lake,
    ledger: Ledger,
    turn: Turn,
    claim: Claim,
    heartbeat: Heartbeat,
    override: Override | None,
    scratch: Path | None,
) -> Gate:
    # Only a check needs Arrow's readers, which take a while to import.
    from sluice.cohorts.turn_check import TurnCheck

    standing = syncs.standing(ledger, claim)
    unsure = [earlier for earlier in standing.undelivered if earlier.number < turn.number]
    baseline = None if turn.baseline is None else syncs.turn_of(ledger, turn.chain, turn.baseline)

    def check() -> Checked:
        with tempfile.TemporaryDirectory(prefix="sluice-gate-", dir=scratch) as folder:
            last = unsure[-1] if unsure and turn.kind == "regular" else None
            checked = TurnCheck(sync, lake, turn, baseline, last, Path(folder)).run()
        # Files may be gone because another run has gone on meanwhile: then this says nothing about them.
        heartbeat.check()
        syncs.renew(ledger, claim, claim_seconds(sync.cadence))
        return checked

    return pass_gate(
        ledger, lake, gate_id(turn), content_of(turn), sync.cohort.quality, check, override=override
    )


def _record(ledger: Ledger, claim: Claim, turn: Turn, gate: Gate, seconds: float) -> None:
    """Let the turn know its gate."""
    if gate.is_open:
        syncs.pass_gate(ledger, claim, turn, gate.id, seconds)
        return
    assert gate.held_until is not None, "a gate that is not open was held"
    syncs.stop(ledger, claim, turn, gate.id, gate.held_until)
    if gate.state != "held":
        _decline(ledger, turn, gate)


def _decline(ledger: Ledger, turn: Turn, gate: Gate) -> None:
    reason = f"Its quality gate stopped it, and it was {gate.state}: {gate.reason}"
    syncs.decline(ledger, turn, reason, gate.decided_by)
    log.info("The turn of the %s as of %s is given up. %s", turn.chain, turn.as_of, reason)


def _turn_that_is_over(ledger: Ledger, chain: Chain, gate: Gate) -> Turn | None:
    number = int(gate.unit.removeprefix(_UNIT))
    for turn in syncs.turns(ledger, chain=chain, number=number):
        if content_of(turn) == gate.content and turn.finished_at is not None:
            return turn
    return None

"""What each sync is doing, what it last delivered, and what comes next: nothing half done looks done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sluice.cohorts.chains import chain_of
from sluice.config import Config
from sluice.config.syncs import Sync
from sluice.ledger import Ledger, quality, syncs
from sluice.ledger.syncs import Chain, ChainState, Turn
from sluice.quality.results import Result, stopping

StatusState = Literal[
    "off", "never run", "running", "held by its gate", "waiting for approval", "partial", "failed",
    "declined", "skipped", "superseded", "not sent", "delivered",
]  # fmt: skip

_EVERY = {"hourly": timedelta(hours=1), "daily": timedelta(days=1), "real_time": timedelta(minutes=1)}


@dataclass(frozen=True)
class SyncStatus:
    """One sync: its state with the reason, its newest turn, its last delivered one, its next as-of time.

    `next_as_of` is None for a sync that runs by hand, or is switched off.
    """

    sync: Sync
    state: StatusState
    reason: str | None
    newest: Turn | None
    delivered: Turn | None
    next_as_of: datetime | None


def status_of(config: Config, ledger: Ledger) -> list[SyncStatus]:
    """Return the status of all configured syncs, by id."""
    known = {state.chain: state for state in syncs.chains(ledger)}
    moment = ledger.now()
    return [_status(sync, known, ledger, moment) for sync in sorted(config.syncs, key=lambda sync: sync.id)]


def arrived(turn: Turn) -> str:
    """Say how much of a turn has arrived at its destination."""
    if turn.commit_key is not None:
        return f"{turn.files_delivered} of {len(turn.sent_files)} files"
    return f"{turn.messages_delivered:,} of {sum(file.rows for file in turn.sent_files):,} messages"


def _status(sync: Sync, known: Mapping[Chain, ChainState], ledger: Ledger, moment: datetime) -> SyncStatus:
    chain = chain_of(sync)
    state = known.get(chain)
    newest = next(iter(syncs.turns(ledger, chain=chain, kinds=["regular"], limit=1)), None)
    delivered = next(
        iter(syncs.turns(ledger, chain=chain, kinds=["regular"], states=["delivered"], limit=1)), None
    )
    label, reason = _label(ledger, sync, state, newest)
    following = _next(sync, moment) if sync.enabled else None
    return SyncStatus(sync, label, reason, newest, delivered, following)


def _label(
    ledger: Ledger, sync: Sync, state: ChainState | None, newest: Turn | None
) -> tuple[StatusState, str | None]:
    """Return the state and why: what goes on now, else what happened last, a failure before a skip."""
    if newest is not None and newest.state == "stopped":
        return _stopped(ledger, newest)
    if state is not None and newest is not None and newest.state == "held":
        return "waiting for approval", f"{newest.reason} Until {_utc(newest.held_until)}."
    if state is not None and state.run is not None:
        so_far = f", {arrived(newest)} sent" if newest is not None and newest.state == "sending" else ""
        return "running", f"The run {state.run}{so_far}."
    note = state.note if state is not None else None
    after = note if note is not None and (newest is None or note.at >= _last_change(newest)) else None
    why = after.reason if after is not None else None
    if newest is not None and newest.sent and newest.state in ("sending", "superseded"):
        told = f"{arrived(newest)} have arrived; the next turn makes it good."
        return "partial", f"{told} {why}" if why else told
    if after is not None:
        return after.kind, why
    if not sync.enabled:
        return "off", None
    if newest is None:
        return "never run", None
    if newest.state == "fixed":
        return "not sent", "It was fixed, and nothing of it has left."
    if newest.state == "delivered":
        return "delivered", None
    return ("declined" if newest.state == "declined" else "superseded"), newest.reason


def _stopped(ledger: Ledger, turn: Turn) -> tuple[StatusState, str]:
    """Say why a quality gate has stopped a turn, and what to do."""
    gate = None if turn.gate is None else quality.by_id(ledger, turn.gate)
    until = _utc(turn.gate_until)
    if gate is None:
        return "held by its gate", f"Until {until}."
    if gate.state == "released":
        return "held by its gate", (
            f"{gate.decided_by} released it: clear check_quality of the run {turn.run} before {until}."
        )
    failed = [str(each) for each in stopping(map(Result.from_json, gate.results))]
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return "held by its gate", (
        f"{failed[0]}{more}. Until {until}; `sluice quality show {gate.id}` says how to release or discard"
        " it."
    )


def _last_change(turn: Turn) -> datetime:
    found = [at for at in (turn.fixed_at, turn.sending_at, turn.finished_at) if at is not None]
    return max(found)


def _next(sync: Sync, moment: datetime) -> datetime | None:
    """Return the next end of an interval of the sync's cadence."""
    every = _EVERY.get(sync.cadence)
    if every is None:
        return None
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + every * ((moment - midnight) // every + 1)


def _utc(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"

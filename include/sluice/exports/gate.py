"""The gate of the exported hour: it stands between the uploads and their completion (docs/quality.md).

An hour that it stops stays as uploads that nobody has completed, so nothing of it is visible. Its run, and
nobody else, goes on with it when a person has released it; discarded or expired, its uploads are aborted and
the hour counts as not exported.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from sluice.access.access import Access
from sluice.config import ExportConfig
from sluice.exports.bucket import Bucket
from sluice.exports.checks import BUILT_IN, Candidate, HourChecks
from sluice.exports.held import content_text, gate_of, hour_of
from sluice.exports.keeper import LEASE_SECONDS, Keeper
from sluice.exports.samples import read_sample, remove_sample
from sluice.exports.staged import StagedHour
from sluice.lake import Lake
from sluice.ledger import Ledger, exported, quality
from sluice.ledger.exported import Claim, HourHeld, HourId
from sluice.ledger.quality import Gate
from sluice.quality.gate import Checked, Override, QualityStopped, pass_gate
from sluice.quality.report import write_report

if TYPE_CHECKING:
    from sluice.exports.hour import HourOutcome

__all__ = ["BUILT_IN", "check_hours", "discard_held", "expire_held", "raise_for_stopped"]

log = logging.getLogger(__name__)


def check_hours(
    config: ExportConfig,
    *,
    lake: Lake,
    ledger: Ledger,
    run: str,
    own: Iterable[datetime] = (),
    override: Override | None = None,
    lease_seconds: float = LEASE_SECONDS,
) -> list[Gate]:
    """Check every hour that a run has staged, its `own` first; return their gates, open and held.

    The claims of the open ones stay alive for the publication. An hour that another writer has taken
    meanwhile is not among them.
    """
    first = set(own)
    staged = exported.staged_by(ledger, config.id, run)
    checks = HourChecks(config, lake, ledger)
    keeper = Keeper(ledger, lease_seconds)
    gates = []
    for id in sorted(staged, key=lambda id: (id.hour not in first, id.hour, id.project)):
        try:
            claim = exported.claim(ledger, id, run, lease_seconds)
        except HourHeld as held:
            log.warning("%s", held)
            continue
        keeper.start(claim)
        hour = staged_hour(ledger, id, run)
        if hour is None:
            exported.release(ledger, claim)
            continue
        gate = pass_gate(
            ledger,
            lake,
            gate_of(id, run),
            content_text(hour),
            config.quality,
            lambda id=id, hour=hour: _checked(checks, lake, id, hour),  # type: ignore[misc]
            override=override,
        )
        keeper.add(claim)
        if gate.state == "held":
            gate = hold(ledger, claim, gate, lease_seconds)
        gates.append(gate)
    return gates


def staged_hour(ledger: Ledger, id: HourId, run: str) -> StagedHour | None:
    """Return what a run has staged of an hour, or None."""
    record = exported.record(ledger, id)
    if record is None or record.staged is None or record.staged["run"] != run:
        return None
    return StagedHour.from_json(record.staged)


def hold(ledger: Ledger, claim: Claim, gate: Gate, lease_seconds: float) -> Gate:
    """Let go of the claim of an hour that its gate holds: from here on the gate's record protects it.

    If another writer has taken the hour while it was checked, its uploads are gone: then it is given up. A
    newer try of the same run has taken nothing away.
    """
    try:
        exported.renew(ledger, claim, lease_seconds)
    except HourHeld as held:
        log.warning("%s", held)
        if _still_there(ledger, claim, gate):
            return gate
        return quality.discard(ledger, gate, "Sluice", "Another run took the hour while it was checked.")
    exported.release(ledger, claim)
    return gate


def _still_there(ledger: Ledger, claim: Claim, gate: Gate) -> bool:
    """Whether what a gate holds is staged still, and no other run is at it."""
    record = exported.record(ledger, claim.id)
    staged = staged_hour(ledger, claim.id, claim.run)
    if record is None or staged is None or content_text(staged) != gate.content:
        return False
    return record.run == claim.run or record.claimed_until is None


def discard_held(access: Access, gate: Gate) -> None:
    """Remove what is staged behind a gate that was discarded or has expired; done already, it does nothing.

    Raises HourHeld if a run is working on the hour at this moment, SluiceError if the destination is not
    configured any more.
    """
    config = access.config.export(gate.name)
    bucket = Bucket.of(access.store(config.connection, config.region).client(), config)
    _give_up(gate, lake=access.lake, ledger=access.ledger, bucket=bucket)


def expire_held(config: ExportConfig, *, lake: Lake, ledger: Ledger, bucket: Bucket) -> list[Gate]:
    """Give up what nobody decided about in time, and what a killed discard has left; return what expired."""
    expired = quality.expire(ledger, "export", config.id)
    for gate in expired:
        write_report(lake, gate)
        log.warning("The %s has expired: %s", gate.gate, gate.reason)
    for id, staged in exported.all_staged(ledger, config.id).items():
        known = quality.find(ledger, gate_of(id, staged["run"]))
        if known is not None and known.state in ("discarded", "expired"):
            try:
                _give_up(known, lake=lake, ledger=ledger, bucket=bucket)
            except HourHeld as held:
                log.info("%s", held)
    return expired


def raise_for_stopped(outcomes: Iterable[HourOutcome]) -> None:
    """Raise QualityStopped if gates have stopped hours of a run, after its other hours are published."""
    stopped = [outcome for outcome in outcomes if outcome.action == "stopped"]
    if stopped:
        more = f" {len(stopped) - 1:,} more hours are held in the same way." if len(stopped) > 1 else ""
        raise QualityStopped(stopped[0].note + more)


def _checked(checks: HourChecks, lake: Lake, id: HourId, staged: StagedHour) -> Checked:
    found = checks.check(id.project, [Candidate(id.hour, staged, _sample_of(lake, staged))])
    return found[id.hour]


def _sample_of(lake: Lake, staged: StagedHour) -> list[bytes] | None:
    """Return the sample of a staged hour; none was taken of an hour without lines."""
    if not staged.rows:
        return []
    if staged.sample is None:
        return None
    try:
        return read_sample(lake, staged.sample)
    except FileNotFoundError:
        log.warning("The sample %s is gone.", staged.sample)
        return None


def _give_up(gate: Gate, *, lake: Lake, ledger: Ledger, bucket: Bucket) -> None:
    """Abort the uploads behind a gate, then forget them: a kill in between leaves what the next one finds."""
    id = hour_of(gate)
    if id is None or _given_up(ledger, id, gate) is None:
        return
    # As a writer of its own: a run that is alive keeps the hour.
    claim = exported.claim(ledger, id, f"discard {gate.id}", LEASE_SECONDS)
    try:
        staged = _given_up(ledger, id, gate)
        if staged is None:
            return
        uploads = [(file.key, file.upload_id) for file in staged.files]
        if staged.marker is not None and staged.marker.upload_id is not None:
            uploads.append((staged.marker.key, staged.marker.upload_id))
        for key, upload_id in uploads:
            bucket.abort(key, upload_id)
        exported.stage(ledger, claim, None)
        remove_sample(lake, staged.sample)
        log.info("Gave up the %s, as it was staged by %s", id, gate.run)
    finally:
        exported.release(ledger, claim)


def _given_up(ledger: Ledger, id: HourId, gate: Gate) -> StagedHour | None:
    """Return the staging behind a gate if it is to be given up: not what the run has staged anew since."""
    known = quality.find(ledger, gate.gate)
    staged = staged_hour(ledger, id, gate.run)
    if staged is None or known is None or known.state not in ("discarded", "expired"):
        return None
    return staged if known.content == content_text(staged) else None

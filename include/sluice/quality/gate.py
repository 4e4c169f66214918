"""The gate itself: what was found decides whether the work goes on, and all of it is on record."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sluice.config.quality import QualityConfig
from sluice.lake import Lake
from sluice.ledger import Ledger, quality
from sluice.ledger.quality import Gate, GateId, State
from sluice.quality.errors import QualityNotChecked, QualityStopped
from sluice.quality.report import path_of, write_report
from sluice.quality.results import Result, sentence, stopping, warning

__all__ = [
    "Checked",
    "Override",
    "QualityNotChecked",
    "QualityStopped",
    "pass_gate",
    "require_open",
    "stopped",
]

log = logging.getLogger(__name__)

# As many failed expectations as an error names; all of them are in the report.
_NAMED = 5


@dataclass(frozen=True)
class Override:
    """A person's word, given with the run, that a gate's failures shall not stop it."""

    by: str
    reason: str


@dataclass(frozen=True)
class Checked:
    """What the expectations gave; `rows` were there, `sampled` of them looked at one by one."""

    results: Sequence[Result]
    rows: int
    sampled: int = 0


def pass_gate(
    ledger: Ledger,
    lake: Lake,
    gate: GateId,
    content: str,
    settings: QualityConfig,
    check: Callable[[], Checked],
    *,
    override: Override | None = None,
) -> Gate:
    """Check what a run has staged, record the verdict and write its report; return the gate, open or held.

    `content` names exactly what is checked: what a person released stays released as long as it is that. The
    caller raises `stopped(gate)` for a gate that is held.
    """
    known = quality.find(ledger, gate)
    if known is not None and known.state == "released" and known.content == content:
        log.info("The %s was released by %s: %s", gate, known.decided_by, known.reason)
        return known
    began = time.monotonic()
    checked = check()
    state, reason = _verdict(checked.results, override)
    found = Gate(
        id=known.id if known is not None else quality.new_id(),
        pipeline=gate.pipeline,
        name=gate.name,
        run=gate.run,
        unit=gate.unit,
        content=content,
        state=state,
        rows=checked.rows,
        sampled=checked.sampled,
        failed=len(stopping(checked.results)),
        warnings=len(warning(checked.results)),
        results=[result.to_json() for result in checked.results],
        report=None,
        seconds=time.monotonic() - began,
        checked_at=datetime.now(UTC),
        held_until=None,
        decided_at=datetime.now(UTC) if state == "overridden" else None,
        decided_by=override.by if override and state == "overridden" else None,
        reason=reason,
    )
    # Only the record knows until when it is held, or what somebody has decided meanwhile.
    recorded = quality.record(ledger, replace(found, report=path_of(found)), settings.hold_hours, known)
    write_report(lake, recorded)
    _tell(recorded, checked.results)
    return recorded


def require_open(ledger: Ledger, gate: GateId, content: str) -> None:
    """See that exactly this content has passed its gate: the last look before it becomes visible.

    Raises QualityNotChecked, or QualityStopped if it is held or was given up.
    """
    known = quality.find(ledger, gate)
    if known is None or known.content != content:
        raise QualityNotChecked(
            f"The {gate} has passed no quality gate as it is now: nothing of it becomes visible. Clear the"
            " task check_quality of this run; the tasks behind it follow."
        )
    if not known.is_open:
        raise stopped(known)


def stopped(*gates: Gate) -> QualityStopped:
    """Return the error that says what gates have stopped, and what a person can do now."""
    said = []
    for gate in gates:
        results = [Result.from_json(result) for result in gate.results]
        failures = [str(result) for result in stopping(results)]
        more = f" (and {len(failures) - _NAMED} more)" if len(failures) > _NAMED else ""
        said.append(
            f"The quality gate of the {gate.gate} is {gate.state}: {'; '.join(failures[:_NAMED])}{more}."
        )
    first = gates[0]
    until = f"{first.held_until:%Y-%m-%d %H:%M} UTC" if first.held_until else "its time is over"
    return QualityStopped(
        f"{' '.join(said)} Nothing of it is visible. `sluice quality show {first.run}` shows all of it. If"
        f" the data are right: `sluice quality release {first.run} --reason …`, then clear this task. If not:"
        f" `sluice quality discard {first.run} --reason …`, and mend them. Until then (at most until {until})"
        " other runs pass it by."
    )


def _verdict(results: Sequence[Result], override: Override | None) -> tuple[State, str | None]:
    if stopping(results):
        return ("overridden", override.reason) if override is not None else ("held", None)
    return ("warned" if warning(results) else "passed"), None


def _tell(gate: Gate, results: Sequence[Result]) -> None:
    for result in warning(results):
        log.warning("%s", result)
    for result in stopping(results):
        log.error("%s", result)
    if gate.state == "overridden":
        log.warning("%s lets it pass nevertheless: %s", gate.decided_by, gate.reason)
    log.info(
        "The quality gate of the %s: %s, %s rows, %s of them looked at one by one, %.1f s: %s",
        gate.gate, gate.state, f"{gate.rows:,}", f"{gate.sampled:,}", gate.seconds, sentence(results),
    )  # fmt: skip

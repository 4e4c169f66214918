"""What a quality gate holds of an import: the files of a run, staged and not loaded (docs/quality.md).

Their state is the gate's: as long as a person may still release them, no other run, no clean-up and no
conversion touches them (sluice.ledger.files). Discarded or expired, they fail, and a person may let them wait
again. Everything here may be killed and done once more.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sluice.access.access import Access
from sluice.errors import SluiceError
from sluice.imports.session import ImportRun
from sluice.imports.staging import remove_staged
from sluice.lake import Lake
from sluice.lake.projection import catch_up
from sluice.ledger import Ledger, files, quality
from sluice.ledger.quality import Gate, GateId
from sluice.quality.report import write_report
from sluice.quality.results import Result, stopping

log = logging.getLogger(__name__)

UNIT = "load"
_GIVEN_UP = ("discarded", "expired")
# As many failed expectations as a file's reason names.
_NAMED = 3


def gate_of(run: ImportRun) -> GateId:
    """Return the gate in front of what a run loads."""
    return GateId("import", run.source.id, f"{run.source.dag_id}/{run.run}", UNIT)


def expire_held(run: ImportRun) -> int:
    """Give up what nobody decided about in time, and finish what a killed discard has begun.

    Returns how many files failed so. The first thing that each run of the source does.
    """
    return _expire(run.lake, run.ledger, run.source.id)


def expire_held_of_all(lake: Lake, ledger: Ledger) -> int:
    """Do so for all sources, also those that no run follows on any more; return how many files failed."""
    held = {gate.name for gate in quality.held(ledger, "import")}
    staged = {source for source, _ in files.runs_of_staged(ledger)}
    return sum(_expire(lake, ledger, source) for source in sorted(held | staged))


def discard_held(access: Access, gate: Gate) -> None:
    """Make the files behind a discarded or expired gate fail, and remove what was staged of them.

    `sluice import retry` takes each of them again. Raises SluiceError for a gate that is neither.
    """
    if gate.state not in _GIVEN_UP:
        raise SluiceError(
            f"The {gate.gate} is {gate.state}, not discarded: discard it first, nothing was removed."
        )
    count = _give_up(access.lake, access.ledger, gate)
    log.info("%s files of the %s have failed; nothing of them is in the lake.", f"{count:,}", gate.gate)


def tell_held(run: ImportRun) -> int:
    """Say in the log which other runs' files wait for a person; return how many files."""
    others = {
        name: count
        for name, count in files.held(run.ledger, run.source.id).items()
        if name != gate_of(run).run
    }
    for name, count in others.items():
        log.warning(
            "%s files of the run %s wait behind its quality gate and are passed by:"
            " `sluice quality show %s` says why, and how to release or discard them.",
            f"{count:,}", name, name,
        )  # fmt: skip
    return sum(others.values())


def _expire(lake: Lake, ledger: Ledger, source: str) -> int:
    for gate in quality.expire(ledger, "import", source):
        log.warning("The %s has expired: %s", gate.gate, gate.reason)
        write_report(lake, gate)
    stopped = 0
    for of, name in files.runs_of_staged(ledger):
        if of != source:
            continue
        known = quality.find(ledger, GateId("import", of, f"import_s3__{of}/{name}", UNIT))
        if known is not None and known.state in _GIVEN_UP:
            stopped += _give_up(lake, ledger, known)
    return stopped


def _give_up(lake: Lake, ledger: Ledger, gate: Gate) -> int:
    """Fail the files first: what the ledger does not name any more may be removed, whoever is killed."""
    # A load may have brought some of them into the lake before the gate was asked once more.
    catch_up(lake, ledger, lake.events())
    run = gate.run.partition("/")[2]
    until = gate.decided_at or gate.checked_at
    stopped = files.stop(ledger, gate.name, run, _reason(gate), until)
    if stopped and not files.staged_of(ledger, gate.name, run):
        remove_staged(lake.filesystem(), gate.name, run)
    return stopped


def _reason(gate: Gate) -> str:
    found = stopping([Result.from_json(result) for result in gate.results])
    decided = f"discarded by {gate.decided_by}: {gate.reason}"
    end = decided if gate.state == "discarded" else "expired, since nobody decided in time"
    return (
        f"Stopped by the quality gate: {_named(found)}; {end.rstrip('.')}. None of its rows is in the lake."
        " Once file or converter are mended, `sluice import retry` takes it again (`sluice import again`, if"
        " these were rejected rows)."
    )


def _named(found: Sequence[Result]) -> str:
    more = f" (and {len(found) - _NAMED} more)" if len(found) > _NAMED else ""
    return "; ".join(str(result) for result in found[:_NAMED]) + more

"""What a load's own reconciliation says (sluice.lake.reconciliation), in the record of the run's gate.

The load itself is the judge, whether a gate is switched on or not; here its word becomes a result beside the
others, in ledger and report.
"""

from __future__ import annotations

from dataclasses import replace

from sluice.imports.held import gate_of
from sluice.imports.session import ImportRun
from sluice.lake.reconciliation import NotReconciled
from sluice.ledger import files, quality
from sluice.quality import counts
from sluice.quality.report import write_report
from sluice.quality.results import Expectation, Result, stopping

_OF = "rows read with what became of them"


def record_fates(run: ImportRun) -> None:
    """Record that the fates of the rows that the run has loaded add up, by the counts that the ledger has."""
    staged = files.staged_of(run.ledger, run.source.id, run.run)
    done = [file for file in staged if file.rows_read is not None]
    read = sum(file.rows_read or 0 for file in done)
    fates = sum(
        count or 0 for file in done for count in (file.loaded, file.duplicate, file.ignored, file.rejected)
    )
    names = ("rows read", "loaded, duplicate, ignored or rejected")
    _record(run, counts.reconciliation(_OF, read, fates, names=names))


def hold_unreconciled(run: ImportRun, error: NotReconciled) -> None:
    """Let the run's gate hold what its load refused: nothing of that load was committed."""
    expectation = Expectation(counts.RECONCILIATION, {"of": _OF})
    _record(run, Result(expectation, False, "reconciliation", observed=error.counts))


def _record(run: ImportRun, result: Result) -> None:
    known = quality.find(run.ledger, gate_of(run))
    if known is None or not run.source.quality.enabled:
        return
    others = [one for one in known.results if one["expectation"]["kwargs"].get("of") != _OF]
    results = [*others, result.to_json()]
    failed = len(stopping([Result.from_json(one) for one in results]))
    found = replace(known, results=results, failed=failed)
    if not result.success:
        # Who has released the rows, or overridden their gate, has not spoken of this.
        found = replace(found, state="held", decided_at=None, decided_by=None, reason=None)
    hold_hours = run.source.quality.hold_hours
    write_report(run.lake, quality.record(run.ledger, found, hold_hours, over_release=True))

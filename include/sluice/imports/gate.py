"""The gate of a run's converted files: it stands between their staging and their load (docs/quality.md).

What it stops stays staged, so nothing of it is in the lake. Its run goes on with it when a person has
released it; discarded or expired, its files fail (sluice.imports.held).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from sluice.event_schema import STAGED_EVENTS, STAGED_REPLAY
from sluice.imports.held import discard_held, expire_held, gate_of
from sluice.imports.history import rows_of_weeks_before
from sluice.imports.row_rules import COLUMNS, row_results
from sluice.imports.session import ImportRun
from sluice.imports.staged_rows import FILE, Footer, StagedRows
from sluice.lake.sql import connect
from sluice.ledger import files
from sluice.ledger.files import SourceFile
from sluice.ledger.quality import Gate
from sluice.quality import counts
from sluice.quality.evaluate import evaluate
from sluice.quality.exact import is_exact
from sluice.quality.gate import Checked, Override, pass_gate, require_open
from sluice.quality.results import Expectation, Result, Severity
from sluice.quality.sample import columns_of, frame_of
from sluice.quality.suites import suite

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "PERSON",
    "built_in",
    "check_load",
    "discard_held",
    "expire_held",
    "gate_of",
    "require_checked",
]

log = logging.getLogger(__name__)

# Beside the staged columns: whoever the event is of, by user_id, else by device_id.
PERSON = "$person"
# Earlier times are those of a clock that was never set, or of seconds read as milliseconds.
_EARLIEST = date(2000, 1, 1)
# How far ahead of ours a clock may be, with its time zone.
_AHEAD = timedelta(days=1)
# A few clocks are always wrong; a converter that misreads times does so in every row.
_SANE_TIMES = 0.95
# Some rows of an export may have no more than their Amplitude ID.
_REPLAYED_PERSONS = 0.95
# As many files as are named by a reconciliation each.
_NAMED = 20
_READ, _ROWS = "read", "staged"


def built_in(run: ImportRun) -> list[Expectation]:
    """Return what is expected of every run's staged rows: of all of them, by aggregates."""
    earliest = min(_EARLIEST, run.source.not_before)
    persons = {"column": PERSON} | ({"mostly": _REPLAYED_PERSONS} if run.source.replay else {})
    return [
        _not_null("uuid"),
        _once_in_a_file("uuid", notes="No file has a row twice."),
        _not_null("event_type"),
        _not_null("event_time"),
        Expectation(
            "expect_column_values_to_be_between",
            {
                "column": "event_time",
                "min_value": _text(datetime.combine(earliest, time(), UTC)),
                "max_value": _text(run.ledger.now() + _AHEAD),
                "mostly": _SANE_TIMES,
            },
            notes="Times are neither before events were recorded nor still to come.",
        ),
        Expectation(
            "expect_column_values_to_not_be_null", persons, notes="A row has a user_id or a device_id."
        ),
        *_of_replay(run),
        Expectation(counts.LIKE_WEEKS_BEFORE, {}, "warning"),
    ]


def _of_replay(run: ImportRun) -> Iterator[Expectation]:
    # An import drops the second row of an insert_id as a duplicate; an export has done so before.
    if run.source.replay:
        notes = "What was exported has no event twice, also under two uuids."
        yield _once_in_a_file("device_id", "$insert_id", severity="warning", notes=notes)


def check_load(run: ImportRun, *, override: Override | None = None) -> Gate | None:
    """Check what a run has staged before it is loaded; return its gate, open or held.

    None if the source's gate is switched off, or no file is staged that its conversion did not fail: there is
    nothing to check. The caller raises `stopped(gate)` for one that is held.
    """
    settings = run.source.quality
    if not settings.enabled:
        log.info("The quality gate of %s is switched off.", run.source.id)
        return None
    staged = files.staged_of(run.ledger, run.source.id, run.run)
    if not any(_is_to_check(file) for file in staged):
        log.info("No file is staged: there is nothing to check.")
        return None
    content = _content(staged)
    return pass_gate(
        run.ledger,
        run.lake,
        gate_of(run),
        content,
        settings,
        lambda: _check(run, staged, content),
        override=override,
    )


def require_checked(run: ImportRun, to_load: Sequence[SourceFile]) -> None:
    """See that the run's staged files have passed their gate as they are: the last look before a load.

    Raises QualityNotChecked or QualityStopped. Nothing is asked where the gate is switched off or all of the
    files have failed.
    """
    if run.source.quality.enabled and any(_is_to_check(file) for file in to_load):
        content = _content(files.staged_of(run.ledger, run.source.id, run.run))
        require_open(run.ledger, gate_of(run), content)


def _is_to_check(file: SourceFile) -> bool:
    """Whether a gate has a say about it: also about a file without a single event, which may be the fault."""
    return not (file.staged or {}).get("failed")


def _content(staged: Sequence[SourceFile]) -> str:
    """Name exactly what is staged: each file's version, its counts, and where its rows lie."""
    names = ("events", "rejects", "rows_read", "ignored", "rejected", "failed")
    facts = [
        [file.bucket, file.key, file.etag, *((file.staged or {}).get(name) for name in names)]
        for file in staged
    ]
    return hashlib.sha256(json.dumps(sorted(facts, key=lambda fact: fact[:2])).encode()).hexdigest()


def _check(run: ImportRun, staged: Sequence[SourceFile], seed: str) -> Checked:
    source, settings = run.source, run.source.quality
    checked = [file for file in staged if _is_to_check(file)]
    rows = StagedRows(run.lake, checked, STAGED_REPLAY if source.replay else STAGED_EVENTS)
    expected = suite(built_in(run), settings)
    of_rows = [each for each in expected if not counts.is_own(each)]
    by_row = [each for each in of_rows if not is_exact(each)]
    needed = {name.split(".", 1)[0] for each in by_row for name in columns_of(each)}
    sample = rows.sample({*COLUMNS, *needed}, settings.sample_rows, seed)

    def frame() -> pd.DataFrame:
        return frame_of(sample, by_row)

    with connect() as engine:
        engine.register(_READ, rows.dataset())
        engine.execute(
            f'CREATE VIEW {_ROWS} AS SELECT *, coalesce(user_id, device_id) AS "{PERSON}" FROM {_READ}'
        )
        # Of no rows at all a sample of none stands for them.
        looked_at = frame if sample or not rows.count else None
        found = evaluate(of_rows, engine, _ROWS, looked_at, show_values=settings.show_values)
    results = [*_reconciled(rows), *found[None]]
    if sample:
        results += row_results(sample, replay=source.replay)
    history = [each for each in expected if each.type == counts.LIKE_WEEKS_BEFORE]
    for each in history:
        before = rows_of_weeks_before(run.ledger, source, counts.arguments(each)["weeks"])
        results.append(counts.like_weeks_before(each, rows.count, before))
    return Checked(results, rows.count, len(sample))


def _reconciled(rows: StagedRows) -> Iterator[Result]:
    """Yield whether the staged files have the rows that their conversion counted: of all, and where not."""
    expected = found = 0
    faults: list[Result] = []
    for number, file in enumerate(rows.files):
        facts = file.staged or {}
        events = facts["rows_read"] - facts["ignored"] - facts["rejected"]
        expected += events + facts["rejected"]
        found += rows.events[number].rows + rows.rejects[number].rows
        faults += _faults(file, "events", events, rows.events[number])
        faults += _faults(file, "rejected rows", facts["rejected"], rows.rejects[number])
    names = ("rows were read and not ignored", "are staged as events or rejected rows")
    yield counts.reconciliation(f"{len(rows.files):,} files", expected, found, names=names)
    yield from faults[:_NAMED]


def _faults(file: SourceFile, what: str, expected: int, footer: Footer) -> Iterator[Result]:
    of = f"{what} of {file.name}"
    if footer.fault is not None:
        expectation = Expectation(counts.RECONCILIATION, {"of": of})
        yield Result(expectation, False, "reconciliation", checked=expected, error=footer.fault)
    elif footer.rows != expected:
        yield counts.reconciliation(of, expected, footer.rows, names=("by their conversion", "staged"))


def _once_in_a_file(*columns: str, severity: Severity = "critical", notes: str) -> Expectation:
    kwargs = {"column_list": [FILE, *columns], "ignore_row_if": "any_value_is_missing"}
    return Expectation("expect_compound_columns_to_be_unique", kwargs, severity, notes)


def _not_null(column: str) -> Expectation:
    return Expectation("expect_column_values_to_not_be_null", {"column": column})


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"

"""The load step: whole staged files, in their order, to the lake's load protocol (ADR 1)."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

from sluice.imports.fates import hold_unreconciled, record_fates
from sluice.imports.gate import require_checked
from sluice.imports.replay import export_order
from sluice.imports.session import ImportRun
from sluice.imports.staging import remove_run
from sluice.lake import Counts, LoadRequest, StagedFile, load
from sluice.lake.decision import decide
from sluice.lake.reconciliation import NotReconciled
from sluice.lake.replay import decide_replay
from sluice.ledger import files
from sluice.ledger.files import SourceFile

log = logging.getLogger(__name__)

# A load is decided in memory that grows with its rows, about 30 bytes each.
MAX_ROWS_PER_LOAD = 10_000_000


@dataclass
class Loaded:
    """What a load step did: files, commits, and what became of the files' rows."""

    files: int = 0
    commits: int = 0
    counts: Counts = field(default_factory=Counts)


def load_run(run: ImportRun) -> Loaded:
    """Load all files that a run staged and that are not loaded yet, then remove its staged files.

    A file that it took over from another run, and did not convert anew, is left to a later one.

    A try after a killed one loads nothing twice: what the log already names is only completed from there.
    Raises QualityNotChecked or QualityStopped, and loads nothing, if what is staged has not passed its gate,
    and NotReconciled if what became of the rows does not add up: the gate holds them then.
    """
    source = run.source
    staged = list(_own(run))
    require_checked(run, staged)
    if source.replay:
        staged.sort(key=lambda file: export_order(file.key))
    many_hours = source.replay or source.upload_time == "event_time"
    max_hours = source.max_hours_per_load if many_hours else None
    result = Loaded()
    uploaded = [file for file in staged if not file.is_again]
    again = [file for file in staged if file.is_again]
    groups = chain(*(group_files(part, max_hours, MAX_ROWS_PER_LOAD) for part in (uploaded, again)))
    for group in groups:
        # That many of the rows that were rejected before are rejected again is no surprise.
        budget = 1.0 if group[0].is_again else source.error_budget
        request = LoadRequest(
            project=source.project,
            source=source.id,
            files=[_staged_file(file) for file in group],
            upload_time=source.upload_time,
            decide=partial(decide_replay, error_budget=budget) if source.replay else decide,
        )
        began = time.monotonic()
        try:
            loaded = load(run.lake, run.ledger, request)
        except NotReconciled as error:
            hold_unreconciled(run, error)
            raise
        took = time.monotonic() - began
        result.files += len(group)
        result.commits += loaded.commits
        result.counts += loaded.counts
        log.info(
            "%s files of %s bytes loaded in %.1f s, %s rows/s: %s rows, %s duplicates; %s files to go",
            len(group), f"{sum(file.size for file in group):,}", took, f"{loaded.counts.read / took:,.0f}",
            f"{loaded.counts.loaded:,}", f"{loaded.counts.duplicate:,}", len(staged) - result.files,
        )  # fmt: skip
    if result.files:
        record_fates(run)
    files.forget_staging(run.ledger, source.id, run.run)
    held = [name for of, name in files.runs_of_held(run.ledger) if of == source.id]
    remove_run(run.lake.filesystem(), source.id, run.run, held)
    return result


def group_files(
    staged: Sequence[SourceFile], max_hours: int | None, max_rows: int
) -> Iterator[list[SourceFile]]:
    """Cut files, in their order, into loads that touch at most `max_hours` hours and `max_rows` rows.

    A file is never split: one that is larger makes a load of its own (decisions E-21).
    """
    group: list[SourceFile] = []
    hours: set[int] = set()
    rows = 0
    for file in staged:
        facts = file.staged or {}
        own = set() if max_hours is None else _hours(facts["hours"])
        if group and (rows + facts["rows_read"] > max_rows or len(hours | own) > (max_hours or 0)):
            yield group
            group, hours, rows = [], set(), 0
        group.append(file)
        hours |= own
        rows += facts["rows_read"]
    if group:
        yield group


def _own(run: ImportRun) -> Iterator[SourceFile]:
    """Yield the files that the run has staged itself: of another's rows its gate knows nothing."""
    for file in files.staged_by(run.ledger, run.source.id, run.run):
        by = (file.staged or {})["run"]
        if by == run.run:
            yield file
        else:
            log.warning(
                "%s is left to a later run: it was staged by the run %s, and not converted anew.",
                file.name, by,
            )  # fmt: skip


def _hours(ranges: Sequence[Sequence[int]]) -> set[int]:
    return {hour for first, last in ranges for hour in range(first, last + 1)}


def _staged_file(file: SourceFile) -> StagedFile:
    facts = file.staged or {}
    return StagedFile(
        bucket=file.bucket,
        key=file.key,
        etag=file.etag,
        **{name: facts[name] for name in ("rows_read", "ignored", "rejected", "events", "rejects", "failed")},
    )

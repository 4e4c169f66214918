"""Loads staged files into the lake, each exactly once: the load protocol (ADR 1)."""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from sqlalchemy import select

from sluice.lake.commits import Counts, LoadedFile, LogEntry
from sluice.lake.data_files import write_data_files
from sluice.lake.decision import Decide, Decision, UploadTime, decide
from sluice.lake.duplicates import sample_rows
from sluice.lake.enrich import enriched_rows
from sluice.lake.fingerprint import HourSums
from sluice.lake.projection import catch_up
from sluice.lake.reconciliation import RowsByFile, counted, require_kept, require_written
from sluice.lake.schema import DEVICES, DUPLICATES, ORDER, REJECTS, USERS
from sluice.lake.snapshot import Refused, Snapshot
from sluice.lake.staged import StagedFile, open_staged
from sluice.lake.store import Lake
from sluice.ledger import Ledger, leases
from sluice.ledger.tables import files as files_table

log = logging.getLogger(__name__)

# A load renews its lease three times in this span; a dead one keeps an hour open no longer.
LEASE_SECONDS = 60.0
# From this refusal on, a load asks the others to wait for it.
PATIENCE = 2
# How many files the ledger is asked about at once.
KEYS_PER_STATEMENT = 500


@dataclass(frozen=True)
class LoadRequest:
    """Staged files of one source, to be loaded together: all of them or none.

    `upload_time` says what server_upload_time is: the load's instant, or each event's own time, which lets
    a historical load keep its time line (decisions E-21). `decide` is how the rows' fate is decided.
    """

    project: int
    source: str
    files: Sequence[StagedFile]
    upload_time: UploadTime = "now"
    decide: Decide = decide

    def __post_init__(self) -> None:
        """Refuse a file that is named twice: its rows would be counted twice."""
        twice = [name for name, times in Counter(file.name for file in self.files).items() if times > 1]
        if twice:
            raise ValueError(f"A load takes each file once: {twice[:3]}")


@dataclass(frozen=True)
class LoadResult:
    """What became of a request: the counts of all its files, and how many commits it took.

    `commits` is 0 if an earlier attempt had already loaded every file.
    """

    counts: Counts
    commits: int
    refusals: int


def load(lake: Lake, ledger: Ledger, request: LoadRequest) -> LoadResult:
    """Load the request's files that the log does not name yet, in one commit.

    Everything is decided from one snapshot and committed through it. If another commit of the project came
    between, the log refuses ours and all is decided anew; nothing of a refused attempt can be seen.
    """
    _give_memory_back()
    attempt = str(uuid.uuid4())
    refusals = 0
    with ExitStack() as stack:
        stack.enter_context(leases.held(ledger, f"load:{request.project}:{attempt}", attempt, LEASE_SECONDS))
        while True:
            if refusals == PATIENCE:
                stack.enter_context(_commit_turn(ledger, request.project, attempt))
            elif refusals < PATIENCE:
                _wait_for_turn(ledger, request.project)
            snapshot = Snapshot.open(lake, ledger, request.project)
            loaded = _loaded(ledger, request)
            todo = [file for file in request.files if file.name not in loaded]
            if not todo:
                return LoadResult(sum(loaded.values(), Counts()), 0, refusals)
            try:
                # Each try has its own name: a side row of a refused try must not pass for one of the next.
                _commit(snapshot, request, todo, f"{attempt[:-4]}{refusals:04x}")
            except Refused as refusal:
                refusals += 1
                log.info(
                    "Another load of project %s came first, starting again: %s", request.project, refusal
                )
                continue
            catch_up(lake, ledger, lake.events())
            return LoadResult(sum(_loaded(ledger, request).values(), Counts()), 1, refusals)


def _give_memory_back() -> None:
    """Let Arrow allocate through jemalloc, which returns what is free to the system.

    With the default pool a load of a million rows peaked at 750 MB, with this one at 430 MB.
    """
    if "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())


def _commit(snapshot: Snapshot, request: LoadRequest, files: Sequence[StagedFile], attempt: str) -> None:
    """Decide the files from the snapshot, write their data, and commit: side tables first, events last."""
    instant = snapshot.next_instant()
    staged = [file for file in files if file.events and not file.failed]
    decision = request.decide(snapshot, staged, instant, request.upload_time)
    loaded_files = tuple(_loaded_files(files, staged, decision))
    sums, passed = HourSums(), RowsByFile()
    rows = enriched_rows(snapshot, request.source, staged, decision, instant)
    # One writer: a second would save a quarter of the load's time, and take a fifth of its memory.
    actions = write_data_files(
        snapshot.lake.table_filesystem("events"),
        sums.passing(passed.passing(rows)),
        snapshot.tables["events"].metadata().partition_columns,
        sorted_by=ORDER,
    )
    require_written(_kept(files, loaded_files), passed.rows, actions, sums.hours.values())
    entry = LogEntry(
        kind="load",
        project=request.project,
        number=snapshot.number,
        attempt=attempt,
        source=request.source,
        instant=instant,
        files=loaded_files,
        hours=sums.hours,
    )
    sample = sample_rows(snapshot, request.source, staged, decision.sample, instant)
    # The rejects first: they are counted when they are written, and what does not add up commits nothing.
    for name, rows in (
        ("rejects", _rejects(snapshot.lake, files, staged, decision, entry)),
        ("users", _side_rows(decision.new_users, USERS, entry)),
        ("devices", _side_rows(decision.new_devices, DEVICES, entry)),
        ("duplicates", _side_rows(sample, DUPLICATES, entry)),
    ):
        snapshot.append_side_rows(name, rows, entry)
    snapshot.commit(actions, entry)


def _loaded_files(
    files: Sequence[StagedFile], staged: Sequence[StagedFile], decision: Decision
) -> Iterator[LoadedFile]:
    decided = {
        file.name: (kept, duplicate, refused.num_rows, decision.failed.get(number))
        for number, (file, kept, duplicate, refused) in enumerate(
            zip(staged, decision.kept_per_file, decision.duplicate_per_file, decision.rejected, strict=True)
        )
    }
    for file in files:
        loaded, duplicate, refused, failed = decided.get(file.name, (0, 0, 0, file.failed))
        if failed:
            # None of its rows was loaded: those that could have been count as rejected with the file.
            counts = Counts(file.rows_read, 0, 0, file.ignored, file.rows_read - file.ignored)
        else:
            counts = counted(file, loaded=loaded, duplicate=duplicate, refused=refused)
        yield LoadedFile(file.bucket, file.key, file.etag, counts, failed)


def _kept(files: Sequence[StagedFile], loaded_files: Sequence[LoadedFile]) -> Counter[str]:
    """Return how many rows of each object are to be loaded, by the name that its rows carry."""
    kept: Counter[str] = Counter()
    for file, loaded in zip(files, loaded_files, strict=True):
        kept[file.uri] += loaded.counts.loaded
    return kept


def _side_rows(rows: pa.Table, schema: pa.Schema, entry: LogEntry) -> Iterator[pa.RecordBatch]:
    for batch in rows.to_batches():
        yield _with_constants(
            batch,
            schema,
            app=entry.project,
            source=entry.source,
            dropped_at=entry.instant,
            n=entry.number,
            attempt=entry.attempt,
        )


def _rejects(
    lake: Lake,
    files: Sequence[StagedFile],
    staged: Sequence[StagedFile],
    decision: Decision,
    entry: LogEntry,
) -> Iterator[pa.RecordBatch]:
    """Yield what the conversion rejected of each file, then what the decision rejected of it.

    Raises NotReconciled if they are not as many as were counted, before any of them is committed.
    """
    refused = {file.name: rows for file, rows in zip(staged, decision.rejected, strict=True)}
    for file in files:
        constants = {
            "app": entry.project,
            "source": entry.source,
            "bucket": file.bucket,
            "key": file.key,
            "rejected_at": entry.instant,
            "n": entry.number,
            "attempt": entry.attempt,
        }
        kept = 0
        if file.rejects is not None:
            with open_staged(lake, file.rejects) as rejects:
                for batch in rejects.iter_batches():
                    kept += batch.num_rows
                    yield _with_constants(batch, REJECTS, **constants)
        require_kept(file, kept, file.rejected)
        if file.name in refused:
            for batch in refused[file.name].to_batches():
                yield _with_constants(batch, REJECTS, **constants)


def _with_constants(rows: pa.RecordBatch, schema: pa.Schema, **constants: Any) -> pa.RecordBatch:
    columns = [
        pa.repeat(pa.scalar(constants[field.name], field.type), rows.num_rows)
        if field.name in constants
        else rows.column(field.name).cast(field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _loaded(ledger: Ledger, request: LoadRequest) -> dict[tuple[str, str], Counts]:
    """Return the request's files that the log names, as far as the ledger has caught up, and their counts."""
    columns = files_table.c
    counts = [columns[name] for name in ("rows_read", "loaded", "duplicate", "ignored", "rejected")]
    keys = sorted({file.key for file in request.files})
    found: dict[tuple[str, str], Counts] = {}
    with ledger.begin() as connection:
        for start in range(0, len(keys), KEYS_PER_STATEMENT):
            rows = connection.execute(
                select(columns.bucket, columns.key, *counts).where(
                    columns.source == request.source,
                    columns.key.in_(keys[start : start + KEYS_PER_STATEMENT]),
                    columns.load_number.is_not(None),
                )
            )
            found |= {(row.bucket, row.key): Counts(*row[2:]) for row in rows}
    return {file.name: found[file.name] for file in request.files if file.name in found}


def _turn(project: int) -> str:
    return f"commit:{project}"


def _wait_for_turn(ledger: Ledger, project: int) -> None:
    """Wait while a load that was refused before asks for its turn; its lease bounds the wait."""
    while leases.current(ledger, _turn(project)) is not None:
        time.sleep(0.1)


@contextmanager
def _commit_turn(ledger: Ledger, project: int, holder: str) -> Iterator[None]:
    """Hold the project's commit lease, so that small loads cannot starve a large one."""
    while True:
        with leases.held(ledger, _turn(project), holder, LEASE_SECONDS) as mine:
            if mine:
                yield
                return
        time.sleep(0.1)

"""Who entered and who left since the baseline (architecture invariant 7).

All files are ordered by amplitude_id, so they are compared range by range, and memory does not grow with
the cohort.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sluice.cohorts.list_files import (
    AMPLITUDE_ID,
    ENTER_VALUES,
    ENTERING,
    EXIT_VALUES,
    EXITING,
    KEY_FIELDS,
    MEMBERS,
    SINCE,
    SINCE_FIELD,
    VALUE,
    property_column,
)
from sluice.cohorts.list_writer import ListWriter
from sluice.cohorts.pairs import Positions, distinct, find
from sluice.cohorts.property_text import property_text
from sluice.cohorts.sorted_blocks import Source, read_file, side_by_side
from sluice.cohorts.value_lists import write_value_lists
from sluice.errors import SluiceError

log = logging.getLogger(__name__)

_PROGRESS_SECONDS = 10.0


class SnapshotError(SluiceError):
    """A snapshot lacks what the sync is to send."""


@dataclass(frozen=True)
class Before:
    """What a destination has been told before this turn, as files of earlier turns on this machine.

    `baseline` is the members.parquet of the last delivered turn; the others are the files of turns since
    that were begun and never finished, oldest first, so that nobody knows which of their changes arrived.
    """

    baseline: Path | None = None
    maybe_entered: Sequence[Path] = ()
    maybe_exited: Sequence[Path] = ()
    maybe_enter_values: Sequence[Path] = ()
    maybe_exit_values: Sequence[Path] = ()


@dataclass(frozen=True)
class Lists:
    """A turn's lists, as Parquet files in `folder`, and how long they are.

    `existing` counts all members of this turn; `skipped` those of them without a matching value (decisions
    K-11). `enter_values` and `exit_values` count distinct values (decisions K-15); None where the files
    were not asked for.
    """

    folder: Path
    properties: tuple[str, ...]
    before: Before
    entering: int
    exiting: int
    existing: int
    skipped: int
    enter_values: int | None = None
    exit_values: int | None = None

    @property
    def members_path(self) -> Path:
        """All members of this turn."""
        return self.folder / MEMBERS

    @property
    def entering_path(self) -> Path:
        """Who is new since the baseline."""
        return self.folder / ENTERING

    @property
    def exiting_path(self) -> Path:
        """Who left since the baseline."""
        return self.folder / EXITING

    @property
    def enter_values_path(self) -> Path:
        """The values that no member of the baseline has."""
        return self.folder / ENTER_VALUES

    @property
    def exit_values_path(self) -> Path:
        """The values that no member has any more."""
        return self.folder / EXIT_VALUES


def diff(
    snapshot: Path,
    before: Before,
    *,
    match_by: str,
    properties: Sequence[str],
    as_of: datetime,
    folder: Path,
    values: bool = False,
) -> Lists:
    """Write a turn's lists to `folder` from a snapshot and what the destination was told before.

    entering = current − (baseline − maybe_exited), exiting = (baseline ∪ maybe_entered) − current, as sets
    of (amplitude_id, value), nulls being equal (decisions K-15); of people with several user_ids and one
    value, the first is kept. `match_by` is user_id or a property whose value is the member's, as text.
    `since` is the baseline's for its members and `as_of` for others; who leaves without having been in the
    baseline has that of the newest file that says they came. `values` asks for the value files of a stream
    besides. Raises SnapshotError for a column that is missing, PropertyError for a type that cannot be sent.
    """
    started = time.monotonic()
    with ExitStack() as stack:
        readers = stack.enter_context(ThreadPoolExecutor(2, thread_name_prefix="sluice-list-reader"))
        writers = [
            stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="sluice-list-writer"))
            for _ in range(2)
        ]
        comparison = _Comparison(snapshot, before, match_by, tuple(properties), as_of, readers)
        counts = comparison.write(folder, writers)
    lists = Lists(folder, tuple(properties), before, *counts)
    if values:
        entering, exiting = write_value_lists(lists)
        lists = Lists(folder, tuple(properties), before, *counts, entering, exiting)
    seconds = time.monotonic() - started
    log.info(
        "Compared %s members with the last delivered sync: %s enter, %s leave, %.1f s (%.0f members/s)",
        f"{lists.existing:,}", f"{lists.entering:,}", f"{lists.exiting:,}", seconds,
        lists.existing / max(seconds, 1e-3),
    )  # fmt: skip
    return lists


class _Comparison:
    """The files of one diff, opened together."""

    def __init__(
        self,
        snapshot: Path,
        before: Before,
        match_by: str,
        properties: tuple[str, ...],
        as_of: datetime,
        readers: Executor,
    ) -> None:
        self._since = pa.scalar(as_of, SINCE_FIELD.type)
        self._properties = [property_column(name) for name in properties]
        self._current = _snapshot(snapshot, match_by, properties, readers)
        baseline = [before.baseline] if before.baseline is not None else []
        # The newest first: it is what was known last.
        self._known = [*reversed(before.maybe_entered), *baseline]
        self._has_baseline = bool(baseline)
        self._known_sources = [self._known_source(path, readers) for path in self._known]
        self._exited_sources = [
            read_file(path, [AMPLITUDE_ID, VALUE], readers) for path in before.maybe_exited
        ]
        self._exiting_fields = [self._exiting_field(name) for name in self._properties]

    def _known_source(self, path: Path, readers: Executor) -> Source:
        there = pq.read_schema(path).names
        names = [name for name in self._properties if name in there]
        return read_file(path, [AMPLITUDE_ID, VALUE, SINCE, *names], readers)

    def _exiting_field(self, name: str) -> pa.Field:
        """Return a property's type in exiting.parquet: text where earlier turns have another than this."""
        kinds = [self._current.schema.field(name).type]
        kinds += [
            source.schema.field(name).type for source in self._known_sources if name in source.schema.names
        ]
        return pa.field(name, kinds[0] if all(kind == kinds[0] for kind in kinds) else pa.string())

    def write(self, folder: Path, writers: Sequence[Executor]) -> tuple[int, int, int, int]:
        """Write the three lists; return how many enter, leave and are there, and how many have no value."""
        schema = pa.schema(
            [*KEY_FIELDS, SINCE_FIELD, *(self._current.schema.field(name) for name in self._properties)]
        )
        exiting_schema = pa.schema([*KEY_FIELDS, SINCE_FIELD, *self._exiting_fields])
        progress = _Progress()
        with (
            ListWriter(folder / MEMBERS, schema, writers[0]) as members,
            ListWriter(folder / ENTERING, schema, writers[1]) as entering,
            ListWriter(folder / EXITING, exiting_schema, writers[1]) as exiting,
        ):
            for block in side_by_side([self._current, *self._known_sources, *self._exited_sources]):
                self._compare(block, members, entering, exiting)
                progress.say(members.rows)
        return entering.rows, exiting.rows, members.rows, members.nulls

    def _compare(
        self, block: list[pa.RecordBatch], members: ListWriter, entering: ListWriter, exiting: ListWriter
    ) -> None:
        current = distinct(block[0])
        known, exited = block[1 : 1 + len(self._known)], block[1 + len(self._known) :]
        baseline = known[-1] if self._has_baseline else None
        in_baseline = find(current, baseline) if baseline is not None else np.full(len(current), -1)
        since = pc.if_else(in_baseline < 0, self._since, _taken(baseline, in_baseline))
        columns = [
            current.column(AMPLITUDE_ID),
            current.column(VALUE),
            since,
            *(current.column(name) for name in self._properties),
        ]
        members.write(columns)
        told = in_baseline >= 0
        for rows in exited:
            told &= find(current, rows) < 0
        new = pa.array(np.flatnonzero(~told))
        entering.write(column.take(new) for column in columns)
        if known:
            exiting.write(self._exiting(current, known, baseline, in_baseline))

    def _exiting(
        self,
        current: pa.RecordBatch,
        known: list[pa.RecordBatch],
        baseline: pa.RecordBatch | None,
        in_baseline: Positions,
    ) -> list[pa.Array]:
        """Return the columns of the rows that earlier turns told of and that are not there now."""
        gone = []
        for n, rows in enumerate(known):
            if self._has_baseline and n == len(known) - 1:
                left = np.ones(len(rows), np.bool_)
                left[in_baseline[in_baseline >= 0]] = False
            else:
                left = find(rows, current) < 0
            gone.append(self._as_exiting(rows.take(pa.array(np.flatnonzero(left)))))
        if len(known) == 1:
            rows = gone[0]
        else:
            # Of a row that several files have, the first is kept: the newest.
            order = np.concatenate([np.full(len(rows), n) for n, rows in enumerate(gone)])
            rows = pa.concat_batches(gone)
            rows = distinct(rows.take(pa.array(np.lexsort((order, rows.column(AMPLITUDE_ID).to_numpy())))))
            if baseline is not None:
                places = find(rows, baseline)
                since = pc.if_else(places < 0, rows.column(SINCE), _taken(baseline, places))
                rows = rows.set_column(rows.schema.get_field_index(SINCE), SINCE_FIELD, since)
        return list(rows.columns)

    def _as_exiting(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Bring rows of an earlier turn to the properties of this one."""
        columns = [rows.column(AMPLITUDE_ID), rows.column(VALUE), rows.column(SINCE)]
        for field in self._exiting_fields:
            if field.name not in rows.schema.names:
                columns.append(pa.nulls(len(rows), field.type))
            elif rows.schema.field(field.name).type == field.type:
                columns.append(rows.column(field.name))
            else:
                columns.append(property_text(field.name, rows.column(field.name)))
        return pa.RecordBatch.from_arrays(
            columns, schema=pa.schema([*KEY_FIELDS, SINCE_FIELD, *self._exiting_fields])
        )


def _snapshot(path: Path, match_by: str, properties: tuple[str, ...], readers: Executor) -> Source:
    """Open a snapshot with the columns of a list; of several rows of a person the order is the snapshot's."""
    there = pq.read_schema(path).names
    missing = [name for name in (AMPLITUDE_ID, match_by, *properties) if name not in there]
    if missing:
        raise SnapshotError(
            f"The cohort's query returned no column {', '.join(missing)}: add it to the query, or take it"
            " out of the destination's or the sync's settings."
        )
    source = read_file(path, [AMPLITUDE_ID, match_by, *properties], readers)
    fields = [
        pa.field(property_column(name), source.schema.field(n + 2).type) for n, name in enumerate(properties)
    ]
    schema = pa.schema([*KEY_FIELDS, *fields])

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in source.batches:
            columns: list[Any] = list(batch.columns)
            columns[1] = property_text(match_by, columns[1])
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return Source(schema, batches())


def _taken(baseline: Any, places: Positions) -> Any:
    """Return the baseline's `since` at each place; anything where there is none."""
    if baseline is None or not len(baseline):
        return pa.nulls(len(places), SINCE_FIELD.type)
    return baseline.column(SINCE).take(pa.array(np.maximum(places, 0)))


class _Progress:
    def __init__(self) -> None:
        self._started = self._said = time.monotonic()

    def say(self, rows: int) -> None:
        now = time.monotonic()
        if now - self._said >= _PROGRESS_SECONDS:
            self._said = now
            log.info("Compared %s members, %.0f a second", f"{rows:,}", rows / (now - self._started))

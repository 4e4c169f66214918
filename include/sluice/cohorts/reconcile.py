"""Whether a turn's lists lead from what a destination was told to who is in the cohort, as sets.

existing(n) = (existing(n−1) ∪ entering) − exiting, worked out from the lists as they are, in another way than
the one in which they were made (`diff.py`, `value_lists.py`). Files are read side by side, in bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sluice.cohorts.list_files import AMPLITUDE_ID, VALUE
from sluice.cohorts.sorted_blocks import Source, ids_of, read_file, side_by_side

Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
# Members, baseline, entering and exiting, then the maybes.
Block = list[pa.RecordBatch]


@dataclass(frozen=True)
class TurnLists:
    """The lists of a turn on this machine, with those that it follows on: files of members.

    `unsure` are the lists of the turn that was given up last, if one was: all that it named may or may not
    have arrived. A turn that stands alone has members only. The files of values are a stream's.
    """

    members: Path
    baseline: Path | None = None
    entering: Path | None = None
    exiting: Path | None = None
    unsure: Sequence[Path] = ()
    enter_values: Path | None = None
    exit_values: Path | None = None
    unsure_values: Sequence[Path] = ()


@dataclass(frozen=True)
class Differences:
    """What is wrong with a turn's lists, in numbers of members (of distinct values for those of a stream).

    `doubled` members stand in the list again; `missing` ones follow from the changes and are not in it,
    `unexplained` ones are in it and do not follow; `not_in` are told to enter and are not members, `still_in`
    are told to leave and are; `unsaid` may have been named by a turn that was given up, and by this one not.
    """

    doubled: int = 0
    missing: int = 0
    unexplained: int = 0
    not_in: int = 0
    still_in: int = 0
    unsaid: int = 0

    def __add__(self, other: Differences) -> Differences:
        return Differences(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    @property
    def of_sets(self) -> int:
        """How many members contradict the changes that are told."""
        return self.missing + self.unexplained + self.not_in + self.still_in + self.unsaid

    def __str__(self) -> str:
        said = {
            "missing": "follow from the changes and are not members",
            "unexplained": "are members and follow from no change",
            "not_in": "enter and are not members",
            "still_in": "leave and are members",
            "unsaid": "may have been told by an earlier turn and are not named again",
        }
        found = [f"{getattr(self, name):,} {text}" for name, text in said.items() if getattr(self, name)]
        return "; ".join(found)


def without_id(members: Path) -> int:
    """Return how many rows of a list have no amplitude_id: these can be compared with nothing."""
    with pq.ParquetFile(members) as file:
        if not file.schema_arrow.field(AMPLITUDE_ID).nullable:
            return 0
        return sum(batch.column(0).null_count for batch in file.iter_batches(columns=[AMPLITUDE_ID]))


def compare_members(lists: TurnLists) -> Differences:
    """Compare a turn's list of members with what its changes make of the baseline's.

    All lists must have amplitude_ids, ordered by them: raises UnorderedList. Without changes only the list
    itself is looked at.
    """
    found = Differences()
    with ThreadPoolExecutor(2, thread_name_prefix="sluice-gate-reader") as readers:
        chain = [lists.baseline, lists.entering, lists.exiting, *lists.unsure]
        sources = [_source(path, readers) for path in (lists.members, *chain)]
        alone = lists.entering is None
        for block in side_by_side(sources):
            if not _agrees(block, alone):
                found += _differences(block, alone)
    return found


def compare_values(lists: TurnLists) -> Differences:
    """Compare the values that a stream is told with those of the members and of the baseline, as sets.

    The members' own lists must agree: then a value can only have changed where a member did, and only those
    are looked up.
    """
    from sluice.event_filters import literal
    from sluice.lake.sql import connect

    def values(*paths: Path | None) -> str:
        files = ", ".join(literal(path) for path in paths if path is not None)
        if not files:
            return f"(SELECT NULL::VARCHAR AS {VALUE} WHERE false)"
        return f"(SELECT {VALUE} FROM read_parquet([{files}]) WHERE {VALUE} IS NOT NULL)"

    entering, exiting = values(lists.enter_values), values(lists.exit_values)
    with connect() as connection:

        def count(sql: str) -> int:
            row = connection.execute(f"SELECT count(*) FROM {sql}").fetchone()
            assert row is not None
            return int(row[0])

        for name, of, among in (
            ("is_in", lists.members, (lists.entering, lists.exiting, lists.enter_values, lists.exit_values)),
            ("was_in", lists.baseline, (lists.entering, lists.exiting)),
        ):
            connection.execute(
                f"CREATE TEMP TABLE {name} AS SELECT DISTINCT {VALUE} FROM {values(of)} AS list"
                f" SEMI JOIN {values(*among)} AS among USING ({VALUE})"
            )
        again = f"(SELECT {VALUE} FROM %s GROUP BY {VALUE} HAVING count(*) > 1)"
        anti = f"(SELECT DISTINCT {VALUE} FROM %s AS a ANTI JOIN %s AS b USING ({VALUE}) ANTI JOIN %s AS c"
        anti += f" USING ({VALUE}))"
        return Differences(
            doubled=count(again % entering) + count(again % exiting),
            # Who came with a value that nobody had: it enters. Who left with one that nobody has: it leaves.
            unexplained=count(anti % (values(lists.entering), "was_in", entering)),
            missing=count(anti % (values(lists.exiting), "is_in", exiting)),
            not_in=count(anti % (entering, "is_in", "is_in")),
            still_in=count(f"{exiting} AS e SEMI JOIN is_in USING ({VALUE})"),
            unsaid=count(anti % (values(*lists.unsure_values), entering, exiting)),
        )


def _source(path: Path | None, readers: Executor) -> Source:
    if path is None:
        return Source(pa.schema([(AMPLITUDE_ID, pa.int64()), (VALUE, pa.string())]), iter(()))
    return read_file(path, [AMPLITUDE_ID, VALUE], readers)


def _agrees(block: Block, alone: bool) -> bool:
    """Say whether a range of ids is right, where each id is there once in a list; False leaves it open."""
    if not all(_rising(ids_of(rows)) for rows in block):
        return False
    if alone:
        return True
    members, baseline, entering, exiting, *unsure = block
    if (_places(entering, members) < 0).any() or (_places(exiting, members) >= 0).any():
        return False
    if any(((_places(rows, entering) < 0) & (_places(rows, exiting) < 0)).any() for rows in unsure):
        return False
    # Who stayed, by the old list and by the new one: two lists in the same order.
    new = _places(entering.filter(pa.array(_places(entering, baseline) < 0)), members)
    gone = _places(exiting, baseline)
    stayed, left_over = _without(members, new), _without(baseline, gone[gone >= 0])
    return all(stayed.column(n).equals(left_over.column(n)) for n in (0, 1))


def _rising(ids: Ids) -> bool:
    return bool((ids[1:] > ids[:-1]).all())


def _places(rows: pa.RecordBatch, among: pa.RecordBatch) -> Ids:
    """Return where each row is in another list, -1 where it is not; both have each id once."""
    found = np.full(len(rows), -1, np.int64)
    if not len(rows) or not len(among):
        return found
    wanted, ids = ids_of(rows), ids_of(among)
    places = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    hits = np.flatnonzero(ids[places] == wanted)
    one, other = rows.column(VALUE).take(pa.array(hits)), among.column(VALUE).take(pa.array(places[hits]))
    hits = hits[_equal(one, other)]
    found[hits] = places[hits]
    return found


def _equal(one: Any, other: Any) -> Mask:
    both_null = pc.and_(one.is_null(), other.is_null())
    answer: Mask = pc.or_(pc.equal(one, other).fill_null(False), both_null).to_numpy(zero_copy_only=False)
    return answer


def _without(rows: pa.RecordBatch, places: Ids) -> pa.RecordBatch:
    if not len(places):
        return rows
    keep = np.ones(len(rows), np.bool_)
    keep[places] = False
    return rows.filter(pa.array(keep))


def _differences(block: Block, alone: bool) -> Differences:
    """Count what is wrong in a range of ids, whatever it holds."""
    listed, *others = _codes(block)
    members = np.unique(listed)
    doubled = len(listed) - len(members)
    if alone:
        return Differences(doubled)
    baseline, entering, exiting, *unsure = map(np.unique, others)
    expected = np.setdiff1d(np.union1d(baseline, entering), exiting, assume_unique=True)

    def less(one: Ids, *others: Ids) -> int:
        for other in others:
            one = np.setdiff1d(one, other, assume_unique=True)
        return len(one)

    return Differences(
        doubled=doubled,
        missing=less(expected, members),
        unexplained=less(members, expected),
        not_in=less(entering, members),
        still_in=len(np.intersect1d(exiting, members, assume_unique=True)),
        unsaid=less(np.unique(np.concatenate([*unsure, np.empty(0, np.int64)])), entering, exiting),
    )


def _codes(block: Block) -> Iterator[Ids]:
    """Give each list as numbers, the same for the same pair of amplitude_id and value."""
    values = pa.concat_arrays([rows.column(VALUE) for rows in block]).dictionary_encode("encode")
    _, ids = np.unique(np.concatenate([ids_of(rows) for rows in block]), return_inverse=True)
    codes = ids * max(1, len(values.dictionary)) + values.indices.to_numpy()
    ends = np.cumsum([len(rows) for rows in block])
    yield from np.split(codes, ends[:-1])

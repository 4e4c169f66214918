"""Every row that was read has one fate, and each fate is counted where it happens (invariant 6).

The conversion counts what it read, ignored and rejected; the decision what it keeps, what it drops and what
it refuses; the writers what they wrote. None is the rest of the others, so they agree only if all are right.
It is the last look before a commit, and always on: what disagrees is not loaded.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from deltalake.transaction import AddAction

from sluice.lake.commits import Counts
from sluice.lake.fingerprint import Fingerprint
from sluice.lake.staged import StagedFile
from sluice.lake.store import LakeError

_NEXT = (
    "Nothing of this load was committed. Converted anew, by the source's next run or after `sluice quality"
    " discard` and `sluice import retry`, the file may be all right; if it says the same then, this is a"
    " mistake in Sluice that has to be reported."
)


class NotReconciled(LakeError):
    """Rows of a load have no fate, or two; `counts` says of which file, and how many."""

    def __init__(self, counts: str) -> None:
        super().__init__(f"{counts}. {_NEXT}")
        self.counts = counts


def counted(file: StagedFile, *, loaded: int, duplicate: int, refused: int) -> Counts:
    """Return the fates of a file's rows; `refused` are those that the decision rejects.

    Raises NotReconciled if they do not add up to the rows read.
    """
    rejected = file.rejected + refused
    found = loaded + duplicate + file.ignored + rejected
    if found != file.rows_read:
        raise NotReconciled(
            f"{file.uri}: {file.rows_read:,} rows were read, but {found:,} have a fate: {loaded:,} loaded +"
            f" {duplicate:,} duplicate + {file.ignored:,} ignored + {rejected:,} rejected"
        )
    return Counts(file.rows_read, loaded, duplicate, file.ignored, rejected)


def require_staged(file: StagedFile, rows: int) -> None:
    """Raise NotReconciled if a file's staged events are not as many rows as its conversion counted."""
    if rows != file.rows:
        raise NotReconciled(
            f"{file.uri}: {file.events} has {rows:,} staged rows, but {file.rows_read:,} rows were read,"
            f" {file.ignored:,} ignored and {file.rejected:,} rejected: {file.rows:,} should be there"
        )


def require_kept(file: StagedFile, rows: int, expected: int) -> None:
    """Raise NotReconciled if not as many rows are written to the rejects as were rejected of a file."""
    if rows != expected:
        raise NotReconciled(
            f"{file.uri}: {expected:,} rows were rejected, but {rows:,} rejected rows are kept"
        )


class RowsByFile:
    """Counts rows of `events` that go by, by the file that they come from."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()

    def passing(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the batches as they come."""
        for batch in batches:
            for found in pc.value_counts(batch.column("object")).to_pylist():
                self.rows[found["values"]] += found["counts"]
            yield batch


def require_written(
    kept: Mapping[str, int],
    passed: Mapping[str, int],
    actions: Sequence[AddAction],
    hours: Iterable[Fingerprint],
) -> None:
    """Raise NotReconciled if what was written is not what the decision keeps.

    `kept` and `passed` are numbers of rows by the name of their file, `actions` the data files, `hours` what
    their rows change in the fingerprints.
    """
    for uri in sorted(kept.keys() | passed.keys()):
        if kept.get(uri, 0) != passed.get(uri, 0):
            raise NotReconciled(
                f"{uri}: {kept.get(uri, 0):,} rows were to be loaded, but {passed.get(uri, 0):,} rows of it"
                f" went to the data files"
            )
    total = sum(kept.values())
    written = sum(json.loads(action.stats)["numRecords"] for action in actions)
    summed = sum(hour.rows for hour in hours)
    if not total == written == summed:
        raise NotReconciled(
            f"{total:,} rows of {len(kept):,} files were to be loaded, but the data files have {written:,}"
            f" and the hours' fingerprints {summed:,}"
        )

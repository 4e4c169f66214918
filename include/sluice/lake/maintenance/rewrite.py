"""Replaces data files of a table by others in one commit, beside whatever else commits (ADR 12)."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from sluice.errors import TransientError
from sluice.lake.store import SCHEMAS, Lake, LakeError
from sluice.ledger import Ledger, leases

log = logging.getLogger(__name__)

# Not the key under which the project log speaks: the ledger's projection passes these commits over.
METADATA_KEY = "sluice.maintenance"
# Rows that one commit rewrites at most: where files overlap in time they are sorted by keys in memory, which
# measured 170 bytes a row above 370 MB.
MAX_ROWS = 2_000_000
_LEASE_SECONDS = 60.0
# A commit is one small object: others would have to come every few milliseconds to be first each time.
_TRIES = 50


class MaintenanceBusy(TransientError):
    """Another run keeps the same table at this moment."""


@dataclass(frozen=True)
class DataFile:
    """A data file as the log has it; `rows` is None, and bounds are missing, if its writer gave none."""

    path: str
    size: int
    rows: int | None
    partition: tuple[tuple[str, Any], ...]
    lowest: dict[str, Any] = field(hash=False)
    highest: dict[str, Any] = field(hash=False)

    @property
    def values(self) -> dict[str, str | None]:
        """The partition's values as the log writes them."""
        return {
            name: value.isoformat() if isinstance(value, date) else str(value)
            for name, value in self.partition
        }


@dataclass
class Rewritten:
    """What a rewrite of a table's files did; bytes are those of the rewritten files, before and after.

    `dropped` rows counted for nobody; `refused` commits came after another's of the same files, whose turn
    the next run takes.
    """

    commits: int = 0
    files_before: int = 0
    files_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    rows: int = 0
    dropped: int = 0
    refused: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        if not self.commits and not self.refused:
            found = f"{self.files_before:,} files of {megabytes(self.bytes_before)} would be put together"
            return found if self.files_before else "nothing to put together"
        return (
            f"{self.files_before:,} files of {megabytes(self.bytes_before)} became {self.files_after:,} of"
            f" {megabytes(self.bytes_after)} in {self.commits:,} commits and {self.seconds:.1f} s"
            + (f"; {self.dropped:,} rows that counted for nobody went" if self.dropped else "")
            + (f"; {self.refused:,} left to the next run" if self.refused else "")
        )


def megabytes(size: int) -> str:
    """Write a number of bytes for people."""
    return f"{size:,} bytes" if size < 1 << 20 else f"{size / (1 << 20):,.1f} MB"


@contextmanager
def keeper(ledger: Ledger, table: str) -> Iterator[None]:
    """Be the only one that rewrites a table. Raises MaintenanceBusy if another run is.

    Two at once would do no harm, but half of the work in vain.
    """
    name = f"maintenance:{table}"
    with leases.held(ledger, name, str(uuid.uuid4()), _LEASE_SECONDS) as mine:
        if not mine:
            raise MaintenanceBusy(
                f"Another run keeps the table {table!r} at this moment (lease {name}). This task tries again;"
                " a run that was killed gives the table up after a minute."
            )
        yield


def data_files(table: DeltaTable) -> list[DataFile]:
    """Return the data files of a table at the version at which it is open."""
    names = table.metadata().partition_columns
    return [
        DataFile(
            path=row["path"],
            size=row["size_bytes"],
            rows=row.get("num_records"),
            partition=tuple((name, row[f"partition.{name}"]) for name in names),
            lowest=_bounds(row, "min."),
            highest=_bounds(row, "max."),
        )
        for row in pa.table(table.get_add_actions(flatten=True)).to_pylist()
    ]


def _bounds(row: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): value
        for name, value in row.items()
        if name.startswith(prefix) and value is not None
    }


def units(files: Iterable[DataFile], max_rows: int) -> Iterator[list[DataFile]]:
    """Cut files, in their order, into units of at most `max_rows` rows; a larger file is one of its own."""
    unit: list[DataFile] = []
    rows = 0
    for file in files:
        if unit and rows + (file.rows or 0) > max_rows:
            yield unit
            unit, rows = [], 0
        unit.append(file)
        rows += file.rows or 0
    if unit:
        yield unit


def file_bytes(files: Sequence[DataFile], target_bytes: int) -> int:
    """Return the size at which new files end, so that all come out about equal and near the target."""
    total = sum(file.size for file in files)
    return -(-total // max(1, round(total / target_bytes)))


def rows_in(added: Iterable[AddAction]) -> int:
    """Return the number of rows in new files."""
    return sum(json.loads(action.stats)["numRecords"] for action in added)


def open_with(lake: Lake, name: str, files: Sequence[DataFile]) -> DeltaTable | None:
    """Open a table at a version that still has all the files, or return None."""
    table = lake.table(name)
    return table if {file.path for file in files} <= _paths(table) else None


def replace_files(
    lake: Lake,
    name: str,
    table: DeltaTable,
    removed: Sequence[DataFile],
    added: Sequence[AddAction],
) -> bool:
    """Commit that the files `added` stand for the files `removed`, through a table that has the latter.

    False if another commit took one of them away in between: then nothing has changed. What would have been
    added is then left for vacuum. Raises LakeError if the table takes no commit at all.

    deltalake would let a commit that only moves rows pass beside one that removes the same files, and the
    rows would be there twice. So each try may only take the version right after the one that was looked at;
    if another commit has it, the files are looked at again.
    """
    moment = int(time.time() * 1000)
    actions: list[AddAction | RemoveAction] = [
        RemoveAction(
            file.path,
            data_change=False,
            deletion_timestamp=moment,
            partition_values=file.values,
            size=file.size,
        )
        for file in removed
    ]
    # Rows only move. Engines that follow a table's changes pass the commit over, and so do loads whose
    # snapshot is older: their commits are not refused for it.
    actions += [replace(action, data_change=False) for action in added]
    about = {"kind": "rewrite", "removed": len(removed), "added": len(added)}
    for _ in range(_TRIES):
        try:
            table.create_write_transaction(
                actions=actions,
                mode="append",
                schema=SCHEMAS[name],
                partition_by=table.metadata().partition_columns,
                commit_properties=CommitProperties(
                    custom_metadata={METADATA_KEY: json.dumps(about)}, max_commit_retries=0
                ),
            )
        except CommitFailedError as error:
            newest = lake.table(name)
            present = _paths(newest)
            gone = {file.path for file in removed} - present
            if gone and {action.path for action in added} <= present and len(gone) == len(removed):
                return True  # the commit was taken, and its answer was lost
            if gone:
                log.info("%s: %s of the files to rewrite are gone", name, len(gone))
                return False
            if newest.version() == table.version():
                raise LakeError(f"The table {name!r} at {lake.uri} takes no commit: {error}") from error
            table = newest
        else:
            return True
    log.info("%s: %s times another commit came first", name, _TRIES)
    return False


def _paths(table: DeltaTable) -> set[str]:
    return {file.path for file in data_files(table)}

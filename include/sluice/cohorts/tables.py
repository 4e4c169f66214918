"""The tables that a cohort's query may read: `events`, of one project or of all sources of a portfolio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads

from sluice.cohorts.scan import Scan
from sluice.lake import Lake
from sluice.lake.schema import EVENTS, EXPORT_KEYS, ORDER, TIMESTAMP

EVENTS_TABLE = "events"
# The keys of an exported event, the partition, and what makes the order of a project's rows a total one.
EVENT_TABLE_COLUMNS = (*EXPORT_KEYS, "upload_date", *(name for name in ORDER if name not in EXPORT_KEYS))
TABLES = {EVENTS_TABLE: EVENT_TABLE_COLUMNS}


@dataclass
class Reads:
    """What a query has read of a table: data files of those that there are, and columns."""

    files: int = 0
    of_files: int = 0
    columns: dict[str, None] = field(default_factory=dict)


class EventFiles(pads.FileSystemDataset):  # type: ignore[misc]
    """The data files of `events` that can hold a query's rows; the engine asks it for columns and rows.

    Files that lie outside of what a scan asks for, by partition or by the bounds in the lake's log, are not
    opened.
    """

    reads: Reads

    def scanner(self, *, columns: Sequence[str], filter: pads.Expression | None = None, **_: Any) -> Scan:
        """Return one look at the files, as the engine asks for it."""
        files = list(self.get_fragments(filter))
        self.reads.files += len(files)
        self.reads.columns |= dict.fromkeys(columns)
        return Scan(files, self.schema, columns, filter)


@dataclass(frozen=True)
class Events:
    """The present rows of projects that were uploaded before a time, at one version of the lake."""

    files: EventFiles
    version: int

    @classmethod
    def open(cls, lake: Lake, projects: Sequence[int], as_of: datetime) -> Events:
        """Open the newest version of `events`. Raises LakeError if there is no lake."""
        table = lake.events()
        whole = table.to_pyarrow_dataset(filesystem=lake.table_filesystem("events"))
        chosen = pads.field("app").isin(list(projects)) & (
            pads.field("server_upload_time") < pa.scalar(as_of, TIMESTAMP)
        )
        files = EventFiles(list(whole.get_fragments(chosen)), EVENTS, whole.format, whole.filesystem)
        files.reads = Reads(of_files=sum(1 for _ in whole.get_fragments()))
        return cls(files, table.version())

    @classmethod
    def empty(cls) -> Events:
        """Return the table without rows: its columns are all that is asked for."""
        files = EventFiles([], EVENTS, pads.ParquetFileFormat())
        files.reads = Reads()
        return cls(files, 0)

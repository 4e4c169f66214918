"""All tables of a project as one load sees them: opened together, with the number that it will commit as."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction
from sqlalchemy import select

from sluice.lake.commits import LogEntry, application_id
from sluice.lake.data_files import write_data_files
from sluice.lake.projection import catch_up
from sluice.lake.store import SCHEMAS, SIDE_TABLES, Lake, LakeError
from sluice.ledger import Ledger
from sluice.ledger.tables import lake_versions, loads, projects

if TYPE_CHECKING:
    # Importing it takes a third of a second, as pandas comes with it: only who scans has to wait for that.
    import pyarrow.dataset as pads

# Instants have the precision of Amplitude's own: milliseconds (amplitude-spec 1.4).
TICK = timedelta(milliseconds=1)
_BATCH_ROWS = 100_000


class Refused(Exception):
    """Another commit of the project came between the snapshot and ours: start again from a new snapshot."""


@dataclass(frozen=True)
class Snapshot:
    """One project's tables at the versions at which they were opened.

    A commit goes through the same table objects: the log refuses it if the project has committed since
    (ADR 1). `number` is the number that the next commit takes. `applied` is the version of `events` at which
    `last_instant` and `closed_until` stand: others may have brought the ledger further than these tables.
    """

    lake: Lake
    ledger: Ledger
    project: int
    tables: dict[str, DeltaTable]
    number: int
    applied: int
    last_instant: datetime | None
    closed_until: datetime | None

    @classmethod
    def open(cls, lake: Lake, ledger: Ledger, project: int) -> Snapshot:
        """Open all tables, then bring the ledger up to the version of `events`."""
        tables = {name: lake.table(name) for name in (*SIDE_TABLES, "events")}
        catch_up(lake, ledger, tables["events"])
        numbers = [table.transaction_version(application_id(project)) or 0 for table in tables.values()]
        with ledger.begin() as connection:
            # One statement: two could see two states of the ledger.
            state = connection.execute(
                select(lake_versions.c.version, projects.c.instant, projects.c.closed_until).select_from(
                    lake_versions.outerjoin(projects, projects.c.project == project)
                )
            ).one()
        return cls(
            lake=lake,
            ledger=ledger,
            project=project,
            tables=tables,
            number=max(numbers) + 1,
            applied=state.version,
            last_instant=state.instant,
            closed_until=state.closed_until,
        )

    def next_instant(self) -> datetime:
        """Return the instant of a load that commits now: later than the last, never in a closed hour."""
        now = self.ledger.now()
        instant = now - timedelta(microseconds=now.microsecond % 1000)
        if self.last_instant is not None:
            instant = max(instant, self.last_instant + TICK)
        if self.closed_until is not None:
            instant = max(instant, self.closed_until)
        return instant

    def dataset(self, name: str) -> pads.Dataset:
        """Return the project's rows of a table; filters on bounded columns skip whole files."""
        return self.tables[name].to_pyarrow_dataset(
            file_pruning_predicate=[("app", "=", str(self.project))],
            filesystem=self.lake.table_filesystem(name),
        )

    @cached_property
    def committed(self) -> pa.Table:
        """The (n, attempt) of every load of the project; a side table's row of any other is an orphan."""
        with self.ledger.begin() as connection:
            rows = connection.execute(
                select(loads.c.number, loads.c.attempt).where(loads.c.project == self.project)
            ).all()
        return pa.table(
            {
                "n": pa.array([row.number for row in rows], pa.int64()),
                "attempt": pa.array([row.attempt for row in rows], pa.string()),
            }
        )

    def side_rows(self, name: str, columns: list[str]) -> pa.RecordBatchReader:
        """Stream the rows of a side table that count: those of loads that committed (ADR 1)."""
        attempts = self.committed.column("attempt").combine_chunks()
        scanner = self.dataset(name).scanner(columns=[*columns, "attempt"], batch_size=_BATCH_ROWS)
        schema = pa.schema([SCHEMAS[name].field(column) for column in columns])
        # Here, not as a join in SQL: an attempt is one commit's, and few are told from many rows.
        rows = (
            batch.filter(pc.is_in(batch.column("attempt"), value_set=attempts)).select(columns)
            for batch in scanner.to_reader()
        )
        return pa.RecordBatchReader.from_batches(schema, rows)

    def append_side_rows(self, name: str, rows: Iterable[pa.RecordBatch], entry: LogEntry) -> None:
        """Commit rows to a side table under the entry's number, unless there are none. Raises Refused."""
        partition_by = self.tables[name].metadata().partition_columns
        actions = write_data_files(self.lake.table_filesystem(name), rows, partition_by)
        if actions:
            self._commit(name, actions, entry)

    def commit(self, actions: list[AddAction], entry: LogEntry) -> None:
        """Commit the entry to `events`, with or without files. Raises Refused."""
        self._commit("events", actions, entry)

    def _commit(self, name: str, actions: list[AddAction], entry: LogEntry) -> None:
        table = self.tables[name]
        try:
            table.create_write_transaction(
                actions=list(actions),
                mode="append",
                schema=SCHEMAS[name],
                partition_by=table.metadata().partition_columns,
                commit_properties=entry.properties(),
            )
        except CommitFailedError as error:
            if self.lake.table(name).version() == table.version():
                # Nothing came between, so a new snapshot would be refused as this one, for ever.
                raise LakeError(f"The table {name!r} at {self.lake.uri} takes no commit: {error}") from error
            raise Refused(str(error)) from error

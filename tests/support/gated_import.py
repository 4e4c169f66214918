"""Files of one source, staged below a lake as a run's convert tasks do, good or bad, for the gate's tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
from lake_staging import staged_rows
from replay_staging import row as replay_row
from sqlalchemy import update

from sluice.access.access import Access
from sluice.access.storage import S3Store
from sluice.config import ImportConfig
from sluice.imports.session import ImportRun
from sluice.imports.staging import run_folder
from sluice.lake import Lake
from sluice.lake.schema import STAGED_EVENTS, STAGED_REPLAY
from sluice.ledger import Ledger, files
from sluice.ledger.files import NewFile, SourceFile, holder_of

SOURCE = "shop"
FOUND = datetime(2013, 1, 2, tzinfo=UTC)
Change = Callable[[dict[str, Any]], None]


def good_rows(key: str, count: int = 20, *, replay: bool = False) -> list[dict[str, Any]]:
    """Rows of one file that nothing is wrong with."""
    if replay:
        return [
            replay_row(f"{key}/{n}", user_id=f"user-{n}", amplitude_id=10**12 + n, row=n)
            for n in range(count)
        ]
    rows = staged_rows((f"{key}-{n}" for n in range(count)), key=key).to_pylist()
    for n, row in enumerate(rows):
        row["event_properties"] = f'{{"amount": {n}, "country": "{"DE" if n % 2 else "FR"}"}}'
        row["user_properties"] = "{}"
    return rows


class GatedImport:
    """A source's runs as the gate sees them: nothing of it needs a bucket."""

    def __init__(self, lake: Lake, ledger: Ledger, **settings: Any) -> None:
        self.lake = lake
        self.ledger = ledger
        self.source = ImportConfig.model_validate(
            {
                "id": SOURCE,
                "name": "Shop",
                "owner": "data@example.com",
                "project": 187520,
                "bucket": "bucket",
                "region": "us-east-1",
                "account": "own",
                "size_policy": "ignore",
                **({} if settings.get("replay") else {"converter": "shop.json"}),
                **settings,
            }
        )

    def run(self, name: str = "run-1") -> ImportRun:
        return ImportRun(
            self.source, name, cast(S3Store, None), self.lake, self.ledger, Path("no-such-converter.json")
        )

    @property
    def access(self) -> Access:
        """What a command has of lake and ledger."""
        return cast(Access, SimpleNamespace(lake=self.lake, ledger=self.ledger))

    def rows(self, key: str, count: int = 20) -> list[dict[str, Any]]:
        return good_rows(key, count, replay=self.source.replay)

    def stage(
        self,
        key: str,
        rows: Sequence[dict[str, Any]],
        run: str = "run-1",
        *,
        read: int | None = None,
        ignored: int = 0,
        failed: str | None = None,
    ) -> SourceFile:
        """Find, claim and stage one file, of which `read` rows were read, by default as many as there are.

        `ignored` rows come on top of them.
        """
        files.add_new(self.ledger, self.source.id, "bucket", [NewFile(key, "etag", 1, FOUND)], "hash", run)
        file = self.file(key)
        holder = holder_of(run, 0)
        claimed = files.claim(self.ledger, self.source.id, file, holder, 900)
        assert claimed is not None
        path = self._write(run, key, rows) if rows and not failed else None
        facts = {
            "run": run,
            "events": path,
            "rejects": None,
            "rows_read": len(rows) + ignored if read is None else read,
            "ignored": ignored,
            "rejected": 0,
            "failed": failed,
            "hours": [],
        }
        assert files.stage(
            self.ledger, self.source.id, claimed, holder, 900, staged=facts, report={"run": run}, took=1
        )
        return self.file(key)

    def _write(self, run: str, key: str, rows: Sequence[dict[str, Any]]) -> str:
        folder = run_folder(self.source.id, run)
        path = f"{folder}/{key}.events.parquet"
        filesystem = self.lake.filesystem()
        filesystem.create_dir(folder)
        schema = STAGED_REPLAY if self.source.replay else STAGED_EVENTS
        # Several row groups, as in files that are large.
        pq.write_table(pa.Table.from_pylist(rows, schema), path, filesystem=filesystem, row_group_size=7)
        return path

    def file(self, key: str) -> SourceFile:
        found = files.find(self.ledger, self.source.id, "bucket", key)
        assert found is not None
        return found

    def states(self) -> dict[str, str]:
        return {file.key: file.state for file in files.of_source(self.ledger, self.source.id)}

    def let_claims_run_out(self) -> None:
        """Make it late: no worker has been heard of for three days."""
        long_ago = self.ledger.now() - timedelta(days=3)
        with self.ledger.begin() as connection:
            connection.execute(
                update(files.files).where(files.files.c.state == "processing").values(claimed_until=long_ago)
            )

    def staged_folders(self) -> set[str]:
        folder = Path(self.lake.uri, "_staging", self.source.id)
        return {path.name for path in folder.iterdir()} if folder.exists() else set()

    def loaded(self) -> list[str]:
        """The uuids in the lake, in order."""
        return sorted(self.lake.events().to_pyarrow_table(columns=["uuid"]).column("uuid").to_pylist())

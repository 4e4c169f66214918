"""What imports left behind goes, and nothing that a living worker or a coming load needs."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from sluice.imports.left_behind import clear_left_behind
from sluice.imports.staging import run_folder
from sluice.ledger import files, leases
from sluice.ledger.files import NewFile, holder_of

WEEK = timedelta(days=7)
FOUND = datetime(2013, 1, 2, tzinfo=UTC)


class Imports:
    """Files of one source in the ledger, and folders of its runs below the lake."""

    def __init__(self, lake, ledger) -> None:
        self.lake, self.ledger = lake, ledger

    def stage(self, key: str, run: str, *, age: timedelta, claim: timedelta) -> None:
        """Claim and stage a file; the claim ended, or ends, so long after now, the rows are so old."""
        files.add_new(self.ledger, "s", "bucket", [NewFile(key, "etag", 1, FOUND)], "hash", run)
        file = files.find(self.ledger, "s", "bucket", key)
        held = files.claim(self.ledger, "s", file, holder_of(run, 0), 60)
        path = self.write(run, key, age)
        files.stage(
            self.ledger,
            "s",
            held,
            holder_of(run, 0),
            60,
            staged={"run": run, "events": path},
            report={},
            took=1,
        )
        self.set(key, claimed_until=self.ledger.now() + claim)

    def write(self, run: str, name: str, age: timedelta) -> str:
        path = f"{run_folder('s', run)}/{name}.events.parquet"
        whole = Path(self.lake.uri, path)
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_bytes(b"rows")
        os.utime(whole, (time.time() - age.total_seconds(),) * 2)
        return path

    def set(self, key: str, **values: object) -> None:
        with self.ledger.begin() as connection:
            connection.execute(update(files.files).where(files.files.c.key == key).values(**values))

    def states(self) -> dict[str, tuple[str, bool]]:
        """By key: the state, and whether staged rows are named."""
        return {file.key: (file.state, file.staged is not None) for file in files.of_source(self.ledger, "s")}

    def runs(self) -> set[str]:
        return {path.name for path in Path(self.lake.uri, "_staging", "s").iterdir()}


@pytest.fixture
def imports(lake, ledger) -> Imports:
    return Imports(lake, ledger)


def test_a_run_keeps_what_its_load_will_read(imports):
    hours = timedelta(hours=1)
    imports.stage("waits", "waiting", age=5 * hours, claim=-4 * hours)
    imports.stage("works", "working", age=8 * WEEK, claim=hours)
    imports.write("done", "old", 2 * hours)
    imports.write("begun", "young", timedelta())
    imports.stage("dead", "dead", age=8 * WEEK, claim=-8 * WEEK)
    before = imports.states()
    would = clear_left_behind(imports.lake, imports.ledger, WEEK, dry_run=True)
    assert (imports.states(), len(imports.runs())) == (before, 5)
    assert (would.folders, would.files) == (2, 2)
    cleared = clear_left_behind(imports.lake, imports.ledger, WEEK)
    assert (cleared.folders, cleared.files, cleared.bytes, cleared.claims) == (2, 2, 8, 1)
    assert imports.runs() == {"waiting", "working", "begun"}
    assert imports.states() == {
        "waits": ("processing", True),
        "works": ("processing", True),
        # It waits for the next run as if it had just been found.
        "dead": ("discovered", False),
    }
    assert [file.key for file in files.waiting(imports.ledger, "s")] == ["dead", "waits"]
    again = clear_left_behind(imports.lake, imports.ledger, WEEK)
    assert (again.folders, again.claims, again.leases) == (0, 0, 0)


def test_dead_leases_go_and_live_ones_stay(lake, ledger):
    for name, ends in (("dead", -2), ("resting", -0.5), ("live", 1)):
        leases.take(ledger, name, "holder", 60)
        moment = ledger.now() + timedelta(hours=ends)
        with ledger.begin() as connection:
            table = leases.leases
            connection.execute(update(table).where(table.c.name == name).values(expires_at=moment))
    assert clear_left_behind(lake, ledger, WEEK).leases == 1
    with ledger.begin() as connection:
        left = connection.execute(select(leases.leases.c.name).order_by(leases.leases.c.name)).scalars().all()
    assert left == ["live", "resting"]


def test_a_lake_without_staging_has_nothing_to_clear(lake, ledger):
    assert clear_left_behind(lake, ledger, WEEK).folders == 0

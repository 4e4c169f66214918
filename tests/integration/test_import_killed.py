"""A worker killed at every step of an import: every row is there once (invariants 4 to 6)."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from importing import Job, Point, World

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.integration

_SIDE = "sluice.lake.snapshot:Snapshot.append_side_rows"

# The steps in their order. Each try gets as far as the next point, and is killed there.
CONVERSION = (
    # The first file: converted, written, recorded as staged.
    Point("sluice.imports.staging:StagingWriter.write", "after"),
    Point("sluice.imports.staging:StagingWriter.close"),
    Point("sluice.ledger.files:stage"),
    Point("sluice.ledger.files:stage", "after"),
    # The second, which is now the only one left.
    Point("sluice.ledger.files:stage", "after"),
)
STEPS = (
    Point("sluice.ledger.files:add_new"),
    Point("sluice.ledger.files:add_new", "after"),
    Point("sluice.ledger.files:claim"),
    Point("sluice.ledger.files:claim", "after"),
    *CONVERSION,
    # The gate.
    Point("loading:check_load"),
    Point("sluice.ledger.quality:record"),
    Point("sluice.ledger.quality:record", "after"),
    Point("sluice.quality.gate:write_report", "after"),
    Point("sluice.imports.load:require_checked"),
    Point("sluice.lake.snapshot:Snapshot.open", "after"),
    Point(_SIDE),
    Point(_SIDE, "after"),
    Point(_SIDE, "after", 2),
    Point(_SIDE, "after", 3),
    Point(_SIDE, "after", 4),
    Point("sluice.lake.snapshot:Snapshot.commit"),
    Point("sluice.lake.snapshot:Snapshot.commit", "after"),
    Point("sluice.ledger.files:forget_staging"),
    Point("sluice.ledger.files:forget_staging", "after"),
    Point("sluice.imports.load:remove_run", "after"),
    Point("sluice.imports.report:report_run", "after"),
)


@pytest.mark.parametrize(
    # Before and after their conversion, files of all types go the same way.
    ("file_type", "steps"),
    [("csv", STEPS), ("json", CONVERSION), ("parquet", CONVERSION)],
    ids=["csv", "json", "parquet"],
)
def test_a_worker_killed_at_every_step(
    s3: S3Client, s3_access: Any, bucket: str, tmp_path: Path, file_type: str, steps: tuple[Point, ...]
) -> None:
    world = World.make(s3_access, bucket, tmp_path)
    world.put(s3, file_type, file_type, events=file_type)
    for step in steps:
        assert world.work(Job(file_type, die=step)) == [-signal.SIGKILL], step
    assert world.work(Job(file_type)) == [0], world.said(Job(file_type))
    world.assert_each_once([file_type])
    # What the ledger learns after the commit it may also learn later: the next run has nothing to do.
    assert world.work(Job(file_type, "run-2")) == [0]
    assert world.lake.events().version() == 1


def test_a_worker_killed_when_the_ledger_has_caught_up(
    s3: S3Client, s3_access: Any, bucket: str, tmp_path: Path
) -> None:
    world = World.make(s3_access, bucket, tmp_path)
    world.put(s3, "csv", "csv", events="csv")
    caught_up = Point("sluice.lake.load:catch_up", "after")
    assert world.work(Job("csv", die=caught_up)) == [-signal.SIGKILL]
    # Nobody comes back to this run: the next one finds all files done, and clears nothing away yet.
    assert world.work(Job("csv", "run-2")) == [0]
    assert world.lake.events().version() == 1
    assert world.work(Job("csv")) == [0]
    world.assert_each_once(["csv"])

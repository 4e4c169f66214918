"""Vacuum deletes what has been useless for long, and nothing that a load or an export may still need."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fresh import fresh_ledger
from lake_staging import NOON, stage

import sluice.lake.maintenance.rewrite as rewrite_module
from sluice.lake import Lake, LoadRequest, load, read_hour
from sluice.lake.maintenance import compact_events, vacuum_tables
from sluice.lake.maintenance.rewrite import data_files
from sluice.lake.snapshot import Snapshot
from sluice.ledger import Ledger

PROJECT = 187520
WEEK = timedelta(days=7)
TARGET = 128 << 20


def load_rows(lake: Lake, ledger: Ledger, name: str) -> None:
    file = stage(lake, name, [f"{name}-{n}" for n in range(5)], at=lambda _: NOON)
    load(lake, ledger, LoadRequest(PROJECT, "s", [file], "event_time"))


def age(lake: Lake, days: float) -> None:
    """Make all data files as old as that."""
    for path in Path(lake.uri).rglob("*.parquet"):
        if "_delta_log" not in path.parts:
            os.utime(path, (time.time() - days * 86400,) * 2)


def compact_ago(lake: Lake, ledger: Ledger, days: float, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    with monkeypatch.context() as patched:
        patched.setattr(rewrite_module.time, "time", lambda: real() - days * 86400)
        assert compact_events(lake, ledger, TARGET).commits == 1


def uuids(lake: Lake, version: int) -> list[str]:
    batches = read_hour(lake, PROJECT, NOON, version, ["uuid"])
    return [uuid for batch in batches for uuid in batch.column(0).to_pylist()]


def on_disk(lake: Lake) -> set[str]:
    folder = Path(lake.uri, "events")
    return {str(path.relative_to(folder)) for path in folder.glob("app=*/**/*.parquet")}


def test_replaced_files_stay_for_the_retention_and_go_after_it(local, monkeypatch):
    lake, ledger = local.open()
    for n in range(2):
        load_rows(lake, ledger, f"f{n}")
    version, rows = lake.events().version(), uuids(lake, lake.events().version())
    age(lake, days=30)
    compact_ago(lake, ledger, 6.9, monkeypatch)
    assert all(found.files == 0 for found in vacuum_tables(lake, ledger, WEEK).values())
    # An export that began at the older version reads on.
    assert uuids(lake, version) == rows
    later = lake.events().version()
    for n in range(2, 4):
        load_rows(lake, ledger, f"f{n}")
    age(lake, days=30)
    compact_ago(lake, ledger, 7.1, monkeypatch)
    rows = uuids(lake, lake.events().version())
    would = vacuum_tables(lake, ledger, WEEK, dry_run=True)["events"]
    assert len(on_disk(lake)) == 6
    done = vacuum_tables(lake, ledger, WEEK)["events"]
    # The compacted file of before, and two loaded ones.
    assert (done.files, done.bytes) == (would.files, would.bytes) == (3, would.bytes)
    assert done.bytes > 0
    assert len(on_disk(lake)) == 3
    assert uuids(lake, lake.events().version()) == rows
    assert uuids(lake, version) is not None
    with pytest.raises(FileNotFoundError):
        uuids(lake, later)
    assert all(found.files == 0 for found in vacuum_tables(lake, ledger, WEEK).values())


def test_files_of_a_refused_load_go_by_age_and_those_of_a_running_one_stay(local, monkeypatch):
    lake, ledger = local.open()
    load_rows(lake, ledger, "f0")
    original: Callable[..., Any] = Snapshot.commit
    seen: list[int] = []

    def slow(self: Snapshot, actions: Any, entry: Any) -> None:
        # Its data files are written and not committed; so are those of a load that died long ago.
        orphan = Path(lake.uri, "events", str(actions[0].path)).with_name("part-dead.zstd.parquet")
        orphan.write_bytes(b"left behind")
        os.utime(orphan, (time.time() - 8 * 86400,) * 2)
        seen.append(vacuum_tables(*local.open(), WEEK)["events"].files)
        assert not orphan.exists()
        original(self, actions, entry)

    monkeypatch.setattr(Snapshot, "commit", slow)
    load_rows(lake, ledger, "f1")
    assert seen == [1]
    assert len(uuids(lake, lake.events().version())) == 10


def test_a_longer_retention_holds_over_checkpoints(local, monkeypatch):
    """By themselves checkpoints forget a replaced file after a week; its age would be that of its writing."""
    lake, ledger = local.open()
    month = timedelta(days=30)
    vacuum_tables(lake, ledger, month)
    for n in range(2):
        load_rows(lake, ledger, f"f{n}")
    version = lake.events().version()
    age(lake, days=60)
    compact_ago(lake, ledger, 10, monkeypatch)
    lake.events().create_checkpoint()
    assert vacuum_tables(lake, ledger, month)["events"].files == 0
    assert len(uuids(lake, version)) == 10
    assert vacuum_tables(lake, ledger, WEEK)["events"].files == 2


def test_a_young_file_that_no_commit_names_is_left_on_s3_too(s3_lake):
    lake, ledger = s3_lake
    load_rows(lake, ledger, "f0")
    path = data_files(lake.events())[0].path.replace("part-", "part-young-")
    with lake.table_filesystem("events").open_output_stream(path) as stream:
        stream.write(b"about to be committed")
    assert all(found.files == 0 for found in vacuum_tables(lake, ledger, WEEK).values())
    assert lake.table_filesystem("events").get_file_info(path).size == 21


@pytest.fixture
def s3_lake(bucket, s3_store, tmp_path) -> tuple[Lake, Ledger]:
    lake = Lake(f"s3://{bucket}/lake", s3_store.delta_options())
    lake.create()
    return lake, fresh_ledger(tmp_path / "ledger.db")

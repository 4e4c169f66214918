"""Checkpoints: written where they save reading, without a commit of the log going away."""

from __future__ import annotations

from pathlib import Path

from fresh import fresh_ledger
from lake_staging import NOON

from sluice.lake.commits import LogEntry
from sluice.lake.maintenance import checkpoint_tables
from sluice.lake.projection import catch_up
from sluice.lake.snapshot import Snapshot


def commit(lake, ledger, times: int) -> None:
    for _ in range(times):
        snapshot = Snapshot.open(lake, ledger, 1)
        snapshot.commit([], LogEntry("close", 1, snapshot.number, "attempt", closed_until=NOON))


def test_a_checkpoint_comes_after_ten_commits_and_no_commit_goes(local, tmp_path):
    lake, ledger = local.open()
    commit(lake, ledger, 9)
    assert checkpoint_tables(lake) == {}
    commit(lake, ledger, 1)
    assert checkpoint_tables(lake, dry_run=True) == {"events": 10}
    assert checkpoint_tables(lake) == {"events": 10}
    assert checkpoint_tables(lake) == {}
    log = Path(lake.uri, "events", "_delta_log")
    assert len(list(log.glob("*.json"))) == 11
    assert len(list(log.glob("*.checkpoint.parquet"))) == 1
    # The number of the project's log is in the checkpoint, and a lost ledger comes back from the commits.
    assert lake.events().transaction_version("load:1") == 10
    other = fresh_ledger(tmp_path / "other.db")
    catch_up(lake, other, lake.events())
    commit(lake, ledger, 9)
    assert checkpoint_tables(lake) == {}

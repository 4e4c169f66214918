"""The log as the ledger reads it: exact versions, checkpoints, a log that was cleaned away."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from fresh import fresh_lake, fresh_ledger
from importing import forks
from lake_staging import NOON, stage
from sqlalchemy import event, select

import sluice.lake.snapshot
from sluice.lake import (
    Fingerprint,
    Lake,
    LoadRequest,
    close_until,
    hour_fingerprint,
    hour_fingerprints,
    load,
    read_hour,
)
from sluice.lake.commits import LogEntry
from sluice.lake.projection import catch_up, hour_of
from sluice.lake.snapshot import Snapshot
from sluice.lake.store import LakeError
from sluice.ledger import Ledger
from sluice.ledger.tables import files, hours, lake_versions, loads, projects

PROJECT = 187520


def projected(ledger: Ledger):
    """Everything that the ledger has from the log, save the time at which it was taken over."""
    with ledger.begin() as connection:
        return [
            connection.execute(select(table)).all() for table in (lake_versions, projects, loads, hours)
        ] + [connection.execute(select(files.c.source, files.c.key, files.c.state, files.c.loaded)).all()]


def commit_empty(lake: Lake, ledger: Ledger, times: int) -> None:
    """Close an hour of the past by each of many commits."""
    snapshot = Snapshot.open(lake, ledger, PROJECT)
    for n in range(times):
        entry = LogEntry("close", PROJECT, snapshot.number + n, "attempt", closed_until=NOON)
        snapshot.commit([], entry)
        snapshot.tables["events"].update_incremental()


def test_a_table_opened_before_the_newest_commit_gives_its_own_versions(lake, ledger, tmp_path):
    """deltalake's history() takes commits from the log's end and counts versions from the table's own."""
    load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "f1", ["a"])]))
    opened_before = lake.events()
    load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "f2", ["b"])]))
    other = fresh_ledger(tmp_path / "other.db")
    catch_up(lake, other, opened_before)
    with other.begin() as connection:
        assert connection.execute(select(files.c.key)).scalars().all() == ["f1"]
        assert connection.execute(select(lake_versions.c.version)).scalar_one() == 1
    catch_up(lake, other, lake.events())
    assert projected(other) == projected(ledger)


def test_the_version_of_a_close_has_all_rows_of_the_closed_hour(lake, ledger, monkeypatch):
    """Another process may load and close between this one's look at the lake and its look at the ledger."""
    real_now = ledger.now
    hour = hour_of(ledger.now()) - timedelta(hours=1)
    end = hour + timedelta(hours=1)
    real = sluice.lake.snapshot.catch_up
    overtaken = []

    def overtake(*args) -> None:
        if not overtaken:
            overtaken.append(True)
            monkeypatch.setattr(type(ledger), "now", lambda self: end - timedelta(minutes=1))
            load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "f1", ["a"])]))
            monkeypatch.setattr(type(ledger), "now", lambda self: real_now())
            close_until(lake, ledger, PROJECT, end, wait_seconds=0)
        real(*args)

    monkeypatch.setattr(sluice.lake.snapshot, "catch_up", overtake)
    version = close_until(lake, ledger, PROJECT, end, wait_seconds=0)
    rows = sum(batch.num_rows for batch in read_hour(lake, PROJECT, hour, version, ["uuid"]))
    assert rows == hour_fingerprint(ledger, PROJECT, hour).rows == 1


def _catch_up(where: tuple[str, str]) -> None:
    lake, ledger = Lake(where[0]), Ledger.open(where[1])
    catch_up(lake, ledger, lake.events())


def test_four_processes_fill_an_empty_ledger_at_once(lake, ledger_url, tmp_path):
    first = fresh_ledger(tmp_path / "first.db")
    for n in range(3):
        load(lake, first, LoadRequest(PROJECT, "s", [stage(lake, f"f{n}", [f"e{n}"])]))
    commit_empty(lake, first, 30)
    catch_up(lake, first, lake.events())
    with ProcessPoolExecutor(4, mp_context=forks()) as pool:
        list(pool.map(_catch_up, [(lake.uri, ledger_url)] * 4))
    assert projected(Ledger.open(ledger_url)) == projected(first)


@pytest.mark.parametrize("clean_up", ["false", "true"])
def test_what_a_commit_says_outlives_checkpoints(tmp_path, monkeypatch, clean_up):
    """With the clean-up that deltalake does by default, the same log is lost: that is what is turned off."""
    monkeypatch.setitem(sluice.lake.store._PROPERTIES, "delta.logRetentionDuration", "interval 0 seconds")
    if clean_up == "true":
        monkeypatch.setitem(sluice.lake.store._PROPERTIES, "delta.enableExpiredLogCleanup", clean_up)
    lake = fresh_lake(tmp_path / "lake")
    ledger = fresh_ledger(tmp_path / "ledger.db")
    load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "f1", ["a"])]))
    commit_empty(lake, ledger, 121)
    events = lake.events()
    assert events.version() == 122
    assert events.transaction_version(f"load:{PROJECT}") == 122
    other = fresh_ledger(tmp_path / "other.db")
    again = LoadRequest(PROJECT, "s", [stage(lake, "f1", ["a"])])
    if clean_up == "true":
        with pytest.raises(LakeError, match="log"):
            load(lake, other, again)
        assert lake.events().version() == 122
    else:
        assert load(lake, other, again).commits == 0
        catch_up(lake, ledger, events)
        assert projected(other) == projected(ledger)


def test_a_commit_may_touch_more_hours_than_a_statement_takes_parameters(lake, ledger):
    """SQLite takes 32,766 by default; a file is never split, and four years have 35,064 hours."""
    if ledger.is_sqlite:
        event.listen(
            ledger.engine, "connect", lambda raw, _: raw.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 50)
        )
    change = Fingerprint(1, f"{7:032x}")
    touched = {NOON + timedelta(hours=n): change for n in range(60)}
    for number in (1, 2):
        entry = LogEntry("load", PROJECT, number, "attempt", "s", NOON, hours=touched)
        Snapshot.open(lake, ledger, PROJECT).commit([], entry)
    catch_up(lake, ledger, lake.events())
    total = Fingerprint(2, f"{14:032x}")
    found = hour_fingerprints(ledger, PROJECT, min(touched), max(touched))
    assert found == dict.fromkeys(touched, total)


def test_hours_before_1970_are_counted_downwards(lake, ledger):
    moment = hour_of(NOON).replace(year=1969) + timedelta(minutes=30)
    staged = stage(lake, "f1", ["a"], at=lambda _: moment)
    load(lake, ledger, LoadRequest(PROJECT, "s", [staged], "event_time"))
    version = lake.events().version()
    (batch,) = read_hour(lake, PROJECT, hour_of(moment), version, ["server_upload_time"])
    assert batch.column(0).to_pylist() == [moment]
    assert hour_fingerprint(ledger, PROJECT, hour_of(moment)).rows == 1


def test_a_commit_refused_for_no_other_commit_is_an_error_and_not_tried_for_ever(lake, ledger, monkeypatch):
    def refuse(*args, **kwargs):
        raise CommitFailedError("Unsupported table features required: [SomeNewFeature]")

    monkeypatch.setattr(DeltaTable, "create_write_transaction", refuse)
    with pytest.raises(LakeError, match="SomeNewFeature"):
        close_until(lake, ledger, PROJECT, hour_of(ledger.now()), wait_seconds=0)

"""The fence of the load protocol, under processes that race, sleep and die (ADR 1)."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import CommitProperties
from fresh import fresh_lake, fresh_ledger_url
from importing import forks
from lake_staging import NOON, stage
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from sluice.lake import Lake, LoadRequest, close_until, hour_fingerprint, load, read_hour
from sluice.lake.commits import METADATA_KEY, application_id
from sluice.lake.projection import hour_of
from sluice.lake.snapshot import Snapshot
from sluice.lake.store import SCHEMAS
from sluice.ledger import Ledger
from sluice.ledger.tables import leases as leases_table
from sluice.ledger.tables import loads, projects

PROJECT = 187520
Where = tuple[str, dict[str, str], str]


@pytest.fixture(params=["local and sqlite", pytest.param("s3 and postgresql", marks=pytest.mark.integration)])
def where(request: pytest.FixtureRequest, tmp_path) -> Where:
    """The lake's URI and options and the ledger's URL: what a process needs to open both."""
    if request.param == "local and sqlite":
        return _local(tmp_path)
    uri = f"s3://{request.getfixturevalue('bucket')}/lake"
    options = request.getfixturevalue("s3_store").delta_options()
    Lake(uri, options).create()
    return uri, options, request.getfixturevalue("postgres_ledger_url")


def _local(folder: Path) -> Where:
    return fresh_lake(folder / "lake").uri, {}, fresh_ledger_url(folder / "ledger.db")


def open_both(where: Where) -> tuple[Lake, Ledger]:
    uri, options, url = where
    return Lake(uri, options), Ledger.open(url, migrate=False)


def insert_ids(lake: Lake) -> list[str]:
    return lake.events().to_pyarrow_table(columns=["$insert_id"]).column(0).to_pylist()


def unfenced_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every commit pass without an application id, as a writer without the protocol would."""

    def unfenced(self: Snapshot, name: str, actions: Any, entry: Any) -> None:
        properties = CommitProperties(custom_metadata={METADATA_KEY: entry.to_json()})
        table = self.tables[name]
        table.create_write_transaction(
            actions=list(actions),
            mode="append",
            schema=SCHEMAS[name],
            partition_by=table.metadata().partition_columns,
            commit_properties=properties,
        )

    monkeypatch.setattr(Snapshot, "_commit", unfenced)


def _load_everything(where: Where, worker: int) -> None:
    lake, ledger = open_both(where)
    for round_ in range(4):
        # Each worker has files of its own, of its own source, with the same events in them.
        file = stage(lake, f"w{worker}-{round_}", [f"e{round_}-{n}" for n in range(20)])
        load(lake, ledger, LoadRequest(PROJECT, f"source{worker}", [file]))


def test_four_processes_load_the_same_events_once(where):
    with ProcessPoolExecutor(4, mp_context=forks()) as pool:
        list(pool.map(_load_everything, [where] * 4, range(4)))
    lake, ledger = open_both(where)
    ids = Counter(insert_ids(lake))
    assert sorted(ids) == sorted(f"e{round_}-{n}" for round_ in range(4) for n in range(20))
    assert set(ids.values()) == {1}
    with ledger.begin() as connection:
        totals = connection.execute(
            select(func.sum(loads.c.rows_read), func.sum(loads.c.loaded), func.sum(loads.c.duplicate))
        ).one()
        numbers = list(connection.execute(select(loads.c.number).order_by(loads.c.number)).scalars())
    assert tuple(map(int, totals)) == (320, 80, 240)
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 16
    # One user in all rows: one ID, whoever gave it.
    assert len(set(lake.events().to_pyarrow_table(columns=["amplitude_id"]).column(0).to_pylist())) == 1


def test_two_loads_from_one_snapshot_keep_one_event(lake, ledger):
    assert loaded_by_two_from_one_snapshot(lake, ledger) == ["a"]


def test_without_the_fence_two_loads_from_one_snapshot_double_the_event(lake, ledger, monkeypatch):
    """The test above proves something only if it fails without the fence."""
    unfenced_commits(monkeypatch)
    with pytest.raises(IntegrityError):  # the log has two entries of one number
        loaded_by_two_from_one_snapshot(lake, ledger)
    assert insert_ids(lake) == ["a", "a"]


def loaded_by_two_from_one_snapshot(lake: Lake, ledger: Ledger) -> list[str]:
    """Load one event from two sources; the second load happens while the first is about to commit."""
    original = Snapshot.commit
    calls = []

    def commit(self: Snapshot, actions: Any, entry: Any) -> None:
        calls.append(entry)
        if len(calls) == 1:
            load(lake, ledger, LoadRequest(PROJECT, "second", [stage(lake, "f2", ["a"])]))
        original(self, actions, entry)

    Snapshot.commit = commit  # type: ignore[method-assign]
    try:
        load(lake, ledger, LoadRequest(PROJECT, "first", [stage(lake, "f1", ["a"])]))
    finally:
        Snapshot.commit = original  # type: ignore[method-assign]
    return insert_ids(lake)


def load_asleep_while_its_hour_closes(lake: Lake, ledger: Ledger, monkeypatch) -> tuple[Any, int, int]:
    """Load two events; before the commit the lease ends and the hour is closed and read.

    Returns the hour, the rows read when it was closed, and the rows in it after the loader woke.
    """
    real_now = Ledger.now
    hour = hour_of(ledger.now())
    shift = [hour + timedelta(minutes=59) - ledger.now()]
    monkeypatch.setattr(Ledger, "now", lambda self: real_now(self) + shift[0])
    original = Snapshot.commit
    read_at_close: list[int] = []

    def rows_of(version: int) -> int:
        return sum(batch.num_rows for batch in read_hour(lake, PROJECT, hour, version, ["uuid"]))

    def sleep_then_commit(self: Snapshot, actions: Any, entry: Any) -> None:
        if entry.kind == "load" and not read_at_close:
            assert hour_of(entry.instant) == hour
            past = real_now(ledger) - timedelta(minutes=5)
            with ledger.begin() as connection:
                connection.execute(update(leases_table).values(expires_at=past))
            shift[0] += timedelta(minutes=2)
            end = hour + timedelta(hours=1)
            read_at_close.append(rows_of(close_until(lake, ledger, PROJECT, end, wait_seconds=60)))
        original(self, actions, entry)

    monkeypatch.setattr(Snapshot, "commit", sleep_then_commit)
    load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "f1", ["a", "b"])]))
    return hour, read_at_close[0], rows_of(lake.events().version())


def test_a_loader_that_sleeps_past_its_lease_lands_in_the_next_hour(where, monkeypatch):
    lake, ledger = open_both(where)
    hour, at_close, afterwards = load_asleep_while_its_hour_closes(lake, ledger, monkeypatch)
    assert (at_close, afterwards) == (0, 0)
    next_hour = hour + timedelta(hours=1)
    version = lake.events().version()
    assert sum(b.num_rows for b in read_hour(lake, PROJECT, next_hour, version, ["uuid"])) == 2
    assert hour_fingerprint(ledger, PROJECT, hour).rows == 0
    assert hour_fingerprint(ledger, PROJECT, next_hour).rows == 2


def test_without_the_fence_the_sleeper_writes_into_the_closed_hour(lake, ledger, monkeypatch):
    unfenced_commits(monkeypatch)
    with pytest.raises(IntegrityError):
        load_asleep_while_its_hour_closes(lake, ledger, monkeypatch)
    (row,) = set(lake.events().to_pyarrow_table(columns=["server_upload_time"]).column(0).to_pylist())
    with ledger.begin() as connection:
        closed = connection.execute(select(projects.c.closed_until)).scalar_one()
    assert row < closed


def _load_and_die(where: Where, file: Any, step: str, when: str) -> None:
    """Load one file, and be killed before or after the commit to one table."""
    lake, ledger = open_both(where)
    if step == "events":
        original = Snapshot.commit

        def commit(self: Snapshot, actions: Any, entry: Any) -> None:
            if when == "after":
                original(self, actions, entry)
            os.kill(os.getpid(), signal.SIGKILL)

        Snapshot.commit = commit  # type: ignore[method-assign]
    else:
        append = Snapshot.append_side_rows

        def append_side_rows(self: Snapshot, name: str, rows: Any, entry: Any) -> None:
            if name == step and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            append(self, name, rows, entry)
            if name == step:
                os.kill(os.getpid(), signal.SIGKILL)

        Snapshot.append_side_rows = append_side_rows  # type: ignore[method-assign]
    load(lake, ledger, LoadRequest(PROJECT, "s", [file]))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["users", "devices", "events"])
def test_a_worker_killed_at_a_commit_leaves_the_same_end(tmp_path, step, when):
    where = _local(tmp_path)
    lake, ledger = open_both(where)
    users = {"a": "ann", "b": None, "c": "ann"}
    file = stage(lake, "f1", users, user=users.get, at=lambda _: NOON)
    worker = forks().Process(target=_load_and_die, args=(where, file, step, when))
    worker.start()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL

    result = load(lake, ledger, LoadRequest(PROJECT, "s", [file]))
    assert (result.counts.read, result.counts.loaded) == (3, 3)
    assert result.commits == (0 if (step, when) == ("events", "after") else 1)
    rows = lake.events().to_pyarrow_table(columns=["$insert_id", "amplitude_id"]).to_pylist()
    ids = {row["$insert_id"]: row["amplitude_id"] for row in rows}
    assert len(rows) == 3
    assert ids["a"] == ids["c"] != ids["b"]
    # What the dead attempt left in the side tables counts for nobody.
    more = {"d": "ann", "e": None}
    load(lake, ledger, LoadRequest(PROJECT, "t", [stage(lake, "f2", more, user=more.get)]))
    rows = lake.events().to_pyarrow_table(columns=["$insert_id", "amplitude_id"]).to_pylist()
    later = {row["$insert_id"]: row["amplitude_id"] for row in rows}
    assert (later["d"], later["e"]) == (ids["a"], ids["b"])


def _load_small_files(where: Where, stop: Any) -> int:
    lake, ledger = open_both(where)
    done = 0
    while not stop.is_set():
        load(lake, ledger, LoadRequest(PROJECT, "small", [stage(lake, f"small{done}", [f"s{done}"])]))
        done += 1
    return done


def test_small_loads_do_not_starve_a_large_one(tmp_path, monkeypatch):
    where = _local(tmp_path)
    lake, ledger = open_both(where)
    original = Snapshot.commit

    def slow(self: Snapshot, actions: Any, entry: Any) -> None:
        # As long as small loads go on, they commit between this one's snapshot and its commit.
        for _ in range(200):
            if (lake.events().transaction_version(application_id(PROJECT)) or 0) >= self.number:
                break
            time.sleep(0.02)
        original(self, actions, entry)

    monkeypatch.setattr(Snapshot, "commit", slow)
    with forks().Manager() as manager, ProcessPoolExecutor(1, mp_context=forks()) as pool:
        stop = manager.Event()
        others = pool.submit(_load_small_files, where, stop)
        try:
            while lake.events().version() < 2:
                time.sleep(0.02)
            result = load(lake, ledger, LoadRequest(PROJECT, "large", [stage(lake, "large", ["l"])]))
        finally:
            stop.set()
        small = others.result()
    # The load that was already under way when the large one asked for its turn may still come first.
    assert result.refusals in (2, 3)
    assert Counter(insert_ids(lake)) == Counter({"l": 1} | {f"s{n}": 1 for n in range(small)})

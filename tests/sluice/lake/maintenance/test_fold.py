"""Side tables: small files are put together, orphans go, and what a running load has written stays."""

from __future__ import annotations

import os
import signal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from importing import forks
from lake_staging import stage

import sluice.lake.maintenance.fold as fold_module
from sluice.lake import Lake, LoadRequest, StagedFile, load
from sluice.lake.commits import LogEntry
from sluice.lake.data_files import write_data_files
from sluice.lake.maintenance import fold_side_tables
from sluice.lake.maintenance.rewrite import data_files
from sluice.lake.schema import STAGED_REJECTS, USERS
from sluice.lake.snapshot import Snapshot
from sluice.ledger import Ledger, leases

PROJECT = 187520
TARGET = 128 << 20


class Died(BaseException):
    """The worker is gone: nothing that it would do after this happens."""


def load_users(lake: Lake, ledger: Ledger, name: str, users: dict[str, str | None]) -> None:
    file = stage(lake, name, users, user=users.get, device=name)
    load(lake, ledger, LoadRequest(PROJECT, "s", [file]))


def rows(lake: Lake, name: str) -> list[dict[str, Any]]:
    return lake.table(name).to_pyarrow_table().to_pylist()


def ids_of_events(lake: Lake) -> dict[str, int]:
    table = lake.events().to_pyarrow_table(columns=["$insert_id", "amplitude_id"])
    return dict(zip(*(column.to_pylist() for column in table.columns), strict=True))


def die_before_the_commit(lake: Lake, ledger: Ledger, name: str, users: dict[str, str | None]) -> None:
    """Leave the side rows of a load that never commits."""
    original = Snapshot.commit

    def die(*_: Any) -> None:
        raise Died

    Snapshot.commit = die  # type: ignore[method-assign]
    try:
        with pytest.raises(Died):
            load_users(lake, ledger, name, users)
    finally:
        Snapshot.commit = original  # type: ignore[method-assign]


def test_orphans_go_once_the_log_has_passed_their_number(where):
    lake, ledger = where.open()
    load_users(lake, ledger, "f1", {"a": "ann", "b": None})
    die_before_the_commit(lake, ledger, "f2", {"c": "cat", "d": None})
    # The dead load's number is still to come: nobody can tell that it will never commit.
    done = fold_side_tables(lake, ledger, TARGET)
    assert {name: table.commits for name, table in done.items() if table.commits} == {}
    load_users(lake, ledger, "f3", {"e": "ann", "f": "eve"})
    before = ids_of_events(lake)
    done = fold_side_tables(lake, ledger, TARGET)
    assert (done["users"].dropped, done["users"].files_after, done["users"].rows) == (1, 1, 2)
    assert (done["devices"].dropped, done["devices"].files_after, done["devices"].rows) == (1, 1, 1)
    assert {row["user_id"]: row["amplitude_id"] for row in rows(lake, "users")} == {
        "ann": before["a"],
        "eve": before["f"],
    }
    versions = [lake.table(name).version() for name in ("users", "devices", "rejects")]
    fold_side_tables(lake, ledger, TARGET)
    assert [lake.table(name).version() for name in ("users", "devices", "rejects")] == versions
    load_users(lake, ledger, "f4", {"g": "ann", "h": "eve", "i": "cat"})
    after = ids_of_events(lake)
    assert (after["g"], after["h"]) == (before["a"], before["f"])
    assert after["i"] not in before.values()


def test_a_file_with_nothing_but_orphans_goes_whole(local):
    lake, ledger = local.open()
    die_before_the_commit(lake, ledger, "f1", {"a": "ann"})
    load_users(lake, ledger, "f2", {"b": None})
    done = fold_side_tables(lake, ledger, TARGET)["users"]
    assert (done.files_before, done.files_after, done.dropped) == (1, 0, 1)
    assert rows(lake, "users") == []


def test_a_load_under_way_is_not_disturbed_and_its_rows_count(local, monkeypatch):
    """The rewrite comes after the load's side rows and before its commit."""
    lake, ledger = local.open()
    for n in range(2):
        load_users(lake, ledger, f"f{n}", {f"e{n}": f"user{n}"})
    original = Snapshot.commit

    def commit(self: Snapshot, actions: Any, entry: LogEntry) -> None:
        monkeypatch.setattr(Snapshot, "commit", original)
        done = fold_side_tables(*local.open(), TARGET)["users"]
        assert (done.files_before, done.files_after) == (2, 1)
        original(self, actions, entry)

    monkeypatch.setattr(Snapshot, "commit", commit)
    file = stage(lake, "late", ["new", "old"], user={"new": "nora", "old": "user1"}.get)
    assert load(lake, ledger, LoadRequest(PROJECT, "t", [file])).refusals == 0
    ids = ids_of_events(lake)
    assert ids["old"] == ids["e1"]
    assert {row["user_id"]: row["amplitude_id"] for row in rows(lake, "users")} == {
        "user0": ids["e0"],
        "user1": ids["e1"],
        "nora": ids["new"],
    }


def test_a_load_that_commits_while_a_table_is_rewritten_keeps_its_rows(local, monkeypatch):
    lake, ledger = local.open()
    for n in range(2):
        load_users(lake, ledger, f"f{n}", {f"e{n}": f"user{n}"})
    real = fold_module.replace_files

    def overtaken(*arguments: Any) -> bool:
        monkeypatch.setattr(fold_module, "replace_files", real)
        load_users(*local.open(), "meanwhile", {"new": "nora"})
        return real(*arguments)

    monkeypatch.setattr(fold_module, "replace_files", overtaken)
    assert fold_side_tables(lake, ledger, TARGET)["users"].refused == 0
    ids = ids_of_events(lake)
    assert sorted((row["user_id"], row["amplitude_id"]) for row in rows(lake, "users")) == sorted(
        [("user0", ids["e0"]), ("user1", ids["e1"]), ("nora", ids["new"])]
    )


def test_of_a_keys_rows_the_newest_stays_and_no_id_becomes_free(local):
    lake, ledger = local.open()
    given = [("ann", 7), ("ann", 7), ("ann", 8), (None, 9), (None, 9)]
    for user, amplitude_id in given:
        snapshot = Snapshot.open(lake, ledger, PROJECT)
        entry = LogEntry("load", PROJECT, snapshot.number, f"attempt-{snapshot.number}", "s", ledger.now())
        facts = {"user_id": user, "amplitude_id": amplitude_id, "n": entry.number, "attempt": entry.attempt}
        table = pa.Table.from_pylist([{"app": PROJECT, **facts}], USERS)
        snapshot.append_side_rows("users", table.to_batches(), entry)
        snapshot.commit([], entry)
    assert fold_side_tables(lake, ledger, TARGET)["users"].dropped == 1
    kept = sorted((row["user_id"] or "", row["amplitude_id"], row["n"]) for row in rows(lake, "users"))
    assert kept == [("", 9, 4), ("", 9, 5), ("ann", 7, 2), ("ann", 8, 3)]


def test_rejects_are_kept_every_one(local):
    lake, ledger = local.open()
    lake.filesystem().create_dir("_staging")
    for n in range(2):
        rejects = [{"row": row, "field": "time", "reason": "no", "raw": "x"} for row in (1, 1, 2)]
        path = f"_staging/rejects{n}.parquet"
        pq.write_table(pa.Table.from_pylist(rejects, STAGED_REJECTS), path, filesystem=lake.filesystem())
        file = StagedFile("bucket", f"f{n}", "etag", 3, 0, 3, None, path)
        load(lake, ledger, LoadRequest(PROJECT, "s", [file]))
    before = sorted(map(str, rows(lake, "rejects")))
    assert fold_side_tables(lake, ledger, TARGET)["rejects"].files_after == 1
    assert sorted(map(str, rows(lake, "rejects"))) == before
    assert len(before) == 6


def test_large_files_are_looked_at_for_orphans_and_left_alone_without(local, monkeypatch):
    lake, ledger = local.open()
    load_users(lake, ledger, "f1", {"a": "ann"})
    die_before_the_commit(lake, ledger, "f2", {"b": "bob"})
    load_users(lake, ledger, "f3", {"c": "cat"})
    done = fold_side_tables(lake, ledger, target_bytes=1)["users"]
    assert (done.files_before, done.files_after, done.dropped) == (1, 0, 1)
    assert sorted(row["user_id"] for row in rows(lake, "users")) == ["ann", "cat"]


def _fold_and_die(where: Any, when: str) -> None:
    lake, ledger = where.open()
    real = fold_module.replace_files

    def watched(*arguments: Any) -> bool:
        if when == "after":
            real(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)
        return True

    fold_module.replace_files = watched  # type: ignore[assignment]
    fold_side_tables(lake, ledger, TARGET)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_run_is_finished_by_the_next(local, when):
    lake, ledger = local.open()
    for n in range(2):
        load_users(lake, ledger, f"f{n}", {f"e{n}": f"user{n}"})
    worker = forks().Process(target=_fold_and_die, args=(local, when))
    worker.start()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL
    with ledger.begin() as connection:  # as if its lease had run out
        connection.execute(leases.leases.delete())
    fold_side_tables(lake, ledger, TARGET)
    assert len(data_files(lake.table("users"))) == 1
    assert sorted(row["user_id"] for row in rows(lake, "users")) == ["user0", "user1"]


def test_a_table_written_by_hand_without_bounds_is_left_alone(local):
    lake, ledger = local.open()
    load_users(lake, ledger, "f1", {"a": "ann"})
    table = lake.table("users")
    row = {"app": PROJECT, "user_id": "eve", "amplitude_id": 5, "n": 1, "attempt": "x"}
    batches = pa.Table.from_pylist([row], USERS).to_batches()
    for action in write_data_files(lake.table_filesystem("users"), batches, ["app"]):
        action.stats = "{}"
        table.create_write_transaction([action], mode="append", schema=USERS, partition_by=["app"])
    assert fold_side_tables(lake, ledger, TARGET)["users"].commits == 0
    assert len(rows(lake, "users")) == 2

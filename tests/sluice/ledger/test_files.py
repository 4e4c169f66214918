"""The files of import sources, on both databases: found once, claimed by one worker (decisions I-9, I-10)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from sluice.ledger import Ledger, files
from sluice.ledger.again import open_rejects
from sluice.ledger.files import NewFile, SourceFile, holder_of
from sluice.ledger.tables import files as table

T0 = datetime(2013, 1, 1, tzinfo=UTC)


def new(key: str, etag: str = '"1"', minutes: int = 0, reason: str | None = None) -> NewFile:
    return NewFile(key, etag, 10, T0 + timedelta(minutes=minutes), reason)


def add(ledger: Ledger, *found: NewFile, run: str = "r1") -> tuple[list[str], list[str]]:
    added, changed = files.add_new(ledger, "s", "b", found, "h" * 64, run)
    return [file.key for file in added], [file.key for file, _ in changed]


def waiting(ledger: Ledger) -> list[str]:
    return [file.key for file in files.waiting(ledger, "s")]


def the_file(ledger: Ledger, key: str = "k") -> SourceFile:
    return next(
        file
        for file in files.between(ledger, "s", (T0, ""), (T0 + timedelta(days=1), "z"))
        if file.key == key
    )


def set_file(ledger: Ledger, key: str, **facts: Any) -> None:
    with ledger.begin() as connection:
        connection.execute(update(table).where(table.c.key == key).values(**facts))


def staging(run: str = "r1") -> dict[str, Any]:
    return {"staged": {"run": run, "rows_read": 3}, "report": {"run": run}, "took": 1.5}


def test_a_file_is_new_once(ledger: Ledger) -> None:
    assert add(ledger, new("a"), new("b")) == (["a", "b"], [])
    assert add(ledger, new("b"), new("c")) == (["c"], [])
    assert waiting(ledger) == ["a", "b", "c"]


def test_sources_do_not_share_files(ledger: Ledger) -> None:
    add(ledger, new("a"))
    added, _ = files.add_new(ledger, "other", "b", [new("a")], "h", "r1")
    assert [file.key for file in added] == ["a"]


def test_a_changed_file_is_told_and_stays_as_it_was(ledger: Ledger) -> None:
    add(ledger, new("a", '"1"'))
    assert files.add_new(ledger, "s", "b", [new("a", '"2"')], "other", "r2") == (
        [],
        [(new("a", '"2"'), '"1"')],
    )
    [file] = files.waiting(ledger, "s")
    assert (file.etag, file.converter_hash) == ('"1"', "h" * 64)


def test_a_refused_file_fails_at_once_and_belongs_to_its_run(ledger: Ledger) -> None:
    add(ledger, new("small", reason="too small"), new("fine"))
    assert waiting(ledger) == ["fine"]
    [file] = files.of_run(ledger, "s", "r1")
    assert (file.key, file.state, file.reason) == ("small", "failed", "too small")


def test_files_wait_in_the_order_of_last_modified_then_key(ledger: Ledger) -> None:
    add(ledger, new("a", minutes=2), new("z", minutes=1), new("m", minutes=1), new("b", minutes=3))
    assert waiting(ledger) == ["m", "z", "a", "b"]
    middle = files.between(ledger, "s", (T0 + timedelta(minutes=1), "z"), (T0 + timedelta(minutes=2), "a"))
    assert [file.key for file in middle] == ["z", "a"]


def test_one_worker_gets_a_file(ledger: Ledger) -> None:
    add(ledger, new("k"))
    file = the_file(ledger)
    assert files.claim(ledger, "s", file, "r1#0", 60) is not None
    assert files.claim(ledger, "s", file, "r1#1", 60) is None
    assert waiting(ledger) == []


def test_a_worker_that_starts_again_gets_its_file_back(ledger: Ledger) -> None:
    add(ledger, new("k"))
    files.claim(ledger, "s", the_file(ledger), "r1#0", 60)
    claimed = files.claim(ledger, "s", the_file(ledger), "r1#0", 60)
    assert claimed is not None
    assert claimed.state == "processing"


def test_a_claim_that_ran_out_is_free(ledger: Ledger) -> None:
    add(ledger, new("k"))
    files.claim(ledger, "s", the_file(ledger), "r1#0", -1)
    assert waiting(ledger) == ["k"]
    assert files.claim(ledger, "s", the_file(ledger), "r2#0", 60) is not None
    assert not files.keep(ledger, "s", the_file(ledger), "r1#0", 60)
    assert not files.stage(ledger, "s", the_file(ledger), "r1#0", 60, **staging())
    assert files.keep(ledger, "s", the_file(ledger), "r2#0", 60)


def test_a_finished_file_is_not_claimed_again(ledger: Ledger) -> None:
    add(ledger, new("k"))
    file = the_file(ledger)
    for state in ("done", "failed"):
        set_file(ledger, "k", state=state)
        assert files.claim(ledger, "s", file, "r1#0", 60) is None


def test_a_run_that_starts_again_takes_its_files_back_and_no_others(ledger: Ledger) -> None:
    add(ledger, new("mine"), new("theirs"))
    files.claim(ledger, "s", the_file(ledger, "mine"), holder_of("r_1", 0), 60)
    # Not a run of the same name: an underscore is no wildcard here.
    files.claim(ledger, "s", the_file(ledger, "theirs"), holder_of("rx1", 0), 60)
    files.take_back(ledger, "s", "r_1")
    assert waiting(ledger) == ["mine"]


def test_staged_files_are_the_runs_own_until_they_are_finished(ledger: Ledger) -> None:
    add(ledger, new("b", minutes=1), new("a", minutes=2), new("c", minutes=3))
    for key, run in (("a", "r1"), ("b", "r1"), ("c", "r2")):
        file = the_file(ledger, key)
        files.claim(ledger, "s", file, holder_of(run, 0), 60)
        assert files.stage(ledger, "s", file, holder_of(run, 0), 60, **staging(run))
    assert [file.key for file in files.staged_by(ledger, "s", "r1")] == ["b", "a"]
    set_file(ledger, "b", state="done", claimed_by=None)
    assert [file.key for file in files.staged_by(ledger, "s", "r1")] == ["a"]
    assert [file.key for file in files.of_run(ledger, "s", "r1")] == ["b", "a"]
    files.forget_staging(ledger, "s", "r1")
    assert {file.key: bool(file.staged) for file in files.of_run(ledger, "s", "r1")} == {
        "b": False,
        "a": True,
    }


def test_two_workers_never_take_one_file(ledger: Ledger) -> None:
    keys = [f"k{number:02}" for number in range(20)]
    add(ledger, *(new(key) for key in keys))
    found = list(files.waiting(ledger, "s"))

    def work(holder: str) -> list[str]:
        return [file.key for file in found if files.claim(ledger, "s", file, holder, 60)]

    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(work, ["r1#0", "r1#1", "r2#0", "r2#1"]))
    assert sorted(key for part in taken for key in part) == keys


def test_two_scans_at_once_add_each_file_once(ledger: Ledger) -> None:
    page = [new(f"k{number:03}") for number in range(100)]
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda _: add(ledger, *page)[0], range(4)))
    assert sorted(key for part in parts for key in part) == [file.key for file in page]


@pytest.mark.parametrize("key", ["a#b%20 c", "ü/日本.csv", "k" * 1024])
def test_any_key_is_kept_as_it_is(ledger: Ledger, key: str) -> None:
    assert add(ledger, new(key)) == ([key], [])
    [file] = files.waiting(ledger, "s")
    claimed = files.claim(ledger, "s", file, "r1#0", 60)
    assert claimed is not None
    assert claimed.key == key


def test_a_source_s_files_are_summed_up_by_state(ledger: Ledger) -> None:
    add(ledger, new("a"), new("b", minutes=1), new("c", minutes=2), new("d", reason="too small"))
    for key, rows in (("a", 7), ("b", 5)):
        set_file(ledger, key, state="done", rows_read=rows, loaded=rows - 1, rejected=1, finished_at=T0)
    files.add_new(ledger, "other", "b", [new("e")], "h", "r1")
    done, failed, found = sorted(files.summaries(ledger, "s"), key=lambda one: one.state.replace("di", "z"))
    assert (done.state, done.files, done.rows_read, done.loaded, done.rejected) == ("done", 2, 12, 10, 2)
    assert done.newest == T0
    assert (failed.state, failed.files, failed.rows_read) == ("failed", 1, 0)
    assert (found.state, found.files, found.newest) == ("discovered", 1, None)
    assert [file.key for file in files.of_source(ledger, "s")] == ["a", "d", "b", "c"]
    assert [file.key for file in files.of_source(ledger, "s", "done")] == ["a", "b"]
    assert files.find(ledger, "s", "b", "e") is None


def test_a_failed_file_is_retried_as_if_it_was_just_found(ledger: Ledger) -> None:
    add(ledger, new("k"))
    facts = {"rows_read": 3, "loaded": 0, "duplicate": 0, "ignored": 0, "rejected": 3, "seconds": 1.5}
    past = {"claimed_by": "r1#0", "claimed_until": T0, "finished_at": T0, "staged": {"run": "r1"}}
    set_file(ledger, "k", state="failed", reason="bad", load_number=4, report={"run": "r1"}, **facts, **past)
    assert [(one.held_in, one.key, one.load_number) for one in open_rejects(ledger, "s")] == [("b", "k", 4)]
    assert files.retry(ledger, "s", "b", new("k", '"2"', minutes=9), "n" * 64)
    with ledger.begin() as connection:
        row = connection.execute(table.select().where(table.c.key == "k")).one()._mapping
    kept = {
        "source",
        "bucket",
        "key",
        "etag",
        "size",
        "last_modified",
        "converter_hash",
        "state",
        "discovered_at",
    }
    assert {name for name, value in row.items() if value is not None} == kept
    assert (row["state"], row["etag"], row["converter_hash"]) == ("discovered", '"2"', "n" * 64)
    assert row["last_modified"] == T0 + timedelta(minutes=9)
    assert waiting(ledger) == ["k"]
    assert open_rejects(ledger, "s") == []


@pytest.mark.parametrize("state", ["discovered", "processing", "done"])
def test_a_file_that_has_not_failed_is_not_retried(ledger: Ledger, state: str) -> None:
    add(ledger, new("k"))
    set_file(ledger, "k", state=state, load_number=4)
    assert not files.retry(ledger, "s", "b", new("k", '"2"'), "n")
    assert not files.retry(ledger, "s", "b", new("unknown"), "n")
    found = files.find(ledger, "s", "b", "k")
    assert found is not None
    assert (found.state, found.etag) == (state, '"1"')

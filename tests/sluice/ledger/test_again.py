"""Rejected rows that are imported again, on both databases: which are open, and each taken once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import update

from sluice.ledger import Ledger, files
from sluice.ledger.again import Rejects, held_in, open_rejects, take, taken_bucket
from sluice.ledger.files import NewFile, origin
from sluice.ledger.tables import files as table

T0 = datetime(2013, 1, 1, tzinfo=UTC)
BUCKET = "b" * 63


def add(ledger: Ledger, key: str, **facts: Any) -> None:
    files.add_new(ledger, "s", BUCKET, [NewFile(key, '"1"', 10, T0)], "h" * 64, "r1")
    finish(ledger, BUCKET, key, **facts)


def finish(ledger: Ledger, bucket: str, key: str, state: str = "done", **facts: Any) -> None:
    with ledger.begin() as connection:
        row = update(table).where(table.c.bucket == bucket, table.c.key == key)
        connection.execute(row.values(state=state, **facts))


def the_open(ledger: Ledger) -> dict[str, Rejects]:
    return {one.key: one for one in open_rejects(ledger, "s")}


def test_a_bucket_and_the_number_of_a_take_are_told_apart() -> None:
    assert origin("bucket") == ("bucket", 0)
    assert origin(taken_bucket("bucket", 12)) == ("bucket", 12)


def test_open_are_the_rejects_of_what_is_done_or_failed_and_of_nothing_else(ledger: Ledger) -> None:
    add(ledger, "bad", load_number=3, rejected=2, report={"columns": ["x", "y"]})
    add(ledger, "good", load_number=3, rejected=0)
    add(ledger, "failed", state="failed", load_number=4, rejected=5)
    add(ledger, "unread", state="failed", rejected=None)
    add(ledger, "hopeless", state="given_up", load_number=4, rejected=5)
    found = the_open(ledger)
    assert sorted(found) == ["bad", "failed"]
    assert found["bad"] == Rejects(BUCKET, "bad", BUCKET, 3, 2, "done", False, 0, ("x", "y"))
    assert (found["failed"].state, found["failed"].columns) == ("failed", None)
    assert open_rejects(ledger, "other") == []


def test_rows_are_taken_as_a_file_of_their_own_and_what_is_still_bad_stays_open(ledger: Ledger) -> None:
    add(ledger, "bad", load_number=3, rejected=2)
    assert take(ledger, "s", the_open(ledger)["bad"], "n" * 64)
    [waiting] = files.waiting(ledger, "s")
    assert (waiting.bucket, waiting.key, waiting.converter_hash) == (f"{BUCKET}#1", "bad", "n" * 64)
    assert waiting.name == "bad (its rejected rows, 1)"
    assert held_in(waiting) == (BUCKET, 3)
    # Until they are loaded, the rows are still where they were.
    one = the_open(ledger)["bad"]
    assert (one.held_in, one.load_number, one.waits, one.taken) == (BUCKET, 3, True, 1)
    finish(ledger, f"{BUCKET}#1", "bad", load_number=7, rejected=1)
    one = the_open(ledger)["bad"]
    assert (one.held_in, one.load_number, one.rows, one.waits, one.taken) == (f"{BUCKET}#1", 7, 1, False, 1)
    assert take(ledger, "s", one, "n" * 64)
    finish(ledger, f"{BUCKET}#2", "bad", load_number=9, rejected=0)
    assert the_open(ledger) == {}


def test_four_people_take_the_same_rows_once(ledger: Ledger) -> None:
    add(ledger, "bad", load_number=3, rejected=2)
    one = the_open(ledger)["bad"]
    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda _: take(ledger, "s", one, "n" * 64), range(4)))
    assert sorted(taken) == [False, False, False, True]
    assert len(list(files.waiting(ledger, "s"))) == 1

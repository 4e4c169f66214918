"""Where a destination stands, told from the ledger alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from exporting import config_of
from fresh import fresh_ledger
from gates import held
from sqlalchemy import delete, insert

from sluice.config import Config
from sluice.errors import SluiceError
from sluice.exports.ranges import HOUR, HourRange
from sluice.exports.status import status_of
from sluice.ledger import Ledger, exported
from sluice.ledger.export_runs import fail_run, finish_run, start_run
from sluice.ledger.exported import HourId
from sluice.ledger.registry import record_destination
from sluice.ledger.tables import hours, projects
from sluice.ledger.verifications import Verification, record_verification

PROJECT = 187520
FIRST = datetime(2013, 1, 1, tzinfo=UTC)
EXPORT = config_of("bucket", id="flights", start=FIRST)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """100 closed hours with two events each, of a destination that has run."""
    ledger = fresh_ledger(tmp_path / "ledger.db")
    with ledger.begin() as connection:
        connection.execute(
            insert(projects).values(project=PROJECT, number=1, closed_until=FIRST + 100 * HOUR)
        )
        connection.execute(
            insert(hours),
            [
                {"project": PROJECT, "hour": FIRST + n * HOUR, "rows": 2, "digest": f"{n:032x}"}
                for n in range(100)
            ],
        )
    record_destination(ledger, EXPORT.id, EXPORT.as_json(), EXPORT.hash, EXPORT.start)
    return ledger


def publish(ledger, numbers, run="run", rows=2):
    for n in numbers:
        claim = exported.claim(ledger, HourId(EXPORT.id, PROJECT, FIRST + n * HOUR), run, 60)
        facts = {"content_rows": 2, "content_digest": f"{n:032x}", "rows": rows, "files": 1, "bytes": 50}
        exported.publish(ledger, claim, facts, [])


def status(ledger, *exports, id=None):
    config = Config(Path(), exports=exports or (EXPORT,))
    found = list(status_of(config, ledger, id))
    return found[0] if len(found) == 1 else found


def spans(todos):
    return [((todo.hours.first - FIRST) // HOUR, (todo.hours.last - FIRST) // HOUR) for todo in todos]


def test_gaps_are_told_from_what_the_next_run_takes_up(ledger):
    publish(ledger, [*range(10), *range(20, 76), 80])
    (project,) = status(ledger).projects
    assert project.newest_closed == FIRST + 99 * HOUR
    assert project.newest_exported == FIRST + 80 * HOUR
    assert spans(project.gaps) == [(10, 19)]
    assert spans(project.waiting) == [(76, 79), (81, 99)]
    assert project.gaps[0].command == (
        "airflow dags trigger export_backfill --conf"
        """ '{"destination": "flights", "first": "2013-01-01T10", "last": "2013-01-01T19"}'"""
    )
    assert {todo.command for todo in project.waiting} == {""}


def test_what_a_gate_holds_is_nothing_that_a_run_or_a_backfill_takes_up(ledger):
    publish(ledger, [*range(10), *range(12, 99)])
    for n in (10, 99):
        held(ledger, name=EXPORT.id, unit=f"hour {FIRST + n * HOUR:%Y-%m-%dT%H} of project {PROJECT}")
    held(ledger, name="another", unit=f"hour {FIRST + 11 * HOUR:%Y-%m-%dT%H} of project {PROJECT}")
    (project,) = status(ledger).projects
    assert (spans(project.gaps), spans(project.waiting)) == ([(11, 11)], [])


def test_a_disabled_destination_has_only_gaps(ledger):
    publish(ledger, range(99))
    found = status(ledger, EXPORT.model_copy(update={"enabled": False}))
    assert found.state == "disabled"
    assert spans(found.projects[0].gaps) == [(99, 99)]
    assert found.projects[0].waiting == ()


def test_hours_that_were_changed_since_are_listed(ledger):
    publish(ledger, range(100))
    with ledger.begin() as connection:
        connection.execute(hours.update().where(hours.c.hour == FIRST + 7 * HOUR).values(rows=3))
        connection.execute(delete(hours).where(hours.c.hour == FIRST + 8 * HOUR))
    (project,) = status(ledger).projects
    assert spans(project.changed) == [(7, 8)]
    assert project.changed[0].hours == HourRange(FIRST + 7 * HOUR, FIRST + 8 * HOUR)
    assert (project.gaps, project.waiting) == ((), ())


def test_the_newest_run_decides_whether_it_waits_or_fails(ledger):
    assert status(ledger).state == "enabled"
    start_run(ledger, EXPORT.id, "one", "scheduled", FIRST, FIRST)
    fail_run(ledger, EXPORT.id, "one", "the missing permission is s3:PutObject", "access")
    found = status(ledger)
    assert (found.state, found.reason) == ("waiting for access", "the missing permission is s3:PutObject")
    # Tried again, it has not shown yet that the access is there.
    start_run(ledger, EXPORT.id, "one", "scheduled", FIRST, FIRST)
    assert status(ledger).state == "waiting for access"
    fail_run(ledger, EXPORT.id, "one", "disk full", "other")
    assert status(ledger).state == "failing"
    start_run(ledger, EXPORT.id, "two", "backfill", FIRST, FIRST + 23 * HOUR)
    publish(ledger, [0, 1, 2], "two")
    finish_run(ledger, EXPORT.id, "two", "1 hour left to another writer")
    found = status(ledger)
    assert (found.state, found.reason) == ("enabled", "")
    newest, older = found.runs
    assert (newest.state, newest.hours, newest.events, newest.files, newest.bytes) == (
        "success",
        3,
        6,
        3,
        150,
    )
    assert newest.reason == "1 hour left to another writer"
    assert newest.last_hour == FIRST + 23 * HOUR
    assert (older.state, older.reason, older.problem) == ("failed", "disk full", "other")
    assert older.completed_at is not None


def test_finishing_twice_counts_once_and_a_long_reason_is_cut(ledger):
    start_run(ledger, EXPORT.id, "run", "scheduled", FIRST, FIRST)
    publish(ledger, [0])
    assert [finish_run(ledger, EXPORT.id, "run").events for _ in range(2)] == [2, 2]
    fail_run(ledger, EXPORT.id, "run", "x" * 10_000, "other")
    assert len(status(ledger).runs[0].reason) == 2_000


def test_the_last_verification_is_shown(ledger):
    facts = Verification(FIRST, FIRST + HOUR, 2, 1, [], 4, 3, 1, 0, 0, 0)
    record_verification(ledger, EXPORT.id, facts)
    record_verification(ledger, EXPORT.id, replace(facts, missing=0, differing=0))
    at, newest = status(ledger).verification
    assert (newest.missing, newest.differing) == (0, 0)
    assert abs(at - ledger.now()) < timedelta(minutes=1)


def test_a_destination_without_its_file_is_retired_and_an_unknown_one_refused(ledger):
    other = config_of("bucket", id="other")
    first, second = status(ledger, other)
    assert (first.destination, first.state) == ("other", "enabled")
    assert (second.destination, second.state, second.projects) == ("flights", "retired", ())
    assert status(ledger, other, id="flights").state == "retired"
    with pytest.raises(SluiceError, match="no destination nothing; known are: flights, other"):
        status(ledger, other, id="nothing")

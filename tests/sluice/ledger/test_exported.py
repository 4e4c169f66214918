"""Claims of hours and what is recorded of them, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from sluice.ledger import exported
from sluice.ledger.exported import HourHeld, HourId, PublishedFile
from sluice.ledger.tables import exported_hours

HOUR = datetime(2013, 1, 2, 12, tzinfo=UTC)
ID = HourId("flights", 187520, HOUR)

FACTS = {
    "content_rows": 3,
    "content_digest": "d" * 32,
    "lake_version": 7,
    "filter_hash": "f" * 64,
    "config_hash": "c" * 64,
    "rows": 3,
    "bytes": 100,
    "files": 1,
    "seconds": 0.5,
    "manifest_hash": "m" * 64,
    "marker_etag": '"e-1"',
}


def file(partition=0):
    return PublishedFile(
        key=f"k#{partition}",
        partition=partition,
        rows=3,
        bytes=100,
        raw_bytes=900,
        sha256="a" * 64,
        etag='"x"',
        first_upload_time=HOUR,
        last_upload_time=HOUR + timedelta(minutes=1),
    )


def expire(ledger):
    with ledger.begin() as connection:
        connection.execute(update(exported_hours).values(claimed_until=datetime(2000, 1, 1, tzinfo=UTC)))


def test_a_claim_keeps_others_out_and_gives_its_own_run_a_new_token(ledger):
    first = exported.claim(ledger, ID, "one", 60)
    with pytest.raises(
        HourHeld, match=r"hour 2013-01-02 12:00 UTC of project 187520 for flights: the run one"
    ):
        exported.claim(ledger, ID, "two", 60)
    second = exported.claim(ledger, ID, "one", 60)
    assert second.token == first.token + 1
    with pytest.raises(HourHeld):
        exported.renew(ledger, first, 60)
    exported.renew(ledger, second, 60)


def test_claims_of_other_hours_projects_and_destinations_are_apart(ledger):
    for id in (
        ID,
        HourId("flights", 187520, HOUR + timedelta(hours=1)),
        HourId("flights", 5, HOUR),
        HourId("other", 187520, HOUR),
        HourId("flights", 187520, HOUR, "merged_ids"),
    ):
        assert exported.claim(ledger, id, f"run of {id}", 60).token == 1


def test_a_claim_whose_lease_is_over_is_taken_over_and_its_writer_fenced_out(ledger):
    stale = exported.claim(ledger, ID, "one", 60)
    exported.stage(ledger, stale, {"run": "one"})
    expire(ledger)
    # Nobody came: it may go on.
    exported.renew(ledger, stale, 60)
    expire(ledger)
    exported.claim(ledger, ID, "two", 60)
    for write in (
        lambda: exported.renew(ledger, stale, 60),
        lambda: exported.stage(ledger, stale, None),
        lambda: exported.begin_publication(ledger, stale),
        lambda: exported.publish(ledger, stale, FACTS, [file()]),
    ):
        with pytest.raises(HourHeld, match="the run two has claimed it"):
            write()
    exported.release(ledger, stale)
    with pytest.raises(HourHeld):
        exported.claim(ledger, ID, "three", 60)
    assert exported.published_files(ledger, ID) == []


def test_a_released_hour_is_free(ledger):
    exported.release(ledger, exported.claim(ledger, ID, "one", 60))
    assert exported.claim(ledger, ID, "two", 60).token == 2


def test_publishing_records_the_hour_and_its_files_and_frees_it(ledger):
    claim = exported.claim(ledger, ID, "one", 60)
    assert exported.record(ledger, ID).state == "claimed"
    exported.stage(ledger, claim, {"run": "one", "manifest": "m"})
    assert exported.record(ledger, ID).state == "staged"
    assert exported.staged_by(ledger, "flights", "one") == [ID]
    assert exported.staged_by(ledger, "flights", "two") == []
    exported.begin_publication(ledger, claim)
    exported.publish(ledger, claim, FACTS, [file(1), file(0)])
    record = exported.record(ledger, ID)
    assert record.published
    assert {name: getattr(record, name) for name in FACTS} == FACTS
    assert (record.published_run, record.staged, record.claimed_until) == ("one", None, None)
    assert abs(record.published_at - ledger.now()) < timedelta(minutes=1)
    assert exported.published_files(ledger, ID) == [file(0), file(1)]
    assert exported.staged_by(ledger, "flights", "one") == []


def test_a_published_hour_stays_published_until_something_is_taken_off(ledger):
    exported.publish(ledger, exported.claim(ledger, ID, "one", 60), FACTS, [file()])
    claim = exported.claim(ledger, ID, "two", 60)
    assert exported.record(ledger, ID).published
    exported.stage(ledger, claim, {"run": "two"})
    assert exported.record(ledger, ID).published
    exported.begin_publication(ledger, claim)
    assert exported.record(ledger, ID).state == "unpublished"
    exported.stage(ledger, claim, None)
    assert exported.record(ledger, ID).state == "unpublished"
    exported.publish(ledger, claim, FACTS | {"rows": 2, "files": 0}, [])
    assert exported.record(ledger, ID).rows == 2
    assert exported.published_files(ledger, ID) == []


def test_unpublishing_stops_the_writer_that_would_vouch_for_the_hour(ledger):
    claim = exported.claim(ledger, ID, "one", 60)
    exported.unpublish(ledger, ID)
    assert exported.record(ledger, ID).state == "unpublished"
    with pytest.raises(HourHeld):
        exported.publish(ledger, claim, FACTS, [file()])
    exported.claim(ledger, ID, "two", 60)


def test_records_of_a_range_include_both_ends(ledger):
    for n in range(5):
        exported.claim(ledger, HourId("flights", 187520, HOUR + timedelta(hours=n)), "one", 60)
    found = exported.records(ledger, "flights", 187520, HOUR + timedelta(hours=1), HOUR + timedelta(hours=3))
    assert sorted(found) == [HOUR + timedelta(hours=n) for n in (1, 2, 3)]
    assert exported.records(ledger, "other", 187520, HOUR, HOUR) == {}


def test_many_hours_are_claimed_and_given_back_at_once(ledger):
    hours = [HourId("flights", 187520, HOUR + n * timedelta(hours=1)) for n in range(3)]
    exported.claim(ledger, hours[1], "other", 60)
    claims = exported.claim_all(ledger, reversed(hours), "mine", 60)
    assert [claim.id for claim in claims] == [hours[0], hours[2]]
    exported.release(ledger, *claims)
    assert exported.claim(ledger, hours[0], "third", 60).token == 2


def test_a_publication_begins_in_one_statement_and_loses_nothing(ledger):
    claim = exported.claim(ledger, ID, "one", 60)
    exported.begin_staged_publication(ledger, claim, {"run": "one"}, 60)
    assert exported.record(ledger, ID).state == "staged"
    assert exported.staged_by(ledger, "flights", "one") == [ID]
    exported.publish(ledger, claim, FACTS, [file(1), file(0)])
    assert [
        one.partition for one in exported.published_files_between(ledger, "flights", 187520, HOUR, HOUR)[HOUR]
    ] == [0, 1]
    again = exported.claim(ledger, ID, "two", 60)
    exported.begin_staged_publication(ledger, again, {"run": "two"}, 60)
    assert exported.record(ledger, ID).state == "unpublished"
    with pytest.raises(HourHeld):
        exported.begin_staged_publication(ledger, claim, {"run": "one"}, 60)


def test_pooled_connections_are_the_same_ledger_for_threads(ledger):
    def claim(n):
        return exported.claim(pooled, HourId("flights", n, HOUR), "run", 60).token

    with ledger.pooled(2) as pooled, ThreadPoolExecutor(4) as executor:
        assert list(executor.map(claim, range(1, 9))) == [1] * 8
    assert all(exported.record(ledger, HourId("flights", n, HOUR)).run == "run" for n in range(1, 9))

from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, update

from sluice.ledger.registry import (
    PassedTest,
    SourceMoved,
    passed_test,
    record_destination,
    record_passed,
    record_source,
    recorded_destinations,
    recorded_sources,
)
from sluice.ledger.tables import files

FIXED = frozenset({"bucket", "prefix"})
HOUR = datetime(2013, 1, 1, 5, tzinfo=UTC)


def load_a_file(ledger, source, state="done"):
    with ledger.begin() as connection:
        connection.execute(
            insert(files).values(
                source=source,
                bucket="b",
                key="k",
                etag="e",
                size=1,
                last_modified=HOUR,
                converter_hash="0" * 64,
                state=state,
                discovered_at=HOUR,
                finished_at=HOUR if state == "done" else None,
            )
        )


def test_a_destination_without_a_start_begins_at_midnight_of_its_first_day_for_good(ledger):
    today = ledger.now().replace(hour=0, minute=0, second=0, microsecond=0)
    first = record_destination(ledger, "flights", {"bucket": "a"}, "h1", None)
    assert today <= first.start <= ledger.now()
    assert (first.start.hour, first.start.minute) == (0, 0)
    again = record_destination(ledger, "flights", {"bucket": "b"}, "h2", None)
    assert (again.start, again.first_seen_at) == (first.start, first.first_seen_at)
    assert recorded_destinations(ledger) == {"flights": again}
    assert (again.config, again.config_hash) == ({"bucket": "b"}, "h2")


def test_a_configured_start_counts_whenever_it_is_set(ledger):
    record_destination(ledger, "flights", {}, "h", None)
    assert record_destination(ledger, "flights", {}, "h", HOUR).start == HOUR


def test_a_source_may_move_until_it_has_imported(ledger):
    record_source(ledger, "flights", {"bucket": "a", "prefix": "", "name": "A"}, "h1", FIXED)
    load_a_file(ledger, "flights", state="failed")
    moved = record_source(ledger, "flights", {"bucket": "b", "prefix": "", "name": "A"}, "h2", FIXED)
    assert moved.config["bucket"] == "b"
    with ledger.begin() as connection:
        connection.execute(update(files).values(state="done", finished_at=HOUR))
    with pytest.raises(SourceMoved, match=r"since 2013-01-01.*bucket was 'b' and is 'c'.*make a new source"):
        record_source(ledger, "flights", {"bucket": "c", "prefix": "", "name": "A"}, "h3", FIXED)
    assert recorded_sources(ledger)["flights"].config_hash == "h2"


def test_a_source_that_has_imported_may_change_its_name(ledger):
    record_source(ledger, "flights", {"bucket": "a", "name": "A"}, "h1", FIXED)
    load_a_file(ledger, "flights")
    renamed = record_source(ledger, "flights", {"bucket": "a", "name": "B"}, "h1", FIXED)
    assert renamed.config == {"bucket": "a", "name": "B"}
    assert renamed.first_import_at == HOUR
    assert recorded_sources(ledger) == {"flights": renamed}


def test_the_files_of_one_source_do_not_fix_another(ledger):
    record_source(ledger, "other", {"bucket": "a"}, "h1", FIXED)
    load_a_file(ledger, "flights")
    assert record_source(ledger, "other", {"bucket": "b"}, "h2", FIXED).first_import_at is None


def test_the_converter_that_passed_last_is_remembered(ledger):
    assert passed_test(ledger, "flights") is None
    first = record_passed(ledger, "flights", {"bucket": "a"}, "h1", converter_hash="1" * 64, keys=["a", "b"])
    assert passed_test(ledger, "flights") == first == PassedTest("1" * 64, first.at, ("a", "b"))
    # A run records its own configuration, and takes no test away.
    record_source(ledger, "flights", {"bucket": "a", "prefix": "x"}, "h2", FIXED)
    assert passed_test(ledger, "flights") == first
    second = record_passed(ledger, "flights", {"bucket": "z"}, "h3", converter_hash="2" * 64, keys=["c"])
    assert passed_test(ledger, "flights") == second
    # A test is no run: what ran last is still the record.
    assert recorded_sources(ledger)["flights"].config == {"bucket": "a", "prefix": "x"}

"""What past exports say about coming ones."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from sluice.exports.history import Experience, experience, exported_months
from sluice.ledger.tables import exported_files, exported_hours

FIRST = datetime(2013, 1, 31, 22, tzinfo=UTC)


def record(ledger, *facts):
    """Record hours as published: events in the lake, events and bytes exported, seconds."""
    with ledger.begin() as connection:
        for n, (content, rows, size, seconds) in enumerate(facts):
            hour = {
                "destination": "d",
                "project": 1,
                "data_set": "events",
                "hour": FIRST + n * timedelta(hours=1),
            }
            connection.execute(
                insert(exported_hours).values(
                    **hour,
                    state="published",
                    token=1,
                    content_rows=content,
                    rows=rows,
                    bytes=size,
                    files=1,
                    seconds=seconds,
                )
            )
            connection.execute(
                insert(exported_files).values(
                    **hour,
                    key=f"k{n}",
                    partition=0,
                    rows=rows,
                    bytes=size,
                    raw_bytes=size * 8,
                    sha256="",
                    etag="",
                )
            )


def test_without_exports_something_is_assumed(ledger):
    assert experience(ledger, "d") == Experience()
    assert exported_months(ledger, "d") == []


def test_bytes_and_seconds_follow_what_was_exported(ledger):
    record(ledger, (1_000, 500, 50_000, 0.3), (3_000, 1_500, 150_000, 0.7), (0, 0, 0, 0.1))
    found = experience(ledger, "d")
    assert found.hours == 3
    assert found.bytes(4_000) == 200_000
    assert found.seconds(1, 0) == pytest.approx(0.1)
    assert found.seconds(10, 10_000) == pytest.approx(3.0)
    assert [found.files(events, 1 << 20) for events in (0, 1, 10_000)] == [0, 1, 4]


@pytest.mark.parametrize(
    ("facts", "per_hour", "per_event"),
    [
        pytest.param([(100, 100, 1, 0.2), (100, 100, 1, 0.4)], 0.3, 0.0, id="all-alike"),
        pytest.param([(100, 100, 1, 0.4), (300, 300, 1, 0.2)], 0.3, 0.0, id="less-for-more"),
        pytest.param([(100, 100, 1, 0.1), (200, 200, 1, 0.4)], 0.0, 0.5 / 300, id="through-nothing"),
    ],
)
def test_no_estimate_is_negative(ledger, facts, per_hour, per_event):
    record(ledger, *facts)
    found = experience(ledger, "d")
    assert found.seconds_per_hour == pytest.approx(per_hour)
    assert found.seconds_per_event == pytest.approx(per_event)


def test_months_are_those_of_the_data(ledger):
    record(ledger, (10, 10, 1_000, 0.5), (10, 8, 900, 0.5), (5, 5, 500, 0.25))
    january, february = exported_months(ledger, "d")
    assert (january.month, january.hours, january.events, january.bytes) == ("2013-01", 2, 18, 1_900)
    assert (february.month, february.raw_bytes, february.bytes_per_event) == ("2013-02", 4_000, 100.0)
    assert january.seconds == 1.0

"""How a backfill's hours are cut into chunks."""

from datetime import UTC, datetime, timedelta

import pytest

from sluice.exports.backfill import BackfillPlan, HourPlan
from sluice.exports.chunks import CHUNK_BYTES, MAX_CHUNKS, Chunk, chunks_of
from sluice.exports.history import Experience
from sluice.exports.plan import HourState
from sluice.exports.ranges import HourRange

FIRST = datetime(2013, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def plan_of(
    hours,
    *,
    every=HOUR,
    projects=(1,),
    events=10,
    state=lambda n: HourState.MISSING,
    bytes_per_event=100.0,
):
    return BackfillPlan(
        destination="d",
        range=HourRange(FIRST, FIRST + (hours - 1) * every),
        hours=tuple(
            HourPlan(project, FIRST + n * every, state(n), events)
            for project in projects
            for n in range(hours)
        ),
        notes=(),
        experience=Experience(bytes_per_event=bytes_per_event),
        partition_bytes=1 << 29,
    )


def covered(chunks):
    return sum(chunk.hours for chunk in chunks)


def test_a_chunk_spans_at_most_31_days():
    chunks = chunks_of(plan_of(24 * 100))
    assert [chunk.hours for chunk in chunks] == [744, 744, 744, 168]
    assert all(chunk.last - chunk.first < timedelta(days=31) for chunk in chunks)
    assert chunks[1].first == chunks[0].last + HOUR


def test_a_chunk_has_about_a_gigabyte():
    chunks = chunks_of(plan_of(100, events=1_000_000))
    assert [chunk.bytes for chunk in chunks] == [CHUNK_BYTES] * 10
    (alone, *_) = chunks_of(plan_of(3, events=50_000_000))
    assert (alone.hours, alone.bytes) == (1, 5 * CHUNK_BYTES)


def test_unchanged_hours_are_not_mapped():
    days = plan_of(24 * 93, state=lambda n: HourState.MISSING if n // 744 == 1 else HourState.UNCHANGED)
    (chunk,) = chunks_of(days)
    assert (chunk.first, chunk.hours) == (FIRST + 744 * HOUR, 744)
    assert chunks_of(plan_of(48, state=lambda n: HourState.UNCHANGED)) == []
    (chunk,) = chunks_of(
        plan_of(48, state=lambda n: HourState.MISSING if n in (3, 40) else HourState.OUTSIDE)
    )
    assert (chunk.hours, chunk.last - chunk.first) == (2, 37 * HOUR)


@pytest.mark.parametrize(
    ("events", "projects"),
    [pytest.param(10_000_000, (1,), id="bytes"), pytest.param(1, range(1, 12), id="projects")],
)
def test_more_than_a_thousand_chunks_become_larger_ones(events, projects):
    """At 1 GB an hour, and with so many projects that the months of ten years alone are too many."""
    if events > 1:
        found = plan_of(5_000, events=events, projects=projects)
    else:
        # One hour of each day: what makes the chunks is how long they span.
        found = plan_of(3_653, every=24 * HOUR, events=events, projects=projects)
    chunks = chunks_of(found)
    assert MAX_CHUNKS / 2 < len(chunks) <= MAX_CHUNKS
    assert covered(chunks) == len(found.hours)


def test_the_order_is_that_of_the_work():
    found = plan_of(24 * 70, projects=(1, 2))
    oldest, newest = chunks_of(found), chunks_of(found, "newest first")
    assert [(chunk.first, chunk.project) for chunk in oldest] == sorted(
        (chunk.first, chunk.project) for chunk in oldest
    )
    assert [chunk.first for chunk in newest] == sorted((chunk.first for chunk in newest), reverse=True)
    assert all(chunk.newest_first for chunk in newest)


def test_a_chunk_travels_as_json():
    (chunk,) = chunks_of(plan_of(5), forced_before=FIRST + timedelta(microseconds=7))
    value = chunk.to_json()
    assert value["label"] == "1: 2013-01-01 00h to 2013-01-01 04h, 5 hours"
    assert Chunk.from_json(value) == chunk

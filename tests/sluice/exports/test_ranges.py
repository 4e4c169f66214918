from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sluice.exports.errors import WindowError
from sluice.exports.ranges import HOUR, HourRange, joined, parse_range, refuse_future

NOON = datetime(2013, 1, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ("2013-01-02T12", None, (0, 0)),
        ("2013-01-02T12", "2013-01-02T14", (0, 2)),
        ("2013-01-02", None, (-12, 11)),
        ("2013-01-02", "2013-01-03", (-12, 35)),
        ("2013-01-02T12", "2013-01-02", (0, 11)),
        (" 2013-01-02T13:00:00+01:00 ", "2013-01-02T12:00:00Z", (0, 0)),
    ],
)
def test_both_ends_are_inclusive_and_a_date_is_its_whole_day(first, last, expected):
    hours = parse_range(first, last)
    assert hours == HourRange(NOON + expected[0] * HOUR, NOON + expected[1] * HOUR)
    assert len(list(hours)) == len(hours)


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        ("noon", None, "`from` is 'noon', which is neither an hour nor a date"),
        ("2013-01-02T12", "2013-02-30", "`to` is '2013-02-30'"),
        ("2013-01-02T12:30", None, "lies within an hour of UTC: write its beginning, such as 2013-01-02T12"),
        ("2013-01-02T12:00+05:30", None, "lies within an hour"),
        ("2013-01-02T12", "2013-01-01", "ends before it begins"),
        ("2013-01-02T12", "2013-01-02T11", "exchange them"),
    ],
)
def test_a_range_that_cannot_be_meant_is_a_sentence(first, last, message):
    with pytest.raises(WindowError) as caught:
        parse_range(first, last)
    assert message in str(caught.value)


def test_an_hour_that_is_not_over_is_refused_by_the_clock_that_is_given():
    refuse_future(parse_range("2013-01-02T11"), NOON)
    with pytest.raises(WindowError, match=r"12:00 UTC is not over.*last hour can be 2013-01-02T11"):
        refuse_future(parse_range("2013-01-02T11", "2013-01-02T12"), NOON + timedelta(minutes=59))


def test_hours_are_joined_into_ranges_without_a_break():
    hours = [NOON, NOON + HOUR, NOON + 3 * HOUR]
    assert list(joined(hours)) == [HourRange(NOON, NOON + HOUR), HourRange(NOON + 3 * HOUR, NOON + 3 * HOUR)]
    assert list(joined([])) == []

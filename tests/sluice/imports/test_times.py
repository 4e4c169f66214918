"""Event times and their bounds (decisions E-21, I-12)."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from sluice.converter import RowError
from sluice.imports.times import EventTimes, microseconds

READ_AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def times(upload_time: str, **options: object) -> EventTimes:
    return EventTimes(upload_time, READ_AT, date(2000, 1, 1), require_time=options.get("require_time", True))  # type: ignore[arg-type]


def ms(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize("value", [1357034400000, "1357034400000", 1357034400000.0])
def test_epoch_milliseconds_become_microseconds(value: object) -> None:
    assert times("now").event_time(value) == 1357034400000000


@pytest.mark.parametrize("value", ["2013-01-01T10:00:00Z", "1357034400.5", True, [1], "1357034400000x"])
def test_no_other_form_of_time_is_guessed(value: object) -> None:
    with pytest.raises(RowError, match="time: must be a whole number"):
        times("now").event_time(value)


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_time_is_an_error_or_the_time_of_reading(value: object) -> None:
    with pytest.raises(RowError, match="time: is missing"):
        times("now").event_time(value)
    assert times("now", require_time=False).event_time(value) == microseconds(READ_AT)


@pytest.mark.parametrize("value", [10**18, -(10**17)])
def test_a_time_that_no_calendar_shows_is_an_error(value: int) -> None:
    with pytest.raises(RowError, match="years 1 to 9999"):
        times("now").event_time(value)


@pytest.mark.parametrize("value", [ms(2099), ms(1970)])
def test_a_load_of_today_takes_any_time(value: int) -> None:
    assert times("now").event_time(value) == value * 1000


def test_an_event_time_load_refuses_the_future_and_names_everything() -> None:
    with pytest.raises(RowError) as caught:
        times("event_time").event_time(ms(2099))
    assert caught.value.field == "time"
    for part in ("4070908800000", "2099-01-01 00:00:00 UTC", "2026-11-21 12:00:00 UTC"):
        assert part in caught.value.reason


def test_an_event_time_load_refuses_what_lies_before_not_before() -> None:
    with pytest.raises(
        RowError, match=r"1970-01-01 00:00:00 UTC\) lies before the source's not_before 2000-01-01"
    ):
        times("event_time").event_time(ms(1970))
    bound = ms(2000)
    assert times("event_time").event_time(bound) == bound * 1000
    with pytest.raises(RowError):
        times("event_time").event_time(bound - 1)


def test_an_event_time_load_knows_the_hours_that_it_touches() -> None:
    event_times = times("event_time")
    for hour in (0, 0, 1, 5):
        event_times.event_time(ms(2013) + hour * 3_600_000 + 59 * 60_000)
    first = ms(2013) // 3_600_000
    assert event_times.hours == {first, first + 1, first + 5}

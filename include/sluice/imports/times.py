"""The times of an imported event (decisions E-21)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import numpy as np

from sluice.converter import RowError
from sluice.imports.values import plain_integers, shown, whole_number

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Years 1 to 9999: what a timestamp can show.
_FIRST_MS = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
_LAST_MS = (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)

_HOUR_US = 3_600_000_000


def microseconds(moment: datetime) -> int:
    """Return a moment as microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


class EventTimes:
    """Turns a row's `time` into microseconds, within the bounds of its source.

    `read_at` is when the file was read, by the ledger's clock. With upload_time `event_time` a time after it,
    or on a UTC date before `not_before`, is a row error, and the hours that the file touches are collected.
    """

    def __init__(
        self,
        upload_time: Literal["now", "event_time"],
        read_at: datetime,
        not_before: date,
        *,
        require_time: bool,
    ) -> None:
        self.by_event = upload_time == "event_time"
        self.read_at_us = microseconds(read_at)
        self.hours: set[int] = set()
        self._read_at = read_at
        self._not_before = not_before
        self._not_before_us = microseconds(
            datetime(not_before.year, not_before.month, not_before.day, tzinfo=UTC)
        )
        self._require_time = require_time

    def event_time(self, value: Any) -> int:
        """Return the event's time in microseconds since 1970 from epoch milliseconds. Raises RowError."""
        moment = self._moment(value)
        if self.by_event:
            self.hours.add(moment // _HOUR_US)
        return moment

    def column(self, values: list[Any], odd: set[int]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the times of many events; where `event_time` would raise an error, the place is odd."""
        numbers = plain_integers(values)
        if numbers and min(numbers) >= _FIRST_MS and max(numbers) <= _LAST_MS:
            moments = np.array(numbers, np.int64) * 1000
            if self.by_event:
                outside = (moments > self.read_at_us) | (moments < self._not_before_us)
                odd.update(np.flatnonzero(outside).tolist())
            return moments
        moments = np.zeros(len(values), np.int64)
        for place, value in enumerate(values):
            try:
                moments[place] = self._moment(value)
            except RowError:
                odd.add(place)
        return moments

    def collect(self, moments: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        """Take the hours of events whose times `column` gave."""
        if self.by_event:
            self.hours.update(np.unique(moments // _HOUR_US).tolist())

    def _moment(self, value: Any) -> int:
        if value is None or value == "":
            if self._require_time:
                raise RowError("time", "is missing (require_time, decisions I-12)")
            moment = self.read_at_us
        else:
            number = whole_number("time", value)
            if not _FIRST_MS <= number <= _LAST_MS:
                raise RowError("time", f"{shown(value)} is no epoch milliseconds of the years 1 to 9999")
            moment = number * 1000
        if self.by_event:
            self._check(value, moment)
        return moment

    def _check(self, value: Any, moment: int) -> None:
        if moment > self.read_at_us:
            raise RowError(
                "time",
                f"{shown(value)} ({_shown_time(moment)}) lies after {self._read_at:%Y-%m-%d %H:%M:%S} UTC,"
                " when the file was read: with upload_time event_time no event may lie in the future",
            )
        if moment < self._not_before_us:
            raise RowError(
                "time",
                f"{shown(value)} ({_shown_time(moment)}) lies before the source's not_before"
                f" {self._not_before}: correct the converter's time (epoch milliseconds), or set not_before",
            )


def _shown_time(moment: int) -> str:
    return f"{_EPOCH + timedelta(microseconds=moment):%Y-%m-%d %H:%M:%S} UTC"

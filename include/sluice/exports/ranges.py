"""Ranges of hours as people write them: hours or dates of UTC, both ends inclusive (decisions E-12, E-19)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sluice.exports.errors import WindowError

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class HourRange:
    """The hours (their starts, UTC) from `first` to `last`, both inclusive."""

    first: datetime
    last: datetime

    def __iter__(self) -> Iterator[datetime]:
        """Go through the hours, oldest first."""
        hour = self.first
        while hour <= self.last:
            yield hour
            hour += HOUR

    def __len__(self) -> int:
        return (self.last - self.first) // HOUR + 1

    def __str__(self) -> str:
        if self.first == self.last:
            return f"{self.first:%Y-%m-%d %H}:00 UTC"
        return f"{self.first:%Y-%m-%d %H}:00 to {self.last:%Y-%m-%d %H}:00 UTC, inclusive"


def parse_range(first: str, last: str | None = None, *, names: tuple[str, str] = ("from", "to")) -> HourRange:
    """Read a range; a date is its whole day, and without `last` the range is what `first` says.

    Raises WindowError for what is neither an hour nor a date, lies within an hour, or ends before it begins.
    """
    start, end = _hours(first, names[0])
    if last:
        _, end = _hours(last, names[1])
    if end < start:
        raise WindowError(
            f"The range ends before it begins: {names[0]} is {first}, {names[1]} is {last}. Both ends are"
            " inclusive; exchange them."
        )
    return HourRange(start, end)


def refuse_future(hours: HourRange, now: datetime) -> None:
    """Raise WindowError if the range has an hour that is not over at `now`, by the ledger's clock."""
    if hours.last + HOUR > now:
        raise WindowError(
            f"The hour {hours.last:%Y-%m-%d %H}:00 UTC is not over: the ledger's clock says"
            f" {now:%Y-%m-%d %H:%M:%S}. The last hour can be {now - HOUR:%Y-%m-%dT%H}."
        )


def joined(hours: Iterable[datetime]) -> Iterator[HourRange]:
    """Join hours, which come in order, into ranges without a break."""
    first = last = None
    for hour in hours:
        if first is not None and last is not None and hour > last + HOUR:
            yield HourRange(first, last)
            first = hour
        first, last = first or hour, hour
    if first is not None and last is not None:
        yield HourRange(first, last)


def _hours(text: str, name: str) -> tuple[datetime, datetime]:
    """Return the first and the last hour that a text means."""
    text = text.strip()
    try:
        if len(text) == len("2013-01-02"):
            midnight = datetime.combine(date.fromisoformat(text), time(), UTC)
            return midnight, midnight + 23 * HOUR
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise WindowError(
            f"`{name}` is {text!r}, which is neither an hour nor a date: write 2013-01-02T12 or 2013-01-02"
            " (UTC)."
        ) from error
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if moment.minute or moment.second or moment.microsecond:
        raise WindowError(
            f"`{name}` is {text!r}, which lies within an hour of UTC: write its beginning, such as"
            f" {moment:%Y-%m-%dT%H}."
        )
    return moment, moment

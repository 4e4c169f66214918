"""The names of an hour's objects, and their recognition whatever dialect wrote them (amplitude-spec 1.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Literal

# Any form that this project or Amplitude's own export ever gave: hours with or without a leading zero,
# partitions counted from 0 or 1. A name without `#n` belongs to merged IDs (amplitude-spec 1.2), not to us.
_NAME = re.compile(
    r"(?P<project>[1-9]\d{0,18})_(?P<date>\d{4}-\d{2}-\d{2})_(?P<hour>[01]?\d|2[0-3])"
    r"(?:#(?P<partition>\d{1,9})\.json\.gz|(?P<marker>_complete))",
    re.ASCII,
)

# So many days of a month are listed one by one; a month of hours with one file each is two pages.
_DAYS_BY_ONE = 7


@dataclass(frozen=True)
class HourObject:
    """An object's name, understood: whose hour it belongs to, and whether it is data or the marker."""

    project: int
    hour: datetime
    kind: Literal["data", "marker"]
    # The number after `#`; None for a marker.
    partition: int | None


@dataclass(frozen=True)
class Layout:
    """Where a destination's objects lie below its bucket, and how its files are counted.

    `flat` leaves out the folder per project (decisions E-4).
    """

    prefix: str = ""
    flat: bool = False
    first_partition: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefix", normalise_prefix(self.prefix))

    def folder(self, project: int) -> str:
        """Return the folder of a project's objects: empty, or ending in a slash."""
        return self.prefix if self.flat else f"{self.prefix}{project}/"

    def data_key(self, project: int, hour: datetime, index: int) -> str:
        """Return the key of an hour's file; `index` counts from 0, the name from `first_partition`."""
        stem = self.folder(project) + hour_stem(project, hour)
        return f"{stem}#{index + self.first_partition}.json.gz"

    def marker_key(self, project: int, hour: datetime) -> str:
        """Return the key of an hour's completeness marker (decisions E-3)."""
        return f"{self.folder(project)}{hour_stem(project, hour)}_complete"


def normalise_prefix(prefix: str) -> str:
    """Return the prefix without slashes in front and with exactly one at its end, or empty."""
    folder = prefix.strip("/")
    return f"{folder}/" if folder else ""


def hour_stem(project: int, hour: datetime) -> str:
    """Return what all names of an hour begin with: `{project}_{yyyy-MM-dd}_{H}`, H without a zero in front.

    Raises ValueError for a time that is not a whole hour with a zone.
    """
    utc = whole_hour(hour)
    return f"{project}_{utc.date().isoformat()}_{utc.hour}"


def listing_prefixes(prefix: str, project: int, days: Iterable[date]) -> Iterator[str]:
    """Yield the listing prefixes that together hold every object of a project's days, in any layout.

    Where many days of a month are wanted it is the whole month's: objects of other days come along.
    """
    base = normalise_prefix(prefix)
    for month, of_month in groupby(sorted(set(days)), lambda day: f"{day:%Y-%m}-"):
        wanted = list(of_month)
        whole = len(wanted) > _DAYS_BY_ONE
        for stem in [f"{project}_{month}"] if whole else [f"{project}_{day.isoformat()}_" for day in wanted]:
            yield f"{base}{project}/{stem}"
            yield f"{base}{stem}"


def parse_key(prefix: str, key: str) -> HourObject | None:
    """Return which hour's object a key below `prefix` names, or None if it is nobody's.

    Recognises both layouts, both first partitions and padded hours (decisions E-10). An object in another
    project's folder, or deeper, is not ours.
    """
    base = normalise_prefix(prefix)
    if not key.startswith(base):
        return None
    folder, _, name = key[len(base) :].rpartition("/")
    match = _NAME.fullmatch(name)
    if match is None or folder not in ("", match["project"]):
        return None
    try:
        day = date.fromisoformat(match["date"])
    except ValueError:
        return None
    return HourObject(
        project=int(match["project"]),
        hour=datetime(day.year, day.month, day.day, int(match["hour"]), tzinfo=UTC),
        kind="marker" if match["marker"] else "data",
        partition=None if match["marker"] else int(match["partition"]),
    )


def whole_hour(moment: datetime) -> datetime:
    """Return an hour in UTC. Raises ValueError for a time without a zone or within an hour."""
    if moment.tzinfo is None:
        raise ValueError(f"An hour needs a zone: {moment!r}.")
    utc = moment.astimezone(UTC)
    if utc.minute or utc.second or utc.microsecond:
        raise ValueError(f"Exports go by whole hours of UTC; {utc.isoformat()} lies within one.")
    return utc

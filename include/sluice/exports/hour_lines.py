"""An hour's events as lines: read from the lake, filtered, encoded."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.config import ExportConfig
from sluice.exports.ahead import ahead
from sluice.exports.filters import EventFilter
from sluice.exports.lake_errors import check_schema, explained_rows
from sluice.exports.lines import LineEncoder, Lines
from sluice.exports.staged import Content
from sluice.lake import EventReader, Fingerprint, Lake

# Rows read at once: enough that Arrow's work outweighs the calls, little enough that a few batches on their
# way through the pipeline are some tens of megabytes.
_BATCH_ROWS = 10_000
# A day with at most so many rows in the hours that are wanted is read and encoded at once: its hours then
# cost no request and few calls each, and its lines take some tens of megabytes.
_SMALL_DAY = 20_000
# Days held: the one that is being written, and the one that a faster thread is at already.
_DAYS_HELD = 2

HOUR = timedelta(hours=1)
_HOUR_MICROSECONDS = 3_600_000_000

# Lines with the server_upload_time of each.
TimedLines = tuple[Lines, pa.Array]


class HourLines:
    """Gives the lines of any hour; the list of the lake's files is asked for once per version.

    Threads may share it.
    """

    def __init__(self, config: ExportConfig, lake: Lake) -> None:
        self._config = config
        self._lake = lake
        self._reader: EventReader | None = None
        self._opening = threading.Lock()

    def lines(
        self, project: int, hour: datetime, content: Content, kept_back: list[int]
    ) -> Generator[TimedLines, None, None]:
        """Yield an hour's lines in their order, made in a thread ahead of their use.

        How many events the filter keeps back is added to `kept_back` on the way.
        """

        def encoded() -> Iterator[TimedLines]:
            if content.fingerprint.rows:
                yield from self._encoded(
                    project, hour, hour + HOUR, content.version, lambda _, count: kept_back.append(count)
                )

        return ahead(encoded())

    def _encoded(
        self,
        project: int,
        first: datetime,
        end: datetime,
        version: int,
        kept_back: Callable[[pa.Array, int], None],
    ) -> Iterator[TimedLines]:
        """Read, filter and encode what lies in the time; tell of each batch's times that were kept back."""
        encoder = LineEncoder(self._config.dialect)
        chosen = EventFilter(self._config.filter) if self._config.filter else None
        columns = [*encoder.columns, "server_upload_time", *(chosen.columns if chosen else ())]
        rows = self._at(version).read(project, first, end, tuple(dict.fromkeys(columns)), _BATCH_ROWS)
        with chosen.open() if chosen else contextlib.nullcontext() as engine:
            for batch in explained_rows(rows):
                kept = batch
                if engine:
                    mask = engine.mask(batch)
                    kept = batch.filter(mask)
                    dropped = batch.column("server_upload_time").filter(pc.invert(mask))
                    kept_back(dropped, len(dropped))
                times, row = kept.column("server_upload_time"), 0
                for lines in encoder.encode(kept):
                    yield lines, times.slice(row, len(lines))
                    row += len(lines)

    def _at(self, version: int) -> EventReader:
        with self._opening:
            if self._reader is None or self._reader.version != version:
                check_schema(self._lake, version)
                self._reader = EventReader(self._lake, version)
            return self._reader


@dataclass
class _Day:
    """The lines of one day's hours."""

    lines: dict[datetime, list[TimedLines]] = field(default_factory=dict)
    kept_back: dict[datetime, int] = field(default_factory=dict)


class DayLines(HourLines):
    """Gives the lines of many hours one after the other: small days are read and encoded whole.

    The lines are the same as those of HourLines.
    """

    def __init__(self, config: ExportConfig, lake: Lake) -> None:
        super().__init__(config, lake)
        self._wanted: Mapping[date, tuple[datetime, datetime]] = {}
        self._days: OrderedDict[tuple[int, date, int], _Day] = OrderedDict()
        self._making = threading.Lock()

    def expect(self, wanted: Collection[datetime], contents: Mapping[datetime, Fingerprint]) -> None:
        """Say which hours will be asked for next, and what they and the hours between them hold."""
        spans: dict[date, tuple[datetime, datetime]] = {}
        for hour in wanted:
            first, end = spans.get(hour.date(), (hour, hour + HOUR))
            spans[hour.date()] = min(first, hour), max(end, hour + HOUR)
        rows: Counter[date] = Counter()
        for hour, content in contents.items():
            if hour.date() in spans and spans[hour.date()][0] <= hour < spans[hour.date()][1]:
                rows[hour.date()] += content.rows
        self._wanted = {day: span for day, span in spans.items() if rows[day] <= _SMALL_DAY}
        self._days.clear()

    def lines(
        self, project: int, hour: datetime, content: Content, kept_back: list[int]
    ) -> Generator[TimedLines, None, None]:
        """Yield an hour's lines in their order, from its day's if that is small."""
        span = self._wanted.get(hour.date())
        if not content.fingerprint.rows or span is None:
            yield from super().lines(project, hour, content, kept_back)
            return
        with self._making:
            day = self._day(project, span, content.version)
        kept_back.append(day.kept_back.get(hour, 0))
        yield from day.lines.get(hour, ())

    def _day(self, project: int, span: tuple[datetime, datetime], version: int) -> _Day:
        key = project, span[0].date(), version
        if key not in self._days:
            while len(self._days) >= _DAYS_HELD:
                self._days.popitem(last=False)
            self._days[key] = self._make(project, span, version)
        return self._days[key]

    def _make(self, project: int, span: tuple[datetime, datetime], version: int) -> _Day:
        day = _Day()
        midnight = datetime.combine(span[0].date(), time(), span[0].tzinfo)

        def count(times: pa.Array, _: int) -> None:
            for hour, start, end in _by_hour(times, midnight):
                day.kept_back[hour] = day.kept_back.get(hour, 0) + end - start

        for lines, times in self._encoded(project, *span, version, count):
            for hour, start, end in _by_hour(times, midnight):
                first, last = int(lines.offsets[start]), int(lines.offsets[end])
                piece = Lines(lines.data[first:last], lines.offsets[start : end + 1] - first)
                day.lines.setdefault(hour, []).append((piece, times.slice(start, end - start)))
        return day


def _by_hour(times: pa.Array, midnight: datetime) -> Iterator[tuple[datetime, int, int]]:
    """Yield each hour of times that are in order, with its first row and the row after its last."""
    if not len(times):
        return
    start_of_day = pa.scalar(midnight, times.type).cast(pa.int64()).as_py()
    numbers = (np.asarray(times.cast(pa.int64())) - start_of_day) // _HOUR_MICROSECONDS
    bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    for start, end in pairwise(bounds):
        yield midnight + int(numbers[start]) * HOUR, start, end

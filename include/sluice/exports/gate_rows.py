"""The lake's rows of exported hours, as the gate's SQL engine reads them: few columns, filtered, counted."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from sluice.config.filters import FilterConfig
from sluice.exports.ahead import ahead
from sluice.exports.filters import EventFilter
from sluice.exports.lake_errors import explained_rows
from sluice.exports.ranges import HOUR
from sluice.lake import EventReader
from sluice.lake.schema import EVENTS

# Batches of 20,000 rows of few columns.
_AHEAD = 4
# Columns of few distinct texts that every gate looks at.
_REPEATED = frozenset({"event_type"})
_HOUR_MICROSECONDS = 3_600_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# SQL (DuckDB) of a row's hour, counted from 1970: what groups the rows of several hours.
HOUR_SQL = f"(epoch_us(server_upload_time) // {_HOUR_MICROSECONDS})"


def hour_number(hour: datetime) -> int:
    """Return an hour as HOUR_SQL gives it."""
    return (hour - _EPOCH) // HOUR


class GateRows:
    """The rows of hours of one project, at one version, that a filter lets through.

    It can be registered with DuckDB, which reads it anew for each query. `in_lake` and `let_through` have the
    rows by the hour's number, once it was read to its end.
    """

    def __init__(
        self,
        reader: EventReader,
        project: int,
        hours: Sequence[datetime],
        columns: Sequence[str],
        filter: FilterConfig | None,
    ) -> None:
        self._reader = reader
        self._project = project
        self._hours = sorted(hours)
        self._columns = list(dict.fromkeys(["server_upload_time", *columns]))
        self._filter = EventFilter(filter) if filter else None
        unpacked = self._filter.columns if self._filter else ()
        self._schema = pa.schema([_field(name, name not in unpacked) for name in self._columns])
        extra = [EVENTS.field(name) for name in unpacked if name not in self._columns]
        self._needed = pa.schema([*self._schema, *extra])
        self.in_lake: Counter[int] = Counter()
        self.let_through: Counter[int] = Counter()
        self._counted = False
        # What went wrong below the engine, which would only tell of it in words of its own.
        self.failure: Exception | None = None

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Give the rows as a stream of Arrow's C interface."""
        batches = pa.RecordBatchReader.from_batches(self._schema, self._watched())
        return batches.__arrow_c_stream__(requested_schema)

    def count(self) -> None:
        """See that the rows are counted, even if no expectation needed them."""
        if self.failure is not None:
            raise self.failure
        if not self._counted:
            for _ in self._batches():
                pass

    def _watched(self) -> Iterator[pa.RecordBatch]:
        try:
            # The engine takes one batch at a time: the next ones are decoded meanwhile.
            yield from ahead(self._batches(), _AHEAD)
        except Exception as failure:
            self.failure = failure
            raise

    def _batches(self) -> Iterator[pa.RecordBatch]:
        in_lake: Counter[int] = Counter()
        let_through: Counter[int] = Counter()
        chosen = self._filter
        with chosen.open() if chosen else contextlib.nullcontext() as engine:
            for first, end in _spans(self._hours):
                for batch in explained_rows(self._reader.scan(self._project, first, end, self._needed)):
                    in_lake += _by_hour(batch)
                    kept = engine.keep(batch) if engine else batch
                    let_through += _by_hour(kept) if engine else Counter()
                    yield kept.select(self._columns)
        self.in_lake, self.let_through = in_lake, let_through if chosen else in_lake
        self._counted = True


def _field(name: str, packed: bool) -> pa.Field:
    """Return a column as it is read: texts that repeat need not be unpacked for the engine."""
    if packed and name in _REPEATED:
        return pa.field(name, pa.dictionary(pa.int32(), pa.string()))
    return EVENTS.field(name)


def _spans(hours: Sequence[datetime]) -> Iterator[tuple[datetime, datetime]]:
    """Yield stretches of hours, each without a break and within a day."""
    start: datetime | None = None
    for place, hour in enumerate(hours):
        start = start or hour
        end = hour + HOUR
        following = hours[place + 1] if place + 1 < len(hours) else None
        if following != end or end.date() != hour.date():
            yield start, end
            start = None


def _by_hour(batch: pa.RecordBatch) -> Counter[int]:
    """Count the rows of a batch, which are all of one day, by their hour."""
    if not batch.num_rows:
        return Counter()
    times = np.asarray(batch.column("server_upload_time").cast(pa.int64()))
    first, last = int(times.min()) // _HOUR_MICROSECONDS, int(times.max()) // _HOUR_MICROSECONDS
    if first == last:
        return Counter({first: len(times)})
    counts = np.bincount(times // _HOUR_MICROSECONDS - first)
    return Counter({first + place: count for place, count in enumerate(counts.tolist()) if count})

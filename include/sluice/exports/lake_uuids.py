"""The uuids that the lake has for an hour, under a destination's filter."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime

import numpy as np
import pyarrow as pa

from sluice.config import ExportConfig
from sluice.exports.filters import EventFilter
from sluice.exports.ranges import HOUR
from sluice.exports.uuids import Uuids, pack
from sluice.lake import EventReader, Fingerprint, Lake

_BATCH_ROWS = 50_000
# The hours of a day with at most so many rows are read at once: a few requests for all of them.
_SMALL_DAY = 500_000
# Small days and versions that are kept; threads are at neighbouring hours.
_KEPT = 3
_HOUR_MICROSECONDS = 3_600_000_000


class LakeUuids:
    """Reads hours of one lake under one filter; threads may share it."""

    def __init__(self, config: ExportConfig, lake: Lake) -> None:
        self._lake = lake
        self._filter = EventFilter(config.filter) if config.filter else None
        self._readers: OrderedDict[int, EventReader] = OrderedDict()
        self._days: OrderedDict[tuple[int, date, int], Mapping[datetime, list[Uuids]]] = OrderedDict()
        self._small: set[tuple[int, date, int]] = set()
        self._opening, self._reading = threading.Lock(), threading.Lock()

    def expect(self, project: int, version: int, contents: Mapping[datetime, Fingerprint]) -> None:
        """Say what hours will be asked for, and what they hold at that version."""
        rows: dict[date, int] = {}
        for hour, content in contents.items():
            rows[hour.date()] = rows.get(hour.date(), 0) + content.rows
        self._small = {(project, day, version) for day, count in rows.items() if count <= _SMALL_DAY}

    def of_hour(self, project: int, hour: datetime, version: int) -> Iterator[Uuids]:
        """Yield the uuids of an hour at a version. Raises FileNotFoundError if its files are gone."""
        key = (project, hour.date(), version)
        if key not in self._small:
            yield from (uuids for _, uuids in self._read(project, hour, hour + HOUR, version))
            return
        with self._reading:
            if key not in self._days:
                while len(self._days) >= _KEPT:
                    self._days.popitem(last=False)
                midnight = hour.replace(hour=0)
                self._days[key] = _by_hour(
                    midnight, self._read(project, midnight, midnight + 24 * HOUR, version)
                )
            day = self._days[key]
        yield from day.get(hour, ())

    def _read(
        self, project: int, first: datetime, end: datetime, version: int
    ) -> Iterator[tuple[pa.Array, Uuids]]:
        columns = ["server_upload_time", "uuid", *(self._filter.columns if self._filter else ())]
        rows = self._at(version).read(project, first, end, tuple(dict.fromkeys(columns)), _BATCH_ROWS)
        with self._filter.open() if self._filter else contextlib.nullcontext() as engine:
            for batch in rows:
                kept = engine.keep(batch) if engine else batch
                yield kept.column("server_upload_time"), pack(kept.column("uuid"))

    def _at(self, version: int) -> EventReader:
        with self._opening:
            if version not in self._readers:
                while len(self._readers) >= _KEPT:
                    self._readers.popitem(last=False)
                self._readers[version] = EventReader(self._lake, version)
            return self._readers[version]


def _by_hour(midnight: datetime, batches: Iterable[tuple[pa.Array, Uuids]]) -> Mapping[datetime, list[Uuids]]:
    start = int(midnight.timestamp()) * 1_000_000
    day: dict[datetime, list[Uuids]] = {}
    for times, uuids in batches:
        numbers = (np.asarray(times.cast(pa.int64())) - start) // _HOUR_MICROSECONDS
        for number in np.unique(numbers).tolist():
            day.setdefault(midnight + number * HOUR, []).append(uuids[numbers == number])
    return day

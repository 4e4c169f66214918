"""A lake of ten million events of a million users, as a cohort's query meets it: days of rows, in order."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.lake import Lake
from sluice.lake.data_files import write_data_files
from sluice.lake.schema import EVENTS, ORDER, TIMESTAMP

PROJECT = 187520
DAYS = 30
FIRST_DAY = datetime(2013, 1, 1, tzinfo=UTC)
# The as-of time after which only `late` events lie.
END = FIRST_DAY + timedelta(days=DAYS)
FIRST_ID = 1 << 40

_BATCH_ROWS = 100_000
_DAY_US = 86_400_000_000
_EVENT_TYPES = pa.array(["opened", "searched", "booked", "boarded", "landed", "rated"])
_CARRIERS = pa.array(["AA", "B6", "DL", "EV", "F9", "MQ", "UA", "US", "WN"])
_PLANS = pa.array(["free", "silver", "gold"])
_CITIES = pa.array(["New York", "Boston", "Chicago", "Denver", "San Francisco", "Seattle", "Miami"])


def write_lake(lake: Lake, events: int = 10_000_000, users: int = 1_000_000, seed: int = 1) -> None:
    """Create the lake and write `events` rows over DAYS days, one data file a day; every user has some."""
    lake.create()
    partition = ["app", "upload_date"]
    actions = write_data_files(
        lake.table_filesystem("events"), _batches(events, users, seed), partition, sorted_by=ORDER
    )
    lake.events().create_write_transaction(actions, "append", EVENTS, partition)


def add_users(lake: Lake, count: int, first: int, at: datetime) -> None:
    """Commit one event at `at` for each of `count` users from number `first` on: a change of the cohort."""
    partition = ["app", "upload_date"]
    rows = _rows(
        np.arange(first, first + count), pa.array([at] * count, TIMESTAMP), np.random.default_rng(first), 0
    )
    actions = write_data_files(lake.table_filesystem("events"), [rows], partition, sorted_by=ORDER)
    lake.events().create_write_transaction(actions, "append", EVENTS, partition)


def _batches(events: int, users: int, seed: int) -> Iterator[pa.RecordBatch]:
    random = np.random.default_rng(seed)
    first_us = int(FIRST_DAY.timestamp()) * 1_000_000
    for day in range(DAYS):
        start, end = events * day // DAYS, events * (day + 1) // DAYS
        for row in range(start, end, _BATCH_ROWS):
            count = min(_BATCH_ROWS, end - row)
            places = np.arange(row, row + count)
            # The first round over the users is in order, so that none is left out; then whoever it is.
            who = np.where(places < users, places, random.integers(0, users, count))
            moments = first_us + day * _DAY_US + (places - start) * _DAY_US // (end - start) // 1000 * 1000
            yield _rows(who, pa.array(moments).cast(TIMESTAMP), random, row)


def _rows(users: np.ndarray, times: pa.Array, random: np.random.Generator, first: int) -> pa.RecordBatch:
    count = len(users)
    numbers = pa.array(users)
    text = numbers.cast(pa.string())
    delays = pa.array(random.integers(0, 180, count))
    random_bytes = random.bytes(16 * count)

    def pick(values: pa.Array) -> pa.Array:
        return values.take(pa.array(random.integers(0, len(values), count)))

    known: dict[str, pa.Array] = {
        "app": pa.array(np.full(count, PROJECT)),
        "uuid": pa.array(str(uuid.UUID(bytes=random_bytes[16 * n : 16 * n + 16])) for n in range(count)),
        "user_id": pc.binary_join_element_wise("user-", text, "@example.com", ""),
        "device_id": pc.binary_join_element_wise("device-", text, ""),
        "amplitude_id": pc.add(numbers, FIRST_ID),
        "event_type": pick(_EVENT_TYPES),
        "event_properties": pc.binary_join_element_wise(
            '{"origin":"JFK","destination":"LAX","delay":',
            delays.cast(pa.string()),
            ',"flight":"',
            text,
            '","cabin":"economy"}',
            "",
        ),
        "user_properties": pc.binary_join_element_wise(
            '{"carrier":"',
            pick(_CARRIERS),
            '","plan":"',
            pick(_PLANS),
            '","home":"',
            pick(_CITIES),
            '","newsletter":true,"bookings":',
            delays.cast(pa.string()),
            ',"tags":["web","2013"]}',
            "",
        ),
        "upload_date": times.cast(pa.timestamp("us")).cast(pa.date32()),
        "loaded_at": times,
        "seq": pa.array(np.arange(first, first + count)),
        "revision": pa.array(np.zeros(count, dtype=np.int32)),
        **dict.fromkeys(("server_upload_time", "event_time", "processed_time", "client_event_time"), times),
    }
    columns = [
        known[field.name].cast(field.type) if field.name in known else pa.nulls(count, field.type)
        for field in EVENTS
    ]
    return pa.RecordBatch.from_arrays(columns, schema=EVENTS)

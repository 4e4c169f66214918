"""The rows that a gate's engine sees: those of the hours, under the filter, counted on their way."""

from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from exporting import HOUR, PROJECT, Destination
from gated_export import change_rows, with_values

from sluice.config.filters import FilterConfig
from sluice.exports.errors import LakeFileError
from sluice.exports.gate_rows import HOUR_SQL, GateRows, hour_number
from sluice.lake import EventReader
from sluice.lake.sql import connect

HOURS = [HOUR + timedelta(hours=n) for n in (0, 1, 3, 11, 12, 13)]


@pytest.fixture(scope="module")
def destination(tmp_path_factory):
    """Hours of two days with 1, 2, … events, and one of another project."""
    destination = Destination.make(None, "bucket", tmp_path_factory.mktemp("rows"))
    for n, hour in enumerate(HOURS):
        destination.add_events([f"{n}-{i}" for i in range(n + 1)], hour)
    destination.add_events(["other"], HOUR, project=5)
    kinds = ["a", "b", None]
    change_rows(
        destination, with_values("event_type", lambda values: [kinds[n % 3] for n in range(len(values))])
    )
    return destination


def rows_of(destination, hours, columns=("event_type",), filter=None):
    lake = destination.lake
    return GateRows(EventReader(lake, lake.events().version()), PROJECT, hours, columns, filter)


def by_hour(rows, select="count(*)"):
    with connect() as engine:
        engine.register("rows", rows)
        found = engine.execute(f"SELECT {HOUR_SQL}, {select} FROM rows GROUP BY 1").fetchall()
    return dict(found)


@pytest.mark.parametrize("places", [[0], [0, 1, 2], [5, 4, 3], range(6), []])
def test_they_are_those_of_the_hours_and_counted_as_often_as_they_are_read(destination, places):
    hours = [HOURS[place] for place in places]
    expected = {hour_number(HOURS[place]): place + 1 for place in places}
    rows = rows_of(destination, hours)
    for _ in range(2):
        assert by_hour(rows) == expected
        assert dict(rows.in_lake) == dict(rows.let_through) == expected
    unread = rows_of(destination, hours)
    unread.count()
    assert dict(unread.in_lake) == expected


@pytest.mark.parametrize("column", ["event_type", "$insert_id"])
def test_the_filter_is_the_exports(destination, column):
    """Also where it looks at a column that the engine would get packed, or does not get at all."""
    wanted = ["a"] if column == "event_type" else ["4-0", "4-3", "5-0"]
    chosen = FilterConfig.model_validate({"where": [{"column": column, "in": wanted}]})
    rows = rows_of(destination, HOURS, filter=chosen)
    assert by_hour(rows, "count(event_type)") == dict(rows.let_through)
    assert rows.in_lake.total() == 21
    if column == "event_type":
        # Files of 1 to 6 rows, in each of which every third is an "a".
        assert [rows.let_through[hour_number(hour)] for hour in HOURS] == [1, 1, 1, 2, 2, 2]
    else:
        assert [rows.let_through[hour_number(hour)] for hour in HOURS] == [0, 0, 0, 0, 2, 1]


def test_values_that_are_packed_are_the_same(destination):
    packed = by_hour(rows_of(destination, HOURS), "list(event_type ORDER BY event_type)")
    assert packed[hour_number(HOURS[5])] == ["a", "a", "b", "b", None, None]


def test_what_reading_fails_with_is_known(tmp_path):
    destination = Destination.make(None, "bucket", tmp_path)
    destination.add_events(["a"])
    rows = rows_of(destination, [HOUR])
    for path in Path(destination.lake.uri, "events").rglob("*.parquet"):
        path.unlink()
    with pytest.raises(duckdb.Error):
        by_hour(rows)
    with pytest.raises(LakeFileError, match="data file of the lake is gone"):
        rows.count()

"""Names of an hour's objects: what both dialects write, and what is recognised as theirs."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.exports.keys import HourObject, Layout, hour_stem, listing_prefixes, parse_key

HOUR = datetime(2020, 1, 25, 17, tzinfo=UTC)


@pytest.mark.parametrize(
    ("layout", "data", "marker"),
    [
        pytest.param(
            Layout("analytics"),
            "analytics/187520/187520_2020-01-25_17#0.json.gz",
            "analytics/187520/187520_2020-01-25_17_complete",
            id="observed",
        ),
        pytest.param(
            Layout("", flat=True, first_partition=1),
            "187520_2020-01-25_17#1.json.gz",
            "187520_2020-01-25_17_complete",
            id="documented",
        ),
        pytest.param(
            Layout("//a/b//"),
            "a/b/187520/187520_2020-01-25_17#0.json.gz",
            "a/b/187520/187520_2020-01-25_17_complete",
            id="prefix-normalised",
        ),
    ],
)
def test_names_of_both_dialects(layout, data, marker):
    assert layout.data_key(187520, HOUR, 0) == data
    assert layout.marker_key(187520, HOUR) == marker


def test_hours_are_not_padded_and_always_utc():
    assert hour_stem(1, datetime(2023, 5, 1, 0, tzinfo=UTC)) == "1_2023-05-01_0"
    east = timezone(timedelta(hours=2))
    assert hour_stem(1, datetime(2023, 5, 1, 1, tzinfo=east)) == "1_2023-04-30_23"


@pytest.mark.parametrize("moment", [datetime(2023, 5, 1), datetime(2023, 5, 1, 0, 30, tzinfo=UTC)])
def test_an_hour_is_whole_and_has_a_zone(moment):
    with pytest.raises(ValueError, match=r"zone|whole hours"):
        hour_stem(1, moment)


@given(
    project=st.integers(1, 2**53),
    hour=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)),
    index=st.integers(0, 10**6),
    flat=st.booleans(),
    first=st.integers(0, 1),
    prefix=st.sampled_from(["", "p", "p/q/", "2020-01-25"]),
)
@settings(max_examples=100, deadline=None)
def test_every_name_that_is_written_is_recognised_and_listed(project, hour, index, flat, first, prefix):
    hour = hour.replace(minute=0, second=0, microsecond=0, tzinfo=UTC)
    layout = Layout(prefix, flat, first)
    data, marker = layout.data_key(project, hour, index), layout.marker_key(project, hour)
    assert parse_key(prefix, data) == HourObject(project, hour, "data", index + first)
    assert parse_key(prefix, marker) == HourObject(project, hour, "marker", None)
    prefixes = tuple(listing_prefixes(prefix, project, [hour.date()]))
    assert data.startswith(prefixes)
    assert marker.startswith(prefixes)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("p/1/1_2020-01-25_17.json.gz", id="merged-ids-of-a-legacy-project"),
        pytest.param("p/-9/-9_2020-01-25_17.json.gz", id="merged-ids"),
        pytest.param("p/-9/-9_2020-01-25_17_complete", id="merged-ids-marker"),
        pytest.param("p/2/1_2020-01-25_17#0.json.gz", id="folder-of-another-project"),
        pytest.param("p/1/old/1_2020-01-25_17#0.json.gz", id="deeper-folder"),
        pytest.param("q/1/1_2020-01-25_17#0.json.gz", id="other-prefix"),
        pytest.param("p/1/1_2020-02-30_17#0.json.gz", id="no-such-day"),
        pytest.param("p/1/1_2020-01-25_24#0.json.gz", id="no-such-hour"),
        pytest.param("p/1/1_2020-01-25_17#0.json.gz.bak", id="longer-name"),
        pytest.param("p/1/1_2020-01-25_17#x.json.gz", id="no-number"),
        pytest.param("p/1/1_2020-01-25_1٧#0.json.gz", id="digits-of-another-script"),
    ],
)
def test_what_is_not_an_hours_object_is_left_alone(key):
    assert parse_key("p", key) is None


def test_a_padded_hour_of_another_writer_is_recognised():
    assert parse_key("", "1/1_2020-01-25_05#00.json.gz") == HourObject(
        1, datetime(2020, 1, 25, 5, tzinfo=UTC), "data", 0
    )
    assert "1/1_2020-01-25_05#00.json.gz".startswith(tuple(listing_prefixes("", 1, [date(2020, 1, 25)])))


def test_many_days_of_a_month_are_listed_at_once():
    few = [date(2020, 1, 31), date(2020, 2, 1)]
    many = [date(2020, 3, day) for day in range(1, 20)]
    assert list(listing_prefixes("p", 7, [*many, *few])) == [
        *("p/7/7_2020-01-31_", "p/7_2020-01-31_"),
        *("p/7/7_2020-02-01_", "p/7_2020-02-01_"),
        *("p/7/7_2020-03-", "p/7_2020-03-"),
    ]

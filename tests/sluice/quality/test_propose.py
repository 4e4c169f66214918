"""A draft asks nothing that was not so: evaluated on the data that it came from, all of it holds."""

import json
import re
import string
from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sluice.config.quality import QualityConfig
from sluice.quality import counts
from sluice.quality.evaluate import evaluate
from sluice.quality.profile import FORMS, MIN_PERSONS, MIN_ROWS, Subject, is_personal
from sluice.quality.propose import _wider, propose, text_of
from sluice.quality.sample import frame_of
from sluice.quality.suites import suite

SCHEMA = pa.schema(
    [
        ("amplitude_id", pa.int64()),
        ("hour", pa.string()),
        ("user_id", pa.string()),
        ("plan", pa.string()),
        ("price", pa.float64()),
        ("paying", pa.bool_()),
        ("server_upload_time", pa.timestamp("us", "UTC")),
        ("event_time", pa.timestamp("us", "UTC")),
        ("event_properties", pa.string()),
    ]
)
COLUMNS = ["user_id", "plan", "price", "paying", "event_time"]
SUBJECT = Subject("rows", COLUMNS, ["event_properties"], ["server_upload_time"], "hour", "amplitude_id")
NOON = datetime(2013, 1, 2, 12, tzinfo=UTC)


def connection_of(rows):
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("given", pa.Table.from_pylist(rows, SCHEMA))
    connection.execute("CREATE TABLE rows AS SELECT * FROM given")
    return connection


def drafted(connection):
    """Draft a suite, take it through its YAML, and return its text and its expectations."""
    text = text_of(propose(connection, SUBJECT, unit="hour"), ["A draft."])
    config = QualityConfig.model_validate(yaml.safe_load(text)["quality"])
    return text, suite([], config)


def failures(rows, connection, expectations):
    """Evaluate hour by hour, sample expectations on all rows."""

    def frame():
        return frame_of(rows, expectations, groups=[row["hour"] for row in rows])

    found = evaluate(expectations, connection, "rows", frame, by="hour")
    return [str(result) for results in found.values() for result in results if not result.success]


def row(number, **keys):
    return {
        "amplitude_id": number % 40,
        "hour": f"2013-01-02T{number % 5:02d}",
        "user_id": f"0f{number:06d}",
        "plan": ("gold", "silver", "bronze")[number % 3],
        "price": number * 1.5,
        "paying": number % 2 == 0,
        "server_upload_time": NOON + timedelta(seconds=number + 60),
        "event_time": NOON + timedelta(seconds=number),
        "event_properties": json.dumps({"carrier": "AA" if number % 2 else "UA", "delay": number % 90 - 10}),
    } | keys


def test_what_a_draft_sees():
    rows = [row(number) for number in range(600)]
    rows[7]["user_id"] = None
    connection = connection_of(rows)
    text, expectations = drafted(connection)
    asked = {(each.type, each.kwargs.get("column")): each for each in expectations}
    assert failures(rows, connection, expectations) == []

    between = "expect_column_values_to_be_between"
    in_set = "expect_column_values_to_be_in_set"
    assert asked[in_set, "plan"].kwargs["value_set"] == ["bronze", "gold", "silver"]
    assert asked[in_set, "event_properties.carrier"].kwargs["value_set"] == ["AA", "UA"]
    assert asked["expect_column_values_to_be_of_type", "event_properties.delay"].kwargs["type_"] == "int"
    delay = asked[between, "event_properties.delay"].kwargs
    assert delay["min_value"] < -10
    assert delay["max_value"] > 79
    assert asked["expect_column_values_to_be_unique", "user_id"].severity == "critical"
    user = asked["expect_column_values_to_match_regex", "user_id"]
    assert user.kwargs["regex"] == FORMS["small hexadecimal digits"]
    null = asked["expect_column_values_to_not_be_null", "user_id"]
    assert (null.kwargs["mostly"], null.severity) == (0.94, "warning")
    assert asked["expect_column_values_to_not_be_null", "plan"].severity == "critical"
    assert asked[between, "event_time"].kwargs["min_value"] == "2012-01-01T00:00:00Z"
    assert asked["expect_column_pair_values_a_to_be_greater_than_b", None].kwargs["column_A"] == (
        "server_upload_time"
    )
    assert not any(column == "server_upload_time" for _, column in asked)
    count = asked["expect_table_row_count_to_be_between", None]
    assert (count.kwargs, count.severity) == ({"min_value": 60, "max_value": 240}, "warning")
    assert "# Null in 0.2% of 600 rows, in 0.8% of the worst hour.\n" in text


def test_bad_data_fail_a_draft_of_good_ones():
    good = [row(number) for number in range(600)]
    _, expectations = drafted(connection_of(good))
    properties = json.dumps({"carrier": 5, "delay": "late"})
    bad = [row(number, user_id="Ann Example", plan="lead", event_time=datetime(1970, 1, 1, tzinfo=UTC),
               price=-1e6, event_properties=properties) for number in range(600)]  # fmt: skip
    failed = failures(bad, connection_of(bad), expectations)
    for words in (
        "to_match_regex(column='user_id'",
        "to_be_unique(column='user_id'",
        "to_be_in_set(column='plan'",
        "to_be_between(column='event_time'",
        "to_be_between(column='price'",
        "to_be_of_type(column='event_properties.delay'",
        "to_be_in_set(column='event_properties.carrier'",
    ):
        assert any(words in one for one in failed), words


def test_hours_without_rows_count_as_hours():
    connection = connection_of([row(number) for number in range(600)])
    first = propose(connection, SUBJECT, unit="hour", units=6)[0]
    assert first.expectation.kwargs == {"max_value": 240}
    assert "0 to 120 in each hour" in first.seen


def test_no_rows_are_no_draft():
    assert propose(connection_of([]), SUBJECT, unit="hour") == []
    assert yaml.safe_load(text_of([], ["Nothing."])) == {"quality": {"expectations": []}}


@pytest.mark.parametrize(
    ("values", "people"),
    [
        pytest.param(["gold", "ann@example.com"], 40, id="an e-mail address"),
        pytest.param(["gold", "+4915112345678"], 40, id="a long number"),
        pytest.param(["gold", "192.0.2.1"], 40, id="an address"),
        pytest.param(["gold", "x" * 101], 40, id="a long text"),
        pytest.param(["gold", "a\nb"], 40, id="a text of several lines"),
        pytest.param(["gold", "silver"], MIN_PERSONS - 1, id="values of a few people"),
    ],
)
def test_values_that_may_be_somebodys_own_are_never_told(values, people):
    rows = [
        row(number, plan=values[number % len(values)], amplitude_id=number % people) for number in range(600)
    ]
    text, expectations = drafted(connection_of(rows))
    assert not any(value in text for value in values)
    assert not any(each.kwargs.get("value_set") and each.kwargs["column"] == "plan" for each in expectations)


def test_a_value_of_a_few_rows_is_not_told():
    rows = [row(number, plan="rare" if number < MIN_ROWS - 1 else "gold") for number in range(600)]
    assert "rare" not in drafted(connection_of(rows))[0]


@pytest.mark.parametrize(
    "name", ["user_id", "ip_address", "user_properties.e_mail", "event_properties.PhoneNumber",
             "event_properties.client_ip", "user_properties.customerRef", "event_properties.orderId", "city"]
)  # fmt: skip
def test_columns_that_are_personal_by_their_name(name):
    assert is_personal(name)


@pytest.mark.parametrize("name", ["platform", "event_properties.carrier", "country", "user_properties.plan"])
def test_columns_that_are_not(name):
    assert not is_personal(name)


numbers = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15)


@given(numbers, numbers)
@example(1e15, 1e15 - 1)
@example(0.0, 0.0)
@example(-5.0, -5.0)
@example(0.0, 5e-324)
def test_wider_bounds_hold_what_was_seen(one, other):
    least, most = min(one, other), max(one, other)
    low, high = _wider(least, most)
    assert low <= least <= most <= high


def test_the_forms_are_what_python_matches_too():
    for pattern in FORMS.values():
        assert re.compile(pattern)


text = st.text(st.sampled_from(string.ascii_letters + string.digits + "é -.:@\n'\"\\/~%$"), max_size=6)
value = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
    | st.lists(st.integers(0, 1), max_size=1)
    | st.dictionaries(st.just("a"), st.integers(0, 1), max_size=1)
)
name = st.sampled_from(["carrier", "delay", "a.b", "a/b~c", "x y", "'", '"', "ü", "#", "{", "user_id", "yes"])


@st.composite
def columns(draw):
    """A way to fill rows: small sets, many texts, numbers of one kind or a mixture, with some nulls."""
    texts = draw(st.lists(text, min_size=1, max_size=3))
    kind = draw(st.sampled_from(["set", "numbers", "many", "mixture"]))
    values = {
        "set": [draw(st.sampled_from(texts)) for _ in range(3)],
        "numbers": [draw(st.integers(-1000, 1000)) for _ in range(3)],
        "many": None,
        "mixture": [draw(value) for _ in range(4)],
    }[kind]
    return values, draw(st.integers(0, 4))


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(1, 150),
    columns(),
    st.dictionaries(name, columns(), max_size=4),
    st.lists(st.none() | numbers, min_size=1, max_size=3),
    st.integers(-10_000, 10_000_000_000),
)
def test_every_draft_holds_on_its_own_data_hour_by_hour(count, plan, properties, prices, late):
    def pick(filled, number):
        values, nulls = filled
        if nulls and number % 7 < nulls:
            return None
        return f"value {number}" if values is None else values[number % len(values)]

    def plain(found):
        return found if found is None or isinstance(found, str) else json.dumps(found)

    rows = [
        row(
            number,
            plan=plain(pick(plan, number)),
            price=prices[number % len(prices)],
            event_time=NOON + timedelta(seconds=number - late),
            event_properties=json.dumps({key: pick(one, number) for key, one in properties.items()}),
        )
        for number in range(count)
    ]
    connection = connection_of(rows)
    _, expectations = drafted(connection)
    assert expectations
    assert not any(counts.is_own(each) for each in expectations)
    assert failures(rows, connection, expectations) == []

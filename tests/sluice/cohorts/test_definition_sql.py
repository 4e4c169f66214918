"""Definitions as SQL: against the same definition in plain Python, and what they read."""

from collections import defaultdict
from datetime import timedelta
from itertools import count

import pyarrow.parquet as pq
import pytest
from cohort_events import NOON, add_events, cohort_of, config_of
from fresh import fresh_lake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluice.cohorts.query import check, query_of
from sluice.cohorts.snapshot import take_snapshot

AS_OF = NOON
DAY = timedelta(days=1)
SOURCES = {1: "First", 2: "Second"}


def members_of(cohort, lake, folder, **how):
    snapshot = take_snapshot(cohort, config_of(cohort, **how), lake, AS_OF, folder / "snapshot.parquet")
    return snapshot, pq.read_table(snapshot.path).to_pylist()


class Meaning:
    """A definition's tests in plain Python, on one person's events."""

    def __init__(self, events):
        self.events = [event for event in events if event["server_upload_time"] < AS_OF]

    def holds(self, node):
        [(name, what)] = node.items()
        match name:
            case "all":
                return all(self.holds(child) for child in what)
            case "any":
                return any(self.holds(child) for child in what)
            case "not":
                return not self.holds(what)
            case "first_seen":
                first = min(event["server_upload_time"] for event in self.events)
                return what.get("from", first) <= first < what.get("to", first + DAY)
            case "had":
                return any(condition_holds(what, event) for event in self.within(what["last_days"]))
        did = [
            event
            for event in self.within(what["last_days"])
            if event["event_type"] == what["event"]
            and all(clause_holds(clause, event) for clause in what.get("where", []))
        ]
        return len(did) >= what.get("at_least", 1) if name == "did" else not did

    def within(self, days):
        return [event for event in self.events if event["server_upload_time"] >= AS_OF - days * DAY]

    def latest(self, name):
        values = [event["user_properties"].get(name) for event in sorted(self.events, key=order)]
        return next((value for value in reversed(values) if value is not None), None)


def order(event):
    return event["server_upload_time"], event["loaded_at"], event["seq"]


def clause_holds(clause, event):
    return any(condition_holds(one, event) for one in clause.get("any", [clause]))


def condition_holds(condition, event):
    if "column" in condition:
        value = event[condition["column"]]
    else:
        kind = "event_property" if "event_property" in condition else "user_property"
        value = event[f"{kind.partition('_')[0]}_properties"].get(condition[kind])
    if "exists" in condition:
        found = value is not None
    elif "in" in condition:
        found = any(same(value, one) for one in condition["in"])
    else:
        found = same(value, condition["equals"])
    return found != condition.get("not", False)


def same(one, other):
    return type(one) is type(other) and one == other


TYPES = ("a", "b")
values = st.sampled_from([None, 1, "1", "x"])
events = st.fixed_dictionaries(
    {
        "amplitude_id": st.integers(1, 4),
        "event_type": st.sampled_from(TYPES),
        "server_upload_time": st.sampled_from([AS_OF - n * DAY / 2 for n in range(12)]),
        "city": st.sampled_from([None, "Rome", "Oslo"]),
        "event_properties": st.fixed_dictionaries({}, optional={"p": values}),
        "user_properties": st.fixed_dictionaries({}, optional={"plan": values}),
    }
)
conditions = st.builds(
    lambda subject, operator, turned: subject | operator | turned,
    st.sampled_from([{"event_property": "p"}, {"user_property": "plan"}, {"column": "city"}]),
    st.sampled_from([{"equals": "x"}, {"equals": "Rome"}, {"in": ["1", "Oslo"]}, {"exists": True}]),
    st.sampled_from([{}, {"not": True}]),
)
days = st.integers(1, 5)
choices = st.builds(lambda two: {"any": two}, st.lists(conditions, min_size=2, max_size=2, unique_by=repr))
wheres = st.lists(conditions | choices, max_size=1)
leaves = st.one_of(
    st.builds(
        lambda event, at_least, last, where: {
            "did": {"event": event, "at_least": at_least, "last_days": last, "where": where}
        },
        st.sampled_from(TYPES), st.integers(1, 3), days, wheres,
    ),
    st.builds(
        lambda event, last, where: {"did_not": {"event": event, "last_days": last, "where": where}},
        st.sampled_from(TYPES), days, wheres,
    ),
    st.builds(lambda condition, last: {"had": condition | {"last_days": last}}, conditions, days),
    st.builds(
        lambda bounds: {"first_seen": bounds},
        st.sampled_from(
            [{"from": AS_OF - 3 * DAY}, {"to": AS_OF - 2 * DAY}, {"from": AS_OF - 4 * DAY, "to": AS_OF - DAY}]
        ),
    ),
)  # fmt: skip
definitions = st.recursive(
    leaves,
    lambda node: st.one_of(
        st.builds(lambda two: {"all": two}, st.lists(node, min_size=1, max_size=2, unique_by=repr)),
        st.builds(lambda two: {"any": two}, st.lists(node, min_size=1, max_size=2, unique_by=repr)),
        st.builds(lambda one: {"not": one}, node),
    ),
    max_leaves=3,
)


# Each example has projects of its own in one lake.
projects = count(10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("definitions")


@pytest.fixture(scope="module")
def shared_lake(folder):
    return another_lake(folder)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(events, min_size=1, max_size=12), definitions)
def test_a_definition_is_what_it_says(shared_lake, folder, rows, definition):
    project = next(projects)
    rows = numbered(rows)
    # Everybody else has a user; the rows of before the log-in lack it.
    for row in rows:
        row["user_id"] = f"user-{row['amplitude_id']}" if row["amplitude_id"] < 4 and row["city"] else None
    add_events(shared_lake, rows, project)
    people = defaultdict(list)
    for row in rows:
        if row["server_upload_time"] < AS_OF:
            people[row["amplitude_id"]].append(row)
    expected = {person for person, own in people.items() if Meaning(own).holds(definition)}
    snapshot, found = members_of(cohort_of(definition=definition, project=project), shared_lake, folder)
    assert {row["amplitude_id"] for row in found} == expected, snapshot.sql


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(events, st.sampled_from([0, 1])), min_size=1, max_size=12), definitions)
def test_a_portfolio_asks_all_events_of_a_person(shared_lake, folder, placed, definition):
    sources = {next(projects): "First", next(projects): "Second"}
    rows = numbered([row for row, _ in placed])
    people = defaultdict(list)
    for row, (_, place) in zip(rows, placed, strict=True):
        # One person is another number in each project; the fourth has no name.
        person = row["amplitude_id"]
        row["user_id"] = f"user-{person}" if person < 4 else None
        row["amplitude_id"] = person * 10 + place
        if row["server_upload_time"] < AS_OF:
            people[row["user_id"] or row["amplitude_id"]].append(row)
    for place, project in enumerate(sources):
        own = [row for row, (_, placed_in) in zip(rows, placed, strict=True) if placed_in == place]
        if own:
            add_events(shared_lake, own, project)
    whole = {"all": [definition, {"did": {"event": "a", "last_days": 9}}]}
    expected = {who for who, own in people.items() if Meaning(own).holds(whole)}
    cohort = cohort_of(definition=whole, properties=["plan"], project=4)
    snapshot, found = members_of(cohort, shared_lake, folder, sources=sources)
    assert {row["user_id"] or row["amplitude_id"] for row in found} == expected, snapshot.sql


def test_a_property_is_the_latest_that_the_events_of_the_days_have(tmp_path):
    lake = another_lake(tmp_path)
    tie = {"server_upload_time": NOON - DAY, "loaded_at": NOON - DAY}
    add_events(
        lake,
        [
            tie
            | {"amplitude_id": 1, "seq": 1, "user_properties": {"plan": "gold", "n": 1, "event_type": [2]}},
            tie | {"amplitude_id": 1, "seq": 0, "user_properties": {"plan": "free"}},
            {"amplitude_id": 1, "server_upload_time": NOON - DAY / 2, "user_properties": {"plan": None}},
            {"amplitude_id": 1, "server_upload_time": NOON - 9 * DAY, "user_properties": {"old": 1, "n": 0}},
        ],
    )
    did = {"did": {"event": "tested", "last_days": 3}}
    properties = ["plan", "n", "old", "event_type", 'we"ird']
    snapshot, found = members_of(cohort_of(definition=did, properties=properties), lake, tmp_path)
    assert found == [
        {"amplitude_id": 1, "user_id": None, "plan": '"gold"', "n": "1", "old": None, "event_type": "[2]"}
        | {'we"ird': None}
    ]
    assert snapshot.reads.files == 2
    # Somebody who did nothing in the last days is a member here: all events are looked at.
    not_did = {"did_not": {"event": "never", "last_days": 3}}
    snapshot, found = members_of(cohort_of(definition=not_did, properties=["old"]), lake, tmp_path)
    assert found == [{"amplitude_id": 1, "user_id": None, "old": "1"}]
    assert snapshot.reads.files == 3


def test_a_portfolios_property_is_the_latest_of_the_user_in_each_project(tmp_path):
    lake, user = another_lake(tmp_path), {"user_id": "u"}
    add_events(
        lake,
        [
            user | {"amplitude_id": 1, "server_upload_time": NOON - DAY, "user_properties": {"p": "new"}},
            user | {"amplitude_id": 2, "server_upload_time": NOON - 2 * DAY, "user_properties": {"p": "old"}},
        ],
        project=1,
    )  # fmt: skip
    add_events(lake, [user | {"amplitude_id": 3, "server_upload_time": NOON - DAY}], project=2)
    cohort = cohort_of(
        definition={"did": {"event": "tested", "at_least": 3, "last_days": 5}}, properties=["p"], project=4
    )
    found = members_of(cohort, lake, tmp_path, sources=SOURCES)[1]
    assert found == [{"amplitude_id": 1, "user_id": "u", "p (First)": '"new"', "p (Second)": None}]


def test_the_statement_reads_like_the_definition():
    in_rome = {"column": "city", "in": ["Rome"]}
    definition = {
        "all": [
            {"did": {"event": "flew", "at_least": 3, "last_days": 7, "where": [in_rome]}},
            {"not": {"any": [{"did_not": {"event": "paid", "last_days": 30}}, {"first_seen": {"to": NOON}}]}},
        ]
    }
    cohort = cohort_of(definition=definition)
    check(cohort, config_of(cohort))
    assert (
        query_of(cohort)
        == """\
WITH people AS (
    SELECT
        amplitude_id,
        max(user_id) AS user_id,
        count(*) FILTER (event_type = 'flew' AND "city" IN ('Rome') AND server_upload_time >= $as_of - INTERVAL 7 DAY) AS test_1,
        count(*) FILTER (event_type = 'paid' AND server_upload_time >= $as_of - INTERVAL 30 DAY) AS test_2,
        min(server_upload_time) AS first_3
    FROM events
    GROUP BY amplitude_id
)
SELECT amplitude_id, user_id
FROM people
WHERE test_1 >= 3 AND NOT (test_2 = 0 OR first_3 < TIMESTAMPTZ '2013-01-02 12:00:00+00:00')"""  # noqa: E501
    )


@pytest.mark.parametrize("value", ["it's", "a'; DROP TABLE events; --", 'q"', "%"])
def test_the_values_are_no_sql(tmp_path, value):
    lake = another_lake(tmp_path)
    add_events(lake, [{"amplitude_id": 1, "event_type": value, "event_properties": {value: value}}])
    condition = {"event_property": value, "equals": value}
    definition = {"did": {"event": value, "last_days": 1, "where": [condition]}}
    cohort = cohort_of(definition=definition, properties=[value])
    snapshot = take_snapshot(cohort, config_of(cohort), lake, NOON + DAY / 2, tmp_path / "s.parquet")
    assert (snapshot.members, snapshot.properties) == (1, (value,))


def numbered(rows):
    return [row | {"loaded_at": row["server_upload_time"], "seq": n} for n, row in enumerate(rows)]


def another_lake(folder):
    return fresh_lake(folder / f"lake-{len(list(folder.iterdir()))}")

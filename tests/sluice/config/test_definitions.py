"""Behavioural definitions: which trees are read, and where a mistake in one is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sluice.config.definitions import MAX_LEVELS, MAX_TESTS

DID = {"did": {"event": "departed", "last_days": 7}}


def nested(levels):
    """Return a test below so many groups."""
    return DID if levels == 0 else {"not": nested(levels - 1)}


@pytest.fixture
def defined(folder):
    def write(definition):
        folder.cohort(sql=None, properties=[], definition=definition)
        return folder

    return write


def test_every_kind_of_node_is_read(defined):
    tree = {
        "all": [
            {
                "did": {
                    "event": "departed",
                    "at_least": 3,
                    "last_days": 7,
                    "where": [
                        {"event_property": "delay", "greater": 60},
                        {"any": [{"column": "city", "equals": "Newark"}, {"column": "city", "exists": True}]},
                    ],
                }
            },
            {"did_not": {"event": "cancelled", "last_days": 30}},
            {"not": {"any": [{"had": {"user_property": ["plan", "name"], "in": ["gold"], "last_days": 90}}]}},
            {"first_seen": {"from": "2013-01-01", "to": "2013-01-01T06:00:00+01:00"}},
        ]
    }
    definition = defined(tree).load().cohort("delayed").definition
    assert definition.levels == 3
    did, did_not, had, first_seen = definition.tests()
    assert (did.did.event, did.did.at_least, did.did.last_days) == ("departed", 3, 7)
    assert did.did.where[0].test.path == ("delay",)
    assert [condition.test.operator for condition in did.did.where[1].any] == ["equals", "exists"]
    assert (did_not.did_not.event, did_not.did_not.where) == ("cancelled", ())
    assert (had.had.test.path, had.had.test.value, had.had.last_days) == (("plan", "name"), ("gold",), 90)
    assert first_seen.first_seen.from_ == datetime(2013, 1, 1, tzinfo=UTC)
    assert first_seen.first_seen.to == datetime(2013, 1, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("definition", "problem"),
    [
        ({}, "definition: takes exactly one of all, any, not, did, did_not, had, first_seen, not 0."),
        (
            DID | nested(1),
            "definition: takes exactly one of all, any, not, did, did_not, had, first_seen, not 2.",
        ),
        ({"all": []}, "definition.all: an empty list."),
        (
            {"did": {"event": "x"}},
            "definition.did.last_days: missing. Allowed: a whole number of days from 1 to 3660.",
        ),
        (
            {"all": [{"did": {"event": "x", "last_days": 0}}]},
            "definition.all.0.did.last_days: wrong value. Found: 0",
        ),
        ({"did": DID["did"] | {"at_least": 0}}, "definition.did.at_least: wrong value. Found: 0"),
        ({"did": DID["did"] | {"atleast": 2}}, "definition.did.atleast: unknown key; did you mean at_least?"),
        ({"did_not": DID["did"] | {"at_least": 2}}, "definition.did_not.at_least: unknown key."),
        (
            {"any": [{"did": DID["did"] | {"where": [{"any": [{"column": "cty", "equals": "x"}]}]}}]},
            "definition.any.0.did.where.0.any.0: there is no column cty.",
        ),
        (
            {"did": DID["did"] | {"where": [{"colum": "city", "equals": "x"}]}},
            "definition.did.where.0.colum: unknown key; did you mean column? Allowed: column,"
            " event_property,",
        ),
        ({"had": {"column": "city", "equals": "x"}}, "definition.had.last_days: missing."),
        (
            {"had": {"last_days": 3, "equals": "x"}},
            "definition.had: a condition looks at exactly one of column,",
        ),
        ({"not": {"first_seen": {}}}, "definition.not.first_seen: names neither from nor to."),
        (
            {"first_seen": {"from": "2013-02-01", "to": "2013-01-01"}},
            "definition.first_seen: ends at 2013-01-01T00:00:00Z, not after it begins at"
            " 2013-02-01T00:00:00Z.",
        ),
        (
            {"first_seen": {"from": "spring"}},
            "definition.first_seen.from: not a time. Found: 'spring'. Allowed: a time",
        ),
        (
            nested(MAX_LEVELS + 1),
            f"definition: {MAX_LEVELS + 1} groups (all, any, not) one in the other, at most {MAX_LEVELS}"
            f" are read:"
            " draw them together, or write the cohort as sql.",
        ),
        (
            {"any": [DID | {"did": DID["did"] | {"last_days": n + 1}} for n in range(MAX_TESTS + 1)]},
            f"definition: {MAX_TESTS + 1} tests, at most {MAX_TESTS} are read: write the cohort as sql.",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place_in_the_tree(defined, definition, problem):
    text = defined(definition).only_problem()
    assert text.startswith("cohorts/delayed.yaml, line ")
    assert problem in text


def test_trees_at_the_limits_are_read(defined):
    assert defined(nested(MAX_LEVELS)).load().problems == ()
    tests = [{"did": DID["did"] | {"last_days": n + 1}} for n in range(MAX_TESTS)]
    assert defined({"any": tests}).load().problems == ()

"""What a filter may ask, refused when the file is read."""

import pytest
from pydantic import ValidationError

from sluice.config.filters import FilterConfig


@pytest.mark.parametrize(
    ("filter_", "message"),
    [
        ({}, "names event_types, or conditions"),
        ({"event_types": {}}, "neither include nor exclude"),
        ({"event_types": {"include": ["a"], "exclude": ["a", "b"]}}, "includes and excludes a"),
        ({"where": [{"equals": 1}]}, "exactly one of column, event_property"),
        ({"where": [{"column": "city", "event_property": "city", "equals": "x"}]}, "exactly one of column"),
        ({"where": [{"column": "city"}]}, "exactly one of equals"),
        ({"where": [{"column": "city", "equals": "x", "in": ["y"]}]}, "exactly one of equals"),
        ({"where": [{"column": "town", "equals": "x"}]}, "no column town"),
        ({"where": [{"column": "city", "equals": 5}]}, "city holds text"),
        ({"where": [{"column": "session_id", "contains": 5}]}, "session_id holds integer, which takes"),
        ({"where": [{"column": "event_time", "greater": "yesterday"}]}, "such as 2013-01-02T12:00:00Z"),
        ({"where": [{"column": "event_time", "less": "2013-01-02T12:00:00"}]}, "event_time holds time"),
        ({"where": [{"column": "event_properties", "equals": "x"}]}, "look at one of its properties"),
        ({"where": [{"event_property": "a", "matches": "["}]}, "no regular expression"),
        ({"where": [{"event_property": "a", "matches": "a(?=b)"}]}, "RE2"),
        ({"where": [{"event_property": "a", "matches": r"(a)\1"}]}, "RE2"),
        ({"where": [{"event_property": "a", "matches": "a*+"}]}, "RE2"),
        ({"where": [{"event_property": "a", "equal": 1}]}, "equal"),
        ({"where": [{"any": []}]}, "any"),
    ],
)
def test_what_is_refused(filter_, message):
    with pytest.raises(ValidationError, match=message):
        FilterConfig.model_validate(filter_)


def test_a_filter_is_an_and_of_ors():
    config = FilterConfig.model_validate(
        {
            "event_types": {"exclude": ["heartbeat"]},
            "where": [
                {"column": "country", "in": ["France", "Spain"]},
                {
                    "any": [
                        {"event_property": "price", "greater": 100},
                        {"user_property": ["plan", "name"], "exists": True},
                    ]
                },
            ],
        }
    )
    assert [[(test.subject, test.path, test.operator) for test in clause] for clause in config.clauses] == [
        [("column", ("event_type",), "in")],
        [("column", ("country",), "in")],
        [("event_property", ("price",), "greater"), ("user_property", ("plan", "name"), "exists")],
    ]


def test_an_escaped_plus_is_no_possessive_quantifier():
    FilterConfig.model_validate({"where": [{"event_property": "a", "matches": r"C\++"}]})

"""The committed catalogue is what the installed Great Expectations gives."""

import pytest

from sluice.config import expectations
from sluice.quality.catalogue import OWN, REFUSED, catalogue, text_of

# Arguments with which each of them can be built, where their types alone do not say so.
EXAMPLES = {
    "column": "a",
    "columns": ["a", "b"],
    "number": 1.5,
    "count": 1,
    "share": 0.5,
    "positive": 1.5,
    "number or time": 1,
    "boolean": True,
    "values": ["x"],
    "pairs": [["x", 1]],
    "type": "str",
    "types": ["str"],
    "pattern": "^x",
    "patterns": ["^x"],
    "time format": "%Y",
    "schema": {"type": "object"},
    "quantiles": {"quantiles": [0.5], "value_ranges": [[0, 1]]},
    "partition": {"values": ["x"], "weights": [1.0]},
    "text": "all_values_are_missing",
}


@pytest.fixture(scope="module")
def installed():
    return catalogue()


def test_the_committed_file_is_that_of_the_installed_library(installed):
    """If this fails: python -m sluice.quality.catalogue include/sluice/config/expectations.json."""
    assert expectations.FILE.read_text(encoding="utf-8") == text_of(installed)


def test_what_is_refused_or_added_is_about_what_the_library_has(installed):
    for name in REFUSED:
        assert "refused" in installed["expectations"][name]
    for name in OWN:
        assert installed["expectations"][name]["own"]


def test_the_library_takes_every_argument_that_the_catalogue_takes(installed):
    """Both ways: what passes at parse can be built by the library, and its own examples pass at parse."""
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    for name, entry in installed["expectations"].items():
        if "refused" in entry or "own" in entry:
            continue
        kwargs = {
            argument: told["choices"][0] if "choices" in told else EXAMPLES[told["type"]]
            for argument, told in entry["arguments"].items()
        }
        if {"min_value", "max_value"} <= kwargs.keys():
            kwargs |= {"min_value": 0, "max_value": 1}
        assert expectations.mistakes(name, kwargs) == []
        ExpectationConfiguration(type=name, kwargs=kwargs).to_domain_obj()


@pytest.mark.parametrize("argument", ["row_condition", "batch_id", "result_format"])
def test_arguments_of_the_library_that_no_gate_takes_say_why(argument):
    (mistake,) = expectations.mistakes("expect_column_values_to_be_unique", {"column": "uuid", argument: "x"})
    assert "is no argument in a gate: " in mistake.message

"""What may stand in a suite: the expectations of the catalogue, their arguments, and what these may be.

The catalogue is expectations.json, taken from Great Expectations by `sluice.quality.catalogue`: checking a
suite imports no more than the standard library.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sluice.config.expectation_values import allowed_of, near, order, wrong
from sluice.config.problems import KeyPath

FILE = Path(__file__).with_name("expectations.json")

# More arguments than any expectation has.
MAX_ARGUMENTS = 30

# Arguments of the library that a gate has no use for, and what to do instead.
_USELESS: Mapping[str, str] = {
    "row_condition": "a gate looks at all rows; a property that only some rows have is null in the others",
    "condition_parser": "a gate looks at all rows, so there is no row_condition",
    "batch_id": "a gate has one batch: what the run has staged",
    "windows": "a gate has one batch; `expect_row_count_like_weeks_before` looks at earlier weeks",
    "result_format": "whether values that failed are shown says `show_values` of the suite",
    "catch_exceptions": "what cannot be evaluated always stops the gate",
    "severity": "it stands beside `kwargs`, not in it",
    "notes": "they stand beside `kwargs`, not in it",
    "meta": "what there is to say stands in `notes`, beside `kwargs`",
    "description": "what there is to say stands in `notes`, beside `kwargs`",
    "id": "the library gives it itself",
    "rendered_content": "the library gives it itself",
}


@dataclass(frozen=True)
class Mistake:
    """What is wrong with an expectation: where, beginning at the expectation, and what would be allowed."""

    path: KeyPath
    message: str
    allowed: str
    found: Any


@cache
def catalogue() -> Mapping[str, Mapping[str, Any]]:
    """Return the expectations by their names, as `sluice.quality.catalogue` describes them."""
    expectations: Mapping[str, Mapping[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))[
        "expectations"
    ]
    return expectations


def usable() -> list[str]:
    """Return the names of the expectations that may stand in a suite."""
    return [name for name, entry in catalogue().items() if "refused" not in entry]


def default_severity(type: str) -> str:
    """Return the severity of an expectation that names none: critical, but for a few of Sluice's own."""
    return str(catalogue().get(type, {}).get("severity", "critical"))


def method_of(type: str) -> str:
    """Return how an expectation is checked: exact, sample or history. Raises KeyError if it is unknown."""
    return str(catalogue()[type]["method"])


def mistakes(type: str, kwargs: Mapping[str, Any]) -> list[Mistake]:
    """Return everything that is wrong with an expectation's name and its arguments, which are JSON types.

    Whether the columns are there is not looked at: that depends on the pipeline.
    """
    entry = catalogue().get(type)
    if len(kwargs) > MAX_ARGUMENTS:
        return [Mistake(("kwargs",), f"holds {len(kwargs)} arguments", f"at most {MAX_ARGUMENTS}", kwargs)]
    if entry is None:
        return [Mistake(("type",), f"unknown expectation{near(type, usable())}", _MORE, type)]
    if "refused" in entry:
        return [Mistake(("type",), f"{type} cannot work in a gate: {entry['refused']}", _MORE, type)]
    arguments = entry["arguments"]
    found = [
        *(_unknown(type, name, kwargs[name], arguments) for name in kwargs if name not in arguments),
        *(
            Mistake(("kwargs",), f"lacks the argument {name} of {type}", allowed_of(argument), kwargs)
            for name, argument in arguments.items()
            if argument.get("required") and name not in kwargs
        ),
        *(
            Mistake(("kwargs", name), f"{name} {reason}", allowed_of(arguments[name]), value)
            for name, value in kwargs.items()
            if name in arguments
            if (reason := wrong(value, arguments[name]))
        ),
    ]
    return found or list(_together(type, arguments, kwargs))


_MORE = "an expectation of docs/quality-expectations.md"


def _unknown(type: str, name: str, value: Any, arguments: Mapping[str, Any]) -> Mistake:
    if name in _USELESS:
        message = f"{name} is no argument in a gate: {_USELESS[name]}"
    else:
        message = f"{type} has no argument {name}{near(name, arguments)}"
    return Mistake(("kwargs", name), message, ", ".join(arguments), value)


def _together(type: str, arguments: Mapping[str, Any], kwargs: Mapping[str, Any]) -> Iterator[Mistake]:
    """Yield what is wrong with arguments that are good each by itself."""
    for least, most in (("min_value", "max_value"), ("min_ratio", "max_ratio")):
        if least not in arguments:
            continue
        low = kwargs.get(least, arguments[least].get("default"))
        high = kwargs.get(most, arguments[most].get("default"))
        if low is None and high is None:
            if "partition_object" not in arguments:
                yield Mistake(("kwargs",), f"{type} asks nothing", f"{least}, {most} or both", kwargs)
            continue
        if low is None or high is None:
            continue
        path = ("kwargs", most if most in kwargs else least)
        if isinstance(low, str) != isinstance(high, str):
            yield Mistake(path, f"{least} and {most} are a time and a number", "two of the same kind", high)
        elif order(low) > order(high):
            yield Mistake(path, f"{least} {low} is greater than {most} {high}", f"{least} up to {most}", high)
        elif order(low) == order(high) and (kwargs.get("strict_min") or kwargs.get("strict_max")):
            yield Mistake(
                path, f"nothing is strictly between {low} and {high}", f"{least} less than {most}", high
            )
    if "proportion" in type:
        for name in ("min_value", "max_value"):
            bound = kwargs.get(name)
            if bound is not None and not 0 <= bound <= 1:
                yield Mistake(("kwargs", name), f"{name} is a proportion", "a number from 0 to 1", bound)

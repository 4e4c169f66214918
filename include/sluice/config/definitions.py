"""A behavioural cohort without SQL: a tree of tests of what a user did, had, or when it was first seen."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, model_validator

from sluice.config.fields import Instant, Text
from sluice.config.filters import Clause, Condition
from sluice.config.model import ConfigModel, setting
from sluice.config.projects import OneOrMore

MAX_LEVELS = 4
MAX_TESTS = 50

Days = Annotated[int, Field(ge=1, le=3_660)]
Where = Annotated[tuple[Clause, ...], Field(strict=False)]

_DAYS_RULE = "a whole number of days from 1 to 3660"
_WHERE_RULE = "a list of conditions as in the filter of an export"
_BRANCHES = ("all", "any", "not_", "did", "did_not", "had", "first_seen")
_BRANCH_NAMES = ", ".join(name.rstrip("_") for name in _BRANCHES)


class Did(ConfigModel):
    """Did an event at least so many times in the last days before the as-of time."""

    event: Text = setting(allowed="an event type", meaning="The event type that is counted.")
    at_least: Annotated[int, Field(ge=1, le=1_000_000)] = setting(
        1, allowed="a whole number from 1 to 1000000", meaning="How many such events it takes."
    )
    last_days: Days = setting(
        allowed=_DAYS_RULE, meaning="How many days (of 24 hours) before the as-of time are looked at."
    )
    where: Where = setting(
        (), allowed=_WHERE_RULE, meaning="Conditions that each counted event fulfils, all of them."
    )


class DidNot(ConfigModel):
    """Did no such event in the last days before the as-of time."""

    event: Text = setting(allowed="an event type", meaning="The event type that is missing.")
    last_days: Days = setting(
        allowed=_DAYS_RULE, meaning="How many days (of 24 hours) before the as-of time are looked at."
    )
    where: Where = setting(
        (), allowed=_WHERE_RULE, meaning="Only events that fulfil all of these conditions are looked for."
    )


class Had(Condition):
    """Had an event in the last days that fulfils one condition, for instance a property with a value."""

    last_days: Days = setting(
        allowed=_DAYS_RULE, meaning="How many days (of 24 hours) before the as-of time are looked at."
    )


class FirstSeen(ConfigModel):
    """Had the first event in a period: `from` belongs to it, `to` no more."""

    from_: Instant | None = setting(
        None,
        allowed="a time such as 2013-01-01T00:00:00Z",
        meaning="The first instant of the period.",
        alias="from",
    )
    to: Instant | None = setting(
        None,
        allowed="a time such as 2013-02-01T00:00:00Z",
        meaning="The instant at which the period is over.",
    )

    @model_validator(mode="after")
    def _a_period(self) -> Self:
        if self.from_ is None and self.to is None:
            raise ValueError("names neither from nor to")
        if self.from_ is not None and self.to is not None and self.from_ >= self.to:
            raise ValueError(f"ends at {_shown(self.to)}, not after it begins at {_shown(self.from_)}")
        return self


class Definition(ConfigModel):
    """One node of the tree: exactly one of its keys."""

    all: Annotated[tuple[Definition, ...], Field(strict=False), OneOrMore] | None = setting(
        None, allowed="a list of definitions", meaning="All of these hold."
    )
    any: Annotated[tuple[Definition, ...], Field(strict=False), OneOrMore] | None = setting(
        None, allowed="a list of definitions", meaning="At least one of these holds."
    )
    not_: Definition | None = setting(
        None, allowed="a definition", meaning="This does not hold.", alias="not"
    )
    did: Did | None = setting(
        None,
        allowed="event, at_least, last_days, where",
        meaning="Did the event so many times in the last days.",
    )
    did_not: DidNot | None = setting(
        None, allowed="event, last_days, where", meaning="Did no such event in the last days."
    )
    had: Had | None = setting(
        None,
        allowed="a condition as in the filter of an export, and last_days",
        meaning="Had an event in the last days that fulfils the condition.",
    )
    first_seen: FirstSeen | None = setting(
        None, allowed="from, to", meaning="Had the first of all events in the period."
    )

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        named = [name for name in _BRANCHES if getattr(self, name) is not None]
        if len(named) != 1:
            raise ValueError(f"takes exactly one of {_BRANCH_NAMES}, not {len(named)}")
        return self

    @property
    def children(self) -> tuple[Definition, ...]:
        """The nodes right below it."""
        if self.not_ is not None:
            return (self.not_,)
        return self.all or self.any or ()

    @property
    def levels(self) -> int:
        """How many groups (all, any, not) stand one in the other."""
        inner = max((child.levels for child in self.children), default=0)
        return inner + 1 if self.children else 0

    def tests(self) -> Iterator[Definition]:
        """Yield the nodes that are tests (did, did_not, had, first_seen), in their order."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.tests()


def within_limits(definition: Definition | None) -> Definition | None:
    """Return a whole tree. Raises ValueError if it is deeper or larger than a query should be."""
    if definition is None:
        return None
    if definition.levels > MAX_LEVELS:
        raise ValueError(
            f"{definition.levels} groups (all, any, not) one in the other, at most {MAX_LEVELS} are read:"
            " draw them together, or write the cohort as sql"
        )
    count = sum(1 for _ in definition.tests())
    if count > MAX_TESTS:
        raise ValueError(f"{count} tests, at most {MAX_TESTS} are read: write the cohort as sql")
    return definition


def _shown(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")

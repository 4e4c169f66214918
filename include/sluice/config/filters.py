"""The filter of an export: which events leave (amplitude-spec 1.1, decisions E-16)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from sluice.config.fields import Text
from sluice.config.model import ConfigModel, setting
from sluice.config.projects import OneOrMore
from sluice.event_columns import EVENT_COLUMNS, Kind

Scalar = str | int | float | bool
Names = Annotated[tuple[Text, ...], Field(strict=False), OneOrMore]
Subject = Literal["column", "event_property", "user_property", "group_property"]

SUBJECTS: tuple[Subject, ...] = ("column", "event_property", "user_property", "group_property")
OPERATORS = ("equals", "in", "contains", "exists", "greater", "less", "matches")

# What a column of each kind can be asked.
_ASKED: dict[Kind, tuple[str, ...]] = {
    "text": OPERATORS,
    "integer": ("equals", "in", "exists", "greater", "less"),
    "decimal": ("equals", "in", "exists", "greater", "less"),
    "boolean": ("equals", "exists"),
    "time": ("equals", "exists", "greater", "less"),
    "json": ("exists",),
}


def _path(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Path = Annotated[Names, BeforeValidator(_path)]


class Test(NamedTuple):
    """One condition, taken apart: what is looked at, by which operator, against which value."""

    subject: Subject
    path: tuple[str, ...]
    operator: str
    value: Any
    negated: bool


class Condition(ConfigModel):
    """One condition: exactly one subject, exactly one operator.

    What an event does not have fulfils no operator, and every negated one.
    """

    column: Text | None = setting(
        None, allowed="a key of an exported event", meaning="The column that is looked at."
    )
    event_property: Path | None = setting(
        None,
        allowed="the name of a property; a list of names for one inside another",
        meaning="The event property that is looked at.",
    )
    user_property: Path | None = setting(
        None,
        allowed="the name of a property; a list of names for one inside another",
        meaning="The user property that is looked at.",
    )
    group_property: Path | None = setting(
        None,
        allowed="the name of a property; a list of names for one inside another",
        meaning="The group property that is looked at.",
    )
    equals: Scalar | None = setting(
        None, allowed="a text, a number, true or false", meaning="It has this value, of the same type."
    )
    in_: Annotated[tuple[Scalar, ...], Field(strict=False), OneOrMore] | None = setting(
        None, allowed="a list of values", meaning="It has one of these values.", alias="in"
    )
    contains: Scalar | None = setting(
        None,
        allowed="a text, a number, true or false",
        meaning="The text holds this text, or the list this value.",
    )
    exists: Literal[True] | None = setting(None, allowed="true", meaning="It is there, and not null.")
    greater: float | int | str | None = setting(
        None, allowed="a number, a text or a time", meaning="It is greater than this value of the same type."
    )
    less: float | int | str | None = setting(
        None, allowed="a number, a text or a time", meaning="It is less than this value of the same type."
    )
    matches: Text | None = setting(
        None, allowed="a regular expression (RE2)", meaning="The expression is found in the text."
    )
    not_: bool = setting(
        False, allowed="true or false", meaning="Whether the condition is turned round.", alias="not"
    )

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        subjects = [name for name in SUBJECTS if getattr(self, name) is not None]
        if len(subjects) != 1:
            raise ValueError(
                f"a condition looks at exactly one of {', '.join(SUBJECTS)}, not {len(subjects)}"
            )
        operators = [name for name in OPERATORS if self._operand(name) is not None]
        if len(operators) != 1:
            raise ValueError(f"a condition has exactly one of {', '.join(OPERATORS)}, not {len(operators)}")
        _check(self.test)
        return self

    def _operand(self, operator: str) -> Any:
        return self.in_ if operator == "in" else getattr(self, operator)

    @property
    def test(self) -> Test:
        """The condition, taken apart."""
        subject = next(name for name in SUBJECTS if getattr(self, name) is not None)
        operator = next(name for name in OPERATORS if self._operand(name) is not None)
        path = (self.column,) if self.column is not None else getattr(self, subject)
        return Test(subject, path, operator, self._operand(operator), self.not_)


class AnyOf(ConfigModel):
    """Conditions of which at least one must hold."""

    any: Annotated[tuple[Condition, ...], Field(strict=False), OneOrMore] = setting(
        allowed="a list of conditions", meaning="Conditions of which at least one must hold."
    )


def _clause(value: Any) -> str:
    return "any" if isinstance(value, AnyOf) or (isinstance(value, dict) and "any" in value) else "one"


Clause = Annotated[Annotated[AnyOf, Tag("any")] | Annotated[Condition, Tag("one")], Discriminator(_clause)]


class EventTypes(ConfigModel):
    """Event types to take, or to leave out."""

    include: Names | None = setting(
        None, allowed="a list of event types", meaning="Only events of these types leave."
    )
    exclude: Names | None = setting(
        None, allowed="a list of event types", meaning="Events of these types stay."
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.include is None and self.exclude is None:
            raise ValueError("names neither include nor exclude")
        both = set(self.include or ()) & set(self.exclude or ())
        if both:
            raise ValueError(f"includes and excludes {', '.join(sorted(both))}")
        return self


class FilterConfig(ConfigModel):
    """Which events of an hour are exported: event types, and conditions all of which must hold."""

    event_types: EventTypes | None = setting(
        None, allowed="include or exclude, each a list of event types", meaning="Which types of events leave."
    )
    where: Annotated[tuple[Clause, ...], Field(strict=False)] = setting(
        (),
        allowed="a list of conditions, or of `any:` with a list of conditions",
        default_text="none",
        meaning="Conditions all of which must hold.",
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.event_types is None and not self.where:
            raise ValueError("a filter names event_types, or conditions under where")
        return self

    @property
    def clauses(self) -> tuple[tuple[Test, ...], ...]:
        """The whole filter as an AND of ORs, event types included."""
        types = self.event_types or EventTypes.model_construct(include=None, exclude=None)
        clauses: list[tuple[Test, ...]] = []
        if types.include:
            clauses.append((Test("column", ("event_type",), "in", types.include, False),))
        if types.exclude:
            clauses.append((Test("column", ("event_type",), "in", types.exclude, True),))
        return (*clauses, *clauses_of(self.where))


def clauses_of(where: Iterable[Clause]) -> tuple[tuple[Test, ...], ...]:
    """Return conditions as an AND of ORs of their tests."""
    choices = (clause.any if isinstance(clause, AnyOf) else (clause,) for clause in where)
    return tuple(tuple(condition.test for condition in conditions) for conditions in choices)


def _check(test: Test) -> None:
    """Raise ValueError if the subject cannot be asked this, or not with this value."""
    if test.operator == "matches":
        _check_pattern(test.value)
    if test.subject != "column":
        return
    name = test.path[0]
    kind = EVENT_COLUMNS.get(name)
    if kind is None:
        raise ValueError(f"there is no column {name}")
    if test.operator not in _ASKED[kind]:
        hint = "; look at one of its properties instead" if kind == "json" else ""
        raise ValueError(f"{name} holds {kind}, which takes {', '.join(_ASKED[kind])}{hint}")
    values = test.value if test.operator == "in" else () if test.operator == "exists" else (test.value,)
    for value in values:
        _check_value(name, kind, value)


def _check_value(name: str, kind: Kind, value: Any) -> None:
    fits = {
        "text": isinstance(value, str),
        "integer": isinstance(value, int | float) and not isinstance(value, bool),
        "decimal": isinstance(value, int | float) and not isinstance(value, bool),
        "boolean": isinstance(value, bool),
        "time": isinstance(value, str) and _is_instant(value),
    }[kind]
    if not fits:
        example = ", such as 2013-01-02T12:00:00Z" if kind == "time" else ""
        raise ValueError(f"{name} holds {kind}{example}, and is compared with {value!r}")


def _is_instant(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _check_pattern(pattern: str) -> None:
    # What RE2 lacks is refused here already: it answers in a time that is linear in the text, always.
    plain = re.sub(r"\\[^1-9]", "", pattern)
    if re.search(r"\(\?(<?[=!]|>|P=|\()|\\[1-9]|[*+?}]\+", plain):
        raise ValueError(
            f"{pattern!r} uses what RE2 does not know: look-around, back-references, possessives"
        )
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error

"""From a source description to a closure, with every problem of the configuration found on the way."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from sluice.converter import arithmetic, logic, structure, text, times
from sluice.converter.grammar import Kind, Operator, Refusal, json_key
from sluice.converter.jsontext import fault, show
from sluice.converter.limits import MAX_OPERATORS, MAX_SOURCE_DEPTH, MAX_SOURCES
from sluice.converter.outcomes import MISSING, Json, Problem, Source

OPERATORS: Final[tuple[Operator, ...]] = (
    *structure.OPERATORS,
    *text.OPERATORS,
    *times.OPERATORS,
    *logic.OPERATORS,
    *arithmetic.OPERATORS,
)
"""All operators of the language, by family."""

BY_NAME: Final[dict[str, Operator]] = {
    name: operator for operator in OPERATORS for name in (operator.name, *operator.aliases)
}
"""Operators by name and alias."""

_NAMES: Final = " ".join(operator.name for operator in OPERATORS)
_SOURCE_KINDS: Final = {Kind.SOURCE, Kind.BOOLEAN_SOURCE, Kind.INTEGER_SOURCE}
_ALLOWED_SOURCES: Final = 'a string (a field), a list ["operator", …] or an object'


@dataclass
class Usage:
    """What a compiled configuration uses."""

    operators: Counter[str] = field(default_factory=Counter)
    fields: dict[str, None] = field(default_factory=dict)
    """Keys of the row that are read, in order of appearance."""
    whole_row: bool = False
    """The row itself is used, as with ["exclude_keys", ["path"], …]."""
    clock: bool = False


class TooLarge(Exception):
    """The configuration exceeds a stated limit; nothing more of it is read."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Give "; did you mean …?" for the nearest known name, or nothing."""
    names = list(known)
    near = difflib.get_close_matches(name[:100], names, n=1, cutoff=0.6)
    if not near:
        folded = {candidate.casefold(): candidate for candidate in names}
        near = [folded[name.casefold()]] if name.casefold() in folded else []
    return f'; did you mean "{near[0]}"?' if near else ""


def no_value(element: Json, clock: int) -> Json:
    """Stand in for a source that could not be compiled; it is never evaluated."""
    return MISSING


class Compiler:
    """Compiles one configuration. `problems` and `usage` grow with each call of `source`."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.usage = Usage()
        self._sources = 0

    def problem(self, pointer: str, operator: str, message: str) -> None:
        """Note one problem."""
        self.problems.append(Problem(pointer, operator, message))

    def source(self, description: Json, pointer: str, depth: int = 0, *, at_row: bool = True) -> Source:
        """Compile a source description; `at_row` says whether its element is the row itself."""
        self._sources += 1
        if self._sources > MAX_SOURCES:
            self.problem(pointer, "", f"the configuration has more than {MAX_SOURCES:,} sources")
            raise TooLarge
        if depth > MAX_SOURCE_DEPTH:
            self.problem(pointer, "", f"sources are nested deeper than {MAX_SOURCE_DEPTH} levels")
            return no_value
        if isinstance(description, str):
            if at_row:
                self.usage.fields[description] = None
            return structure.basic_path(description)
        if isinstance(description, dict):
            return structure.build_object(self.members(description, pointer, depth, at_row=at_row).items())
        if isinstance(description, list):
            return self.operator(description, pointer, depth, at_row)
        scalar = description is None or isinstance(description, (bool, int, float))
        hint = '; a static value is written ["value", …]' if scalar else ""
        found = f"found {show(description)} where a source is needed"
        self.problem(pointer, "", f"{found}: {_ALLOWED_SOURCES}{hint}")
        return no_value

    def members(
        self, description: dict[str, Json], pointer: str, depth: int = 0, *, at_row: bool = True
    ) -> dict[str, Source]:
        """Compile the members of a JSON object."""
        compiled: dict[str, Source] = {}
        for key, value in description.items():
            place = f"{pointer}/{json_key(key)}"
            if not isinstance(key, str):
                self.problem(place, "", f"found {show(key)} as a key of an object; keys are strings")
            compiled[key] = self.source(value, place, depth + 1, at_row=at_row)
        return compiled

    def operator(self, description: list[Json], pointer: str, depth: int, at_row: bool) -> Source:
        """Compile a list operator."""
        if not description or not isinstance(description[0], str):
            found = show(description[0]) + " as its first item" if description else "an empty list"
            self.problem(
                pointer,
                "",
                f'found {found}; a list is ["operator", argument…] and its first item names the '
                'operator; for a static list write ["value", […]]',
            )
            return no_value
        name, *arguments = description
        operator = BY_NAME.get(name)
        if operator is None:
            self.problem(
                f"{pointer}/0",
                name[:100],
                f"unknown operator{suggestion(name, BY_NAME) or f'; allowed are {_NAMES}'}",
            )
            self.blind(arguments, pointer, depth, at_row)
            return no_value
        self.usage.operators[operator.name] += 1
        if self.usage.operators.total() > MAX_OPERATORS:
            self.problem(pointer, name, f"the configuration has more than {MAX_OPERATORS:,} operators")
            raise TooLarge
        self.usage.clock |= operator.uses_clock
        self.usage.whole_row |= at_row and operator.name == "path" and not arguments
        kinds = operator.kinds(len(arguments))
        if kinds is None:
            self.problem(
                pointer,
                name,
                f"found {len(arguments)} argument{'s' if len(arguments) != 1 else ''}; "
                f"the signature is {operator.signature}",
            )
            self.blind(arguments, pointer, depth, at_row)
            return no_value
        before = len(self.problems)
        compiled = []
        for index, (kind, argument) in enumerate(zip(kinds, arguments, strict=True), start=1):
            # Only the first step of a path is evaluated on the row.
            here = at_row and not (operator.name == "path" and index > 1)
            compiled.append(self.argument(kind, argument, f"{pointer}/{index}", name, depth, here))
        if len(self.problems) > before:
            return no_value
        try:
            return operator.build(*compiled)
        except Refusal as refusal:
            self.problem(f"{pointer}/{refusal.index}" if refusal.index else pointer, name, str(refusal))
            return no_value

    def blind(self, arguments: list[Json], pointer: str, depth: int, at_row: bool) -> None:
        """Look for problems in the arguments of an operator whose kinds are unknown: only lists can be
        sources.
        """
        for index, argument in enumerate(arguments, start=1):
            if isinstance(argument, (list, dict)) and argument:
                self.source(argument, f"{pointer}/{index}", depth + 1, at_row=at_row)

    def argument(self, kind: Kind, argument: Json, pointer: str, name: str, depth: int, at_row: bool) -> Any:
        """Check one argument and compile it if it is a source."""
        if kind is Kind.INTEGER_SOURCE and isinstance(argument, int) and not isinstance(argument, bool):
            self.literal(argument, pointer, name)
            return arithmetic.build_int(argument)
        if kind in _SOURCE_KINDS:
            return self.source(argument, pointer, depth + 1, at_row=at_row)
        if kind is Kind.RAW_BOOLEAN:
            if not isinstance(argument, bool):
                self.problem(
                    pointer, name, f"found {show(argument)}; allowed are true and false, without quotes"
                )
        elif kind is Kind.RAW_INTEGER:
            if not isinstance(argument, int) or isinstance(argument, bool):
                self.problem(
                    pointer,
                    name,
                    f"found {show(argument)}; allowed is an integer, without quotes or fraction",
                )
            else:
                self.literal(argument, pointer, name)
        elif kind is Kind.RAW_JSON:
            self.literal(argument, pointer, name)
        elif not isinstance(argument, str):
            self.problem(pointer, name, f"found {show(argument)}; allowed is a literal string")
        elif kind is Kind.SEPARATOR and not argument:
            self.problem(pointer, name, "found the empty string; a separator has at least one character")
        return argument

    def literal(self, argument: Any, pointer: str, name: str) -> None:
        """Check that a literal is JSON within the limits."""
        if (reason := fault(argument, shared=False)) is not None:
            self.problem(pointer, name, reason)

"""What an operator's signature says: the kinds of arguments, and how one operator is described."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sluice.converter.outcomes import Json, Source


class Kind(enum.Enum):
    """The kind of one argument, named as in the signatures of amplitude-spec 5.3 to 5.5."""

    SOURCE = "SOURCE"
    BOOLEAN_SOURCE = "BOOLEAN_SOURCE"
    INTEGER_SOURCE = "INTEGER_SOURCE"
    """A source that gives an integer; a plain JSON integer is accepted too (decisions D-13)."""
    RAW_STRING = "RAW_STRING"
    SEPARATOR = "SEPARATOR"
    """A raw string that is not empty."""
    REGEX = "REGEX"
    """A raw string: a Java 7 regular expression."""
    TIME_PATTERN = "TIME_PATTERN"
    """A raw string: a pattern of java.time.format.DateTimeFormatter."""
    RAW_JSON = "RAW_JSON"
    RAW_BOOLEAN = "RAW_BOOLEAN"
    RAW_INTEGER = "RAW_INTEGER"


class Refusal(ValueError):
    """An operator refuses its arguments; `index` is the argument's place in the list, 0 for the whole."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


@dataclass(frozen=True)
class Example:
    """One runnable example: evaluating `source` on `element` gives `result`, or no value."""

    source: Json
    element: Json
    result: Json = None
    no_value: bool = False
    clock_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One list operator: its signature, its meaning for the reference page, and how it is compiled.

    `build` gets the compiled arguments: sources for the source kinds, the checked literal or what was made of
    it for the raw kinds.
    """

    name: str
    aliases: tuple[str, ...] = ()
    arguments: tuple[Kind, ...] = ()
    repeated: tuple[Kind, ...] = ()
    summary: str
    rules: str
    origin: str
    examples: tuple[Example, ...]
    build: Callable[..., Source]
    uses_clock: bool = False

    @property
    def signature(self) -> str:
        """The signature as the reference prints it: everything behind `|` is a group to repeat."""
        parts = [f'"{self.name}"', *(kind.value for kind in self.arguments)]
        if self.repeated:
            parts.append("| " + ", ".join(kind.value for kind in self.repeated) + "…")
        return "[" + ", ".join(parts) + "]"

    def kinds(self, count: int) -> tuple[Kind, ...] | None:
        """Give the kind of each of `count` arguments, or None if the signature has no such count."""
        extra = count - len(self.arguments)
        if extra < 0 or (extra and not self.repeated) or (self.repeated and extra % len(self.repeated)):
            return None
        return self.arguments + self.repeated * (extra // len(self.repeated) if self.repeated else 0)


def json_key(key: Any) -> str:
    """Escape one reference token of a JSON pointer (RFC 6901)."""
    return str(key).replace("~", "~0").replace("/", "~1")

"""The outcomes of the converter language: a value, no value, an error of one row, an error of the
configuration.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from sluice.errors import SluiceError

Json = Any
"""A JSON value: None, bool, int, float, str, list, or dict with string keys."""


class Absence(enum.Enum):
    """The type of `MISSING`, an enumeration of one so that it cannot be mistaken for a JSON value."""

    MISSING = "no value"


MISSING: Final = Absence.MISSING
"""What a compiled source returns for *no value* (decisions D-01): cheaper than an exception for each absent
field.
"""

Source = Callable[[Json, int], Json]
"""A compiled source: (current element, clock in epoch milliseconds) -> JSON value or `MISSING`."""

Column = Callable[[Sequence[Json], int], list[Json]]
"""The same for many elements at once; raises what the source raises on any of them."""


def with_column(source: Source, column: Column) -> Source:
    """Give a source its own way of evaluating many elements, which `column_of` finds."""
    source.column = column  # type: ignore[attr-defined]
    return source


def column_of(source: Source) -> Column:
    """Return what evaluates a source on many elements: its own `column`, which spares calls, or itself."""
    own: Column | None = getattr(source, "column", None)
    return own or (lambda elements, clock: [source(element, clock) for element in elements])


class NoValue(SluiceError):
    """A source gave no value: the field it should fill is left out (decisions D-01)."""


class RowError(SluiceError):
    """One row cannot become an event; the rest of the file can.

    `field` is the target field that was being filled, "" for the event as a whole; `reason` is one sentence.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}" if self.field else self.reason


class Problem(NamedTuple):
    """One error in a configuration: where (JSON pointer, RFC 6901), in which operator ("" for none), and
    what.
    """

    pointer: str
    operator: str
    message: str

    def __str__(self) -> str:
        place = f"{self.pointer or '(root)'}: "
        return f"{place}{self.operator}: {self.message}" if self.operator else place + self.message


SHOWN_PROBLEMS = 20


class ConfigError(SluiceError):
    """A configuration that cannot be compiled; `problems` lists every error in it, not only the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        lines = [f"{count} problem{'s' if count != 1 else ''} in the converter configuration"]
        lines += [f"  {problem}" for problem in self.problems[:SHOWN_PROBLEMS]]
        if count > SHOWN_PROBLEMS:
            lines.append(f"  … and {count - SHOWN_PROBLEMS} more")
        return "\n".join(lines)

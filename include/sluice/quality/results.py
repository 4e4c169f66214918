"""What an expectation asks, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["critical", "warning"]

# As many failing values as a result shows, where values may be shown, and as much of each, in characters.
MAX_VALUES = 20
MAX_VALUE_LENGTH = 200

# exact: an aggregate over all rows; sample: row by row over a sample; reconciliation: two counts or sets that
# must be the same; history: a number beside those of earlier runs.
Method = Literal["exact", "sample", "reconciliation", "history"]


@dataclass(frozen=True)
class Expectation:
    """One expectation: its name and arguments are those of Great Expectations, or one of Sluice's own."""

    type: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity = "critical"
    notes: str = ""
    # Whether it stands in the configuration, or every gate of its kind has it.
    configured: bool = False

    def __str__(self) -> str:
        return f"{self.type}({', '.join(f'{name}={value!r}' for name, value in self.kwargs.items())})"


@dataclass(frozen=True)
class Result:
    """What came of one expectation.

    `checked` is the number of rows that were looked at, `unexpected` of those that failed, None where it is
    not about single rows. `observed` is a number, as text, that is no value of a row, unless the suite shows
    values; `values` are failing values, only then. `error` says why it could not be evaluated: then it
    neither passed nor failed.
    """

    expectation: Expectation
    success: bool
    method: Method
    checked: int = 0
    unexpected: int | None = None
    observed: str | None = None
    values: tuple[str, ...] = ()
    error: str | None = None

    @property
    def stops(self) -> bool:
        """Whether it stops the gate: a critical failure, or an error, which says nothing about the data."""
        return self.error is not None or (not self.success and self.expectation.severity == "critical")

    @property
    def warns(self) -> bool:
        """Whether it is a failure that lets the data pass."""
        return not self.success and not self.stops

    def __str__(self) -> str:
        if self.error is not None:
            return f"{self.expectation} could not be evaluated: {self.error}"
        if self.success:
            return f"{self.expectation} holds"
        said = []
        if self.unexpected is not None:
            said.append(f"{self.unexpected:,} of {self.checked:,} rows fail")
        if self.observed is not None:
            said.append(f"observed {self.observed}")
        how = "all rows" if self.method == "exact" else self.method
        return f"{self.expectation} failed: {'; '.join(said) or 'it does not hold'} ({how})"

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON types, for the ledger and the report."""
        return asdict(self) | {"values": list(self.values)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Result:
        """Build a result from what to_json gave."""
        return cls(
            **{
                **value,
                "expectation": Expectation(**value["expectation"]),
                "values": tuple(value["values"]),
            }
        )


def enough(kwargs: Mapping[str, Any], considered: int, unexpected: int) -> bool:
    """Whether enough of the rows that count are as expected: all, or the share that `mostly` asks for."""
    mostly = kwargs.get("mostly")
    return not considered or (considered - unexpected) / considered >= (1 if mostly is None else mostly)


def stopping(results: Iterable[Result]) -> list[Result]:
    """Return the results that stop a gate."""
    return [result for result in results if result.stops]


def warning(results: Iterable[Result]) -> list[Result]:
    """Return the results that are shown and let the data pass."""
    return [result for result in results if result.warns]


def sentence(results: Sequence[Result]) -> str:
    """Say in one line how many expectations held, failed, warned or could not be evaluated."""
    errors = sum(result.error is not None for result in results)
    parts = [
        f"{sum(result.success for result in results)} of {len(results)} expectations hold",
        f"{len(stopping(results)) - errors} critical failed" if len(stopping(results)) > errors else "",
        f"{errors} could not be evaluated" if errors else "",
        f"{len(warning(results))} warn" if warning(results) else "",
    ]
    return ", ".join(part for part in parts if part)

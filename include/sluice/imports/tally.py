"""What became of a file's rows, in counts that can be added up over blocks and processes."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from sluice.imports.values import printable

_SHOWN_REASONS = 5
_MAX_NAMES = 1000
_OTHERS = "(others)"
# Quoted texts, long numbers and places in a text are the row's own.
_OWN_VALUES = re.compile(r'"[^"]*"?|\'[^\']*\'|-?\d{4,}|(?<=column )\d+|(?<=position )\d+')


@dataclass
class Tally:
    """What became of rows, in counts that can be added up.

    `hours` are those of the events since 1970, if the source's upload time is the event's.
    """

    read: int = 0
    ignored: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    ignored_fields: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    unplanned: Counter[str] = field(default_factory=Counter)
    hours: set[int] = field(default_factory=set)

    @property
    def rejected_share(self) -> float:
        """The share of the rows that were rejected; 0 for a file without rows."""
        return self.rejected / self.read if self.read else 0.0

    def dominating(self) -> str:
        """Name the commonest reasons with their numbers of rows."""
        return "; ".join(
            f"{count:,} × {reason}" for reason, count in self.reasons.most_common(_SHOWN_REASONS)
        )

    def reject(self, field: str | None, reason: str) -> None:
        """Count a rejected row; rows with the same fault count together, whatever their own values."""
        self.rejected += 1
        kind = _OWN_VALUES.sub("…", reason)
        count_bounded(self.reasons, f"{field}: {kind}" if field else kind)

    def add(self, other: Tally) -> None:
        """Add the counts of rows that come after these."""
        self.read += other.read
        self.ignored += other.ignored
        self.rejected += other.rejected
        for mine, others in (
            (self.reasons, other.reasons),
            (self.ignored_fields, other.ignored_fields),
            (self.notes, other.notes),
            (self.unplanned, other.unplanned),
        ):
            for name, count in others.items():
                mine[_bounded(mine, name)] += count
        self.hours |= other.hours


def count_bounded(counter: Counter[str], name: str, count: int = 1) -> None:
    """Count a name that comes from the data: beyond 1,000 names they count together, so memory stays flat."""
    counter[_bounded(counter, printable(name[:200]))] += count


def _bounded(counter: Counter[str], name: str) -> str:
    return name if name in counter or len(counter) < _MAX_NAMES else _OTHERS

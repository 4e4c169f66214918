"""A bounded sample of rows that stands for all of them, and the frame in which they are looked at.

The rows are picked by their positions while they stream by: one out of each of many equal strata, so that no
stretch of an hour or of a file goes unseen. The same rows in the same order and the same seed give the same
sample, however they are cut into batches.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sluice.quality.results import Expectation

if TYPE_CHECKING:
    import pandas as pd

# The column of a frame with the group of each row.
GROUP = "$group"

Positions = npt.NDArray[np.int64]


class RowPicker:
    """Picks at most `sample_rows` of the rows that stream by, one out of each stratum of their positions.

    With `total_rows` the strata are `sample_rows` equal ones, and what is picked stays. Without it they grow
    twice as wide whenever there are too many: then some of what was picked has to go again, see `kept`, and
    between half of `sample_rows` and all of it remain.
    """

    def __init__(self, total_rows: int | None, sample_rows: int, seed: str) -> None:
        self._total = total_rows
        self._most = sample_rows
        self._seed = int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=8).digest(), "little")
        # Without a total: the width of a stratum as a power of two, and what is picked so far.
        self._level = 0
        self._picked: Positions = np.empty(0, np.int64)

    def pick(self, start: int, count: int) -> Positions:
        """Return the places within a batch, whose first row has position `start`, of the rows to take.

        Each batch follows on the one before. A row that is not taken is never asked for again.
        """
        if self._most <= 0 or count <= 0:
            return np.empty(0, np.int64)
        if self._total is not None:
            chosen = self._within(start, start + count)
        else:
            chosen = self._growing(start, start + count)
            self._picked = np.concatenate([self._picked, chosen])
            self._thin()
            # Those of this batch that are still wanted after it.
            chosen = self._picked[self._picked >= start]
        return chosen - start

    def kept(self, positions: Sequence[int]) -> list[bool]:
        """Say which of the rows taken so far, by their positions in the stream, are in the sample now."""
        if self._total is not None:
            return [True] * len(positions)
        wanted = set(self._picked.tolist())
        return [position in wanted for position in positions]

    def _within(self, first: int, end: int) -> Positions:
        """Return the positions, between two, that are picked out of a known number of rows."""
        total = self._total or 0
        end = min(end, total)
        if total <= self._most:
            return np.arange(first, max(first, end), dtype=np.int64)
        if first >= end:
            return np.empty(0, np.int64)
        # Stratum n holds the positions from n * total // strata.
        strata = np.arange(first * self._most // total, (end - 1) * self._most // total + 1, dtype=np.int64)
        starts = -(-strata * total // self._most)
        widths = -(-(strata + 1) * total // self._most) - starts
        chosen = starts + (self._random(strata, 0) % widths.astype(np.uint64)).astype(np.int64)
        return chosen[(chosen >= first) & (chosen < end)]

    def _growing(self, first: int, end: int) -> Positions:
        """Return the positions that are picked at the width that strata have now."""
        strata = np.arange(first >> self._level, ((end - 1) >> self._level) + 1, dtype=np.int64)
        chosen = strata
        for level in range(self._level, 0, -1):
            chosen = self._half(chosen, level)
        return chosen[(chosen >= first) & (chosen < end)]

    def _thin(self) -> None:
        """Make strata wider until the picked rows are few enough."""
        while len(self._picked) > self._most:
            self._level += 1
            wider = self._picked >> self._level
            half = (self._picked >> (self._level - 1)) & 1
            lucky = self._half(wider, self._level) & 1
            self._picked = self._picked[half == lucky]

    def _half(self, strata: Positions, level: int) -> Positions:
        """Return which stratum, of those half as wide, speaks for each stratum of this level."""
        return strata * 2 + (self._random(strata, level) & np.uint64(1)).astype(np.int64)

    def _random(self, numbers: Positions, level: int) -> npt.NDArray[np.uint64]:
        """Return a number without pattern for each number: splitmix64's last step, with the seed."""
        with np.errstate(over="ignore"):
            mixed = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(self._seed)
            mixed += np.uint64(level) * np.uint64(0xD1B54A32D192ED03)
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            return mixed ^ (mixed >> np.uint64(31))


def columns_of(expectation: Expectation) -> list[str]:
    """Return the columns that an expectation looks at, dotted properties among them."""
    kwargs = expectation.kwargs
    named = [kwargs[name] for name in ("column", "column_A", "column_B") if name in kwargs]
    return [str(name) for name in [*named, *(kwargs.get("column_list") or [])]]


def frame_of(
    records: Iterable[Mapping[str, Any]],
    expectations: Iterable[Expectation],
    columns: Iterable[str] = (),
    groups: Sequence[Hashable] | None = None,
) -> pd.DataFrame:
    """Make a frame of the columns that the expectations look at, and of `columns` besides.

    A dotted name is a property: a member of the object, or of its JSON text, that the record has by the name
    before the first dot. What is missing or null becomes None, and so does a property of what is no object.
    Columns hold the values as they are, each with its own type; only times get a type of their own. `groups`
    has the group of each record.
    """
    import pandas as pd

    names = dict.fromkeys(name for each in expectations for name in columns_of(each))
    names |= dict.fromkeys(columns)
    rows = list(records)
    frame = pd.DataFrame({name: _series([value_of(row, name) for row in rows]) for name in names})
    if not names:
        frame = pd.DataFrame(index=range(len(rows)))
    if groups is not None:
        frame[GROUP] = pd.Series(list(groups), dtype=object)
    return frame


def value_of(record: Mapping[str, Any], name: str) -> Any:
    """Return a record's value by its column's name, a property by its dotted one; None if there is none."""
    if name in record or "." not in name:
        return record.get(name)
    column, key = name.split(".", 1)
    found = record.get(column)
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except ValueError:
            # A text that was parsed already: there are no properties in it.
            return None
    return found.get(key) if isinstance(found, Mapping) else None


def _series(values: list[Any]) -> pd.Series[Any]:
    import pandas as pd

    present = [value for value in values if value is not None]
    if present and all(isinstance(value, datetime) for value in present):
        return pd.Series(pd.to_datetime(values, utc=True)).astype("datetime64[us, UTC]")
    return pd.Series(values, dtype=object)

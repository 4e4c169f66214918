"""Who entered and who left since the baseline (architecture invariant 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

MEMBERS = "members.parquet"
ENTERING = "entering.parquet"
EXITING = "exiting.parquet"
ENTER_VALUES = "enter_values.parquet"
EXIT_VALUES = "exit_values.parquet"


@dataclass(frozen=True)
class Before:
    """What a destination has been told before this turn, as files of earlier turns on this machine.

    `baseline` is the members.parquet of the last delivered turn; the others are the files of turns since
    that were begun and never finished, so that nobody knows which of their changes arrived.
    """

    baseline: Path | None = None
    maybe_entered: Sequence[Path] = ()
    maybe_exited: Sequence[Path] = ()
    maybe_enter_values: Sequence[Path] = ()
    maybe_exit_values: Sequence[Path] = ()


@dataclass(frozen=True)
class Lists:
    """A turn's lists, as Parquet files in `folder`, and how long they are.

    `existing` counts all members of this turn; `skipped` those of them without a matching value (decisions
    K-11). `enter_values` and `exit_values` count distinct values (decisions K-15); None where the files
    were not asked for.
    """

    folder: Path
    properties: tuple[str, ...]
    before: Before
    entering: int
    exiting: int
    existing: int
    skipped: int
    enter_values: int | None = None
    exit_values: int | None = None

    @property
    def members_path(self) -> Path:
        """All members of this turn."""
        return self.folder / MEMBERS

    @property
    def entering_path(self) -> Path:
        """Who is new since the baseline."""
        return self.folder / ENTERING

    @property
    def exiting_path(self) -> Path:
        """Who left since the baseline."""
        return self.folder / EXITING

    @property
    def enter_values_path(self) -> Path:
        """The values that no member of the baseline has."""
        return self.folder / ENTER_VALUES

    @property
    def exit_values_path(self) -> Path:
        """The values that no member has any more."""
        return self.folder / EXIT_VALUES


def diff(
    snapshot: Path,
    before: Before,
    *,
    match_by: str,
    properties: Sequence[str],
    as_of: datetime,
    folder: Path,
    values: bool = False,
) -> Lists:
    """Write a turn's lists to `folder` from a snapshot and what the destination was told before.

    entering = current − (baseline − maybe_exited), exiting = (baseline ∪ maybe_entered) − current, as sets
    of (amplitude_id, value), nulls being equal (decisions K-15). `values` asks for the value files of a
    stream besides.
    """
    raise NotImplementedError

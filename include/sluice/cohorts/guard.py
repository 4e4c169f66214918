"""The limits beyond which a turn waits for a person instead of emptying, or flooding, an audience."""

from __future__ import annotations

from sluice.cohorts.diff import Lists
from sluice.config.cohorts import SyncConfig


def exit_share(lists: Lists) -> float:
    """Return the share of the members leaving, of those that the destination may have; 0 if it has none.

    Without turns given up in between these are the members of the baseline.
    """
    had = lists.exiting + lists.existing - lists.entering
    return lists.exiting / had if had else 0.0


def beyond(limits: SyncConfig, lists: Lists) -> str | None:
    """Say in a sentence which limits of a sync its lists are beyond; None if they are within them."""
    reasons = []
    share = exit_share(lists)
    if limits.max_exit_share is not None and share > limits.max_exit_share:
        had = lists.exiting + lists.existing - lists.entering
        reasons.append(
            f"{lists.exiting:,} of {had:,} members leave, {share:.1%}; max_exit_share allows"
            f" {limits.max_exit_share:.1%}"
        )
    if limits.max_entering is not None and lists.entering > limits.max_entering:
        reasons.append(f"{lists.entering:,} members enter; max_entering allows {limits.max_entering:,}")
    return "; ".join(reasons) + "." if reasons else None

"""The suite of a gate: what every gate of its kind expects, and what the configuration adds."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from sluice.config.quality import QualityConfig
from sluice.quality import counts
from sluice.quality.results import Expectation

# The arguments that say what an expectation is about.
_SUBJECT = ("column", "column_A", "column_B", "column_list")


def suite(built_in: Sequence[Expectation], config: QualityConfig) -> list[Expectation]:
    """Return the expectations of a gate.

    A configured one takes the place of a built-in one of the same type about the same columns, so that it can
    be made milder or stricter; of Sluice's own, which are about no column, the type decides.
    """
    configured = [
        Expectation(each.type, dict(each.kwargs), each.severity, each.notes, configured=True)
        for each in config.expectations
    ]
    replaced = {_subject(expectation) for expectation in configured}
    return [*(each for each in built_in if _subject(each) not in replaced), *configured]


def _subject(expectation: Expectation) -> Hashable:
    if counts.is_own(expectation):
        return expectation.type
    return (expectation.type, *(_frozen(expectation.kwargs.get(name)) for name in _SUBJECT))


def _frozen(value: Any) -> Hashable:
    return tuple(value) if isinstance(value, list) else value

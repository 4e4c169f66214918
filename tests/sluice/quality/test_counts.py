from __future__ import annotations

from typing import Any

import pytest

from sluice.quality.counts import KEEPS, LIKE_WEEKS_BEFORE, keeps, like_weeks_before, reconciliation
from sluice.quality.results import Expectation


def test_two_counts_that_must_be_the_same() -> None:
    names = ("lines in the files", "events in the lake")
    result = reconciliation("lines and events", 1_000, 1_000, names=names)
    assert (result.success, result.method, result.checked) == (True, "reconciliation", 1_000)
    result = reconciliation("lines and events", 999, 1_000, names=names)
    assert result.stops
    assert result.observed == "999 lines in the files, 1,000 events in the lake"


def test_two_digests_that_must_be_the_same() -> None:
    names = ("members there were and those that came or went", "members there are")
    assert reconciliation("members", "ab", "ab", names=names).success
    result = reconciliation("members", "ab", "cd", names=names)
    assert result.stops
    assert result.observed == f"{names[0]} and {names[1]} are not the same"


@pytest.mark.parametrize(
    ("rows", "earlier", "holds"),
    [
        (100, [1_000, 1_000, 1_000, 1_000], False),
        (250, [1_000, 1_000, 1_000, 1_000], True),
        (4_000, [1_000, 1_000, 1_000, 1_000], True),
        (4_001, [1_000, 1_000, 1_000, 1_000], False),
        (0, [1_000, 1_000], False),
        (0, [1_000], True),
        (0, [], True),
        (0, [49, 49], True),
        # One odd week changes no median.
        (300, [1_000, 1_000, 1_000, 50_000], True),
    ],
)
def test_an_hour_beside_those_of_the_weeks_before(rows: int, earlier: list[int], holds: bool) -> None:
    result = like_weeks_before(Expectation(LIKE_WEEKS_BEFORE, severity="warning"), rows, earlier)
    assert (result.success, result.warns, result.stops) == (holds, not holds, False)
    assert result.method == "history"


def test_the_arguments_of_a_suite_take_the_place_of_the_defaults() -> None:
    strict = Expectation(LIKE_WEEKS_BEFORE, {"min_ratio": 0.9, "min_rows": 0})
    assert not like_weeks_before(strict, 8, [10, 10]).success
    assert like_weeks_before(strict, 9, [10, 10]).success


@pytest.mark.parametrize(
    ("kwargs", "rows", "before", "holds"),
    [
        ({}, 100, 1_000, False),
        ({}, 200, 1_000, True),
        ({}, 1_000_000, 1_000, True),
        ({}, 0, None, True),
        ({}, 0, 99, True),
        ({}, 0, 100, False),
        ({"max_ratio": 2}, 2_001, 1_000, False),
        ({"min_ratio": None}, 0, 1_000, True),
    ],
)
def test_a_cohort_keeps_its_members(
    kwargs: dict[str, Any], rows: int, before: int | None, holds: bool
) -> None:
    result = keeps(Expectation(KEEPS, kwargs), rows, before)
    assert (result.success, result.stops) == (holds, not holds)

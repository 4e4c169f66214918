"""Grouping staged files into loads: in order, never split, few hours each (decisions E-21)."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sluice.imports.convert import hour_ranges
from sluice.imports.load import group_files
from sluice.ledger.files import SourceFile


def file(key: str, hours: list[list[int]], rows: int = 10) -> SourceFile:
    facts = dict.fromkeys(SourceFile.__dataclass_fields__)
    return SourceFile(**facts | {"key": key, "staged": {"hours": hours, "rows_read": rows}})  # type: ignore[arg-type]


def keys(groups: list[list[SourceFile]]) -> list[list[str]]:
    return [[file.key for file in group] for group in groups]


def test_files_share_a_load_while_their_hours_fit() -> None:
    staged = [file("a", [[0, 9]]), file("b", [[5, 14]]), file("c", [[15, 20]]), file("d", [[0, 0]])]
    assert keys(list(group_files(staged, 15, 1000))) == [["a", "b"], ["c", "d"]]


def test_a_file_with_more_hours_than_a_load_takes_is_a_load_of_its_own() -> None:
    staged = [file("a", [[0, 0]]), file("b", [[0, 99]]), file("c", [[0, 0]])]
    assert keys(list(group_files(staged, 10, 1000))) == [["a"], ["b"], ["c"]]


def test_rows_bound_a_load_too() -> None:
    staged = [file("a", [], 6), file("b", [], 4), file("c", [], 1), file("d", [], 50)]
    assert keys(list(group_files(staged, None, 10))) == [["a", "b"], ["c"], ["d"]]


def test_no_files_make_no_load() -> None:
    assert list(group_files([], 10, 10)) == []


@given(hours=st.sets(st.integers(-50, 50)))
def test_hour_ranges_hold_the_same_hours(hours: set[int]) -> None:
    ranges = hour_ranges(hours)
    assert [hour for first, last in ranges for hour in range(first, last + 1)] == sorted(hours)
    assert all(first > before + 1 for (_, before), (first, _) in pairwise(ranges))


@given(
    staged=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6), st.integers(1, 9)), max_size=12),
)
def test_groups_are_the_files_in_order_and_within_limits_unless_alone(
    staged: list[tuple[int, int, int]],
) -> None:
    files = [
        file(str(n), [[first, first + count - 1]], rows) for n, (first, count, rows) in enumerate(staged)
    ]
    groups = list(group_files(files, 8, 20))
    assert [one for group in groups for one in group] == files
    for group in groups:
        ranges = [one.staged["hours"][0] for one in group if one.staged]
        touched = {hour for first, last in ranges for hour in range(first, last + 1)}
        assert len(group) == 1 or (
            len(touched) <= 8 and sum(one.staged["rows_read"] for one in group if one.staged) <= 20
        )

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.quality.results import Expectation
from sluice.quality.sample import GROUP, RowPicker, frame_of


def _picked(total: int | None, rows: int, most: int, seed: str, cuts: list[int]) -> list[int]:
    picker = RowPicker(total, most, seed)
    edges = sorted({0, rows, *(cut % (rows + 1) for cut in cuts)})
    taken: list[int] = []
    for first, end in pairwise(edges):
        places = picker.pick(first, end - first)
        assert ((places >= 0) & (places < end - first)).all()
        taken.extend((places + first).tolist())
    return [row for row, stays in zip(taken, picker.kept(taken), strict=True) if stays]


_rows = st.integers(0, 3_000)
_most = st.integers(0, 200)
_cuts = st.lists(st.integers(0, 3_000), max_size=6)


@given(rows=_rows, most=_most, seed=st.text(max_size=3), cuts=_cuts)
def test_one_row_of_each_stratum_and_no_more(rows: int, most: int, seed: str, cuts: list[int]) -> None:
    picked = _picked(rows, rows, most, seed, cuts)
    assert len(picked) == min(rows, most)
    if rows > most > 0:
        # Stratum n is the n-th of `most` equal stretches.
        assert [row * most // rows for row in picked] == list(range(most))
    assert picked == _picked(rows, rows, most, seed, [])


@given(rows=_rows, most=_most, seed=st.text(max_size=3), cuts=_cuts)
def test_a_stream_of_unknown_length_gives_half_as_many_at_least(
    rows: int, most: int, seed: str, cuts: list[int]
) -> None:
    picked = _picked(None, rows, most, seed, cuts)
    assert picked == sorted(set(picked))
    assert picked == _picked(None, rows, most, seed, [])
    assert len(picked) <= most
    if rows <= most:
        assert picked == list(range(rows))
    elif most:
        # The strata are as narrow as can be; one that the end cuts off may be left out.
        width = next(2**n for n in range(13) if rows // 2**n <= most)
        assert any(_is_one_of_each(picked, rows, each) for each in (width, width * 2))


def _is_one_of_each(picked: list[int], rows: int, width: int) -> bool:
    strata = [row // width for row in picked]
    return len(set(strata)) == len(strata) and set(range(rows // width)) <= set(strata)


@pytest.mark.parametrize("total", [10_000, None])
def test_another_seed_gives_other_rows_and_all_have_the_same_chance(total: int | None) -> None:
    samples = [_picked(total, 10_000, 100, f"seed {n}", []) for n in range(200)]
    assert len({tuple(sample) for sample in samples}) == len(samples)
    tenths = np.bincount(np.concatenate(samples) // 1_000, minlength=10)
    assert tenths.min() > 0.8 * tenths.mean()
    within = np.bincount(np.concatenate(samples) % 10, minlength=10)
    assert within.min() > 0.8 * within.mean()


def test_a_frame_has_the_columns_that_expectations_look_at() -> None:
    asked = [
        Expectation("x", {"column": "event_properties.carrier"}),
        Expectation("x", {"column_A": "n", "column_B": "user_properties.a.b"}),
        Expectation("x", {"column_list": ["n", "text"]}),
        Expectation("x", {"column": "missing.at.all"}),
    ]
    records = [
        {
            "n": 1,
            "text": "a",
            "event_properties": {"carrier": "AA"},
            "user_properties": json.dumps({"a.b": 2}),
        },
        {"n": None, "event_properties": None, "user_properties": "null"},
        {"n": 2.5, "text": None, "event_properties": {"carrier": 5}, "unwanted": 1},
        {"n": 3, "text": "b", "event_properties": "n/a", "user_properties": '"n/a"'},
    ]
    frame = frame_of(records, asked, ["extra"], groups=["h1", "h1", "h2", "h2"])
    assert frame.to_dict("list") == {
        "event_properties.carrier": ["AA", None, 5, None],
        "n": [1, None, 2.5, 3],
        "user_properties.a.b": [2, None, None, None],
        "text": ["a", None, None, "b"],
        "missing.at.all": [None, None, None, None],
        "extra": [None, None, None, None],
        GROUP: ["h1", "h1", "h2", "h2"],
    }
    assert {str(kind) for kind in frame.dtypes} == {"object"}


def test_times_have_a_type_of_their_own() -> None:
    moment = datetime(2013, 1, 2, 12, 0, 0, 123456, UTC)
    frame = frame_of([{"t": moment}, {"t": None}], [Expectation("x", {"column": "t"})])
    assert str(frame["t"].dtype) == "datetime64[us, UTC]"
    assert frame["t"].tolist() == [pd.Timestamp(moment), pd.NaT]


def test_a_frame_of_no_columns_has_its_rows() -> None:
    assert len(frame_of([{}, {}], [])) == 2

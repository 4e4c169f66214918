"""Casts (decisions I-4): what cannot be mistaken is cast, everything else is a row error."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.converter import RowError
from sluice.imports.values import decimal_number, text, truth, whole_number


@pytest.mark.parametrize(
    ("value", "number"),
    [("1645066434189", 1645066434189), (-1, -1), ("-1", -1), (3.0, 3), ("007", 7), (2**63 - 1, 2**63 - 1)],
)
def test_digits_become_whole_numbers(value: object, number: int) -> None:
    assert whole_number("session_id", value) == number


@pytest.mark.parametrize(
    "value",
    [
        "",
        " 1",
        "1.0",
        "1_0",
        "٣",
        "2022-02-17",
        1.5,
        True,
        None,
        [],
        {},
        2**63,
        "9" * 19,
        "9" * 30,
        float("nan"),
    ],
)
def test_what_is_no_whole_number_names_its_field(value: object) -> None:
    with pytest.raises(RowError) as caught:
        whole_number("time", value)
    assert caught.value.field == "time"


@pytest.mark.parametrize(("value", "number"), [("9.99", 9.99), (3, 3.0), ("-.5e1", -5.0), ("+2.", 2.0)])
def test_decimals_become_doubles(value: object, number: float) -> None:
    assert decimal_number("price", value) == number


@pytest.mark.parametrize(
    "value", ["", "NaN", "inf", "1_0", "1,5", True, None, 10**400, "1e999", float("inf")]
)
def test_what_is_no_number_is_an_error(value: object) -> None:
    with pytest.raises(RowError):
        decimal_number("price", value)


def test_numbers_become_text_and_nothing_else_does() -> None:
    assert text("user_id", 12345) == "12345"
    assert text("user_id", 1.5) == "1.5"
    for value in (True, [], {}, None):
        with pytest.raises(RowError, match="user_id: must be text"):
            text("user_id", value)


def test_truth_takes_booleans_and_their_words() -> None:
    assert truth("paying", True) is True
    assert truth("paying", "FALSE") is False
    with pytest.raises(RowError):
        truth("paying", 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=5,
)


@given(value=JSON)
def test_a_cast_gives_its_type_or_a_row_error(value: object) -> None:
    for cast, kind in ((whole_number, int), (decimal_number, float), (text, str), (truth, bool)):
        assert type(_outcome(cast, value)) in (kind, RowError)


def _outcome(cast: Callable[[str, object], object], value: object) -> object:
    try:
        return cast("field", value)
    except RowError as error:
        return error

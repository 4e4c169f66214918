"""Dictionary fields as JSON text within the API's limits (amplitude-spec 6.1, 6.2)."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.converter import RowError
from sluice.imports.properties import (
    MAX_DEPTH,
    limit_groups,
    limit_plan,
    object_text,
    refuse_operations,
    require_object,
)


def nested(levels: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def test_text_is_cut_wherever_it_is() -> None:
    notes: Counter[str] = Counter()
    long = "é" * 2000
    text = object_text("event_properties", {"a": long, "b": [long, {"c": long}], "d": "short"}, notes)
    cut = "é" * 1024
    assert json.loads(text) == {"a": cut, "b": [cut, {"c": cut}], "d": "short"}
    assert notes == {"event_properties: values cut to 1,024 characters": 3}


def test_forty_levels_pass_and_one_more_does_not() -> None:
    assert json.loads(object_text("event_properties", nested(MAX_DEPTH), Counter())) == nested(MAX_DEPTH)
    with pytest.raises(RowError, match="nested deeper than 40"):
        object_text("event_properties", nested(MAX_DEPTH + 1), Counter())
    with pytest.raises(RowError, match="nested deeper than 40"):
        object_text("event_properties", {"a": [[[nested(MAX_DEPTH)]]]}, Counter())


def test_a_long_integer_keeps_its_digits() -> None:
    number = int("7" * 900)
    assert json.loads(object_text("event_properties", {"n": number}, Counter())) == {"n": number}


def test_half_a_character_is_an_error() -> None:
    with pytest.raises(RowError, match="lone surrogate"):
        object_text("event_properties", {"a": "\ud800"}, Counter())


def test_groups_beyond_five_types_or_ten_values_are_left_out() -> None:
    notes: Counter[str] = Counter()
    assert limit_groups({str(n): "x" for n in range(7)}, notes) == {str(n): "x" for n in range(5)}
    assert limit_groups({"a": [1] * 8, "b": [2] * 8, "c": "x"}, notes) == {"a": [1] * 8, "b": [2] * 2}
    assert sum(notes.values()) >= 2
    assert limit_groups({"a": "x", "b": ["y", "z"]}, Counter()) == {"a": "x", "b": ["y", "z"]}


def test_a_plan_keeps_its_three_texts() -> None:
    notes: Counter[str] = Counter()
    assert limit_plan({"branch": "main", "version": 3, "other": "x"}, notes) == {"branch": "main"}
    assert len(notes) == 1


def test_operations_belong_to_identify_rows() -> None:
    with pytest.raises(RowError, match=r"\$set"):
        refuse_operations("user_properties", {"$set": {"a": 1}})
    refuse_operations("user_properties", {"set": 1, "$currency": "EUR"})


def test_only_an_object_is_an_object() -> None:
    for value in ([], "x", 1, None):
        with pytest.raises(RowError, match="groups: must be an object"):
            require_object("groups", value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(value=st.dictionaries(st.text(), JSON, max_size=5))
def test_what_is_within_the_limits_comes_back_equal(value: dict[str, object]) -> None:
    assert json.loads(object_text("event_properties", value, Counter())) == value

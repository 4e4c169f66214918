"""Keys in two halves: distinct, found again, and read from what rows have."""

import uuid

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.lake.keys import DEDUP, UUID, Keys

# Few values, so that high halves alone, low halves alone and whole keys meet.
_HALF = st.sampled_from([-(2**63), -1, 0, 1, 2**63 - 1])
_KEYS = st.lists(st.tuples(_HALF, _HALF, st.booleans()), max_size=30)


@settings(max_examples=60)
@given(_KEYS, st.lists(st.tuples(_HALF, _HALF), max_size=30))
def test_each_key_is_found_at_the_row_that_has_it_first(rows, asked):
    high, low, present = (
        (np.array(column) for column in zip(*rows, strict=True)) if rows else [np.empty(0)] * 3
    )
    keys = Keys(high.astype(np.int64), low.astype(np.int64), present.astype(bool))
    first: dict = {}
    for place, (a, b, there) in enumerate(rows):
        if there:
            first.setdefault((a, b), place)
    assert len(keys) == len(first)
    assert sorted(keys.first.tolist()) == sorted(first.values())
    a, b = (np.array([key[half] for key in asked], dtype=np.int64) for half in (0, 1))
    found, index = keys.find(a, b)
    answers = {asked[number]: int(keys.first[at]) for number, at in zip(found, index, strict=True)}
    assert answers == {key: first[key] for key in asked if key in first}
    assert sorted(found.tolist()) == [number for number, key in enumerate(asked) if key in first]


def test_dedup_keys_are_present_where_both_halves_are():
    rows = pa.RecordBatch.from_pydict(
        {"dedup_hi": [1, None, 3, None], "dedup_lo": [2, 2, None, None]},
        pa.schema([("dedup_hi", pa.int64()), ("dedup_lo", pa.int64())]),
    )
    high, low, present = DEDUP.halves(rows)
    assert present.tolist() == [True, False, False, False]
    assert (high[0], low[0]) == (1, 2)


def test_uuids_are_the_numbers_that_they_are_written_as():
    one, two = uuid.UUID(int=2**127 + 5), uuid.uuid4()
    texts = ["before", str(one), None, str(two).upper(), "x" * 36, str(one)[:-1] + "g", str(two), "before"]
    rows = pa.RecordBatch.from_pydict({"uuid": pa.array(texts, pa.string())}).slice(1)
    high, low, present = UUID.halves(rows)
    numbers = [
        ((int(a) & (2**64 - 1)) << 64) | (int(b) & (2**64 - 1)) for a, b in zip(high, low, strict=True)
    ]
    assert present.tolist() == [True, False, True, True, True, True, True]
    assert numbers[0] == one.int
    assert numbers[2] == numbers[5] == two.int
    # What is no UUID has a key of its own, and not that of another.
    assert len({numbers[place] for place in (0, 2, 3, 4, 6)}) == 5
    assert UUID.halves(rows)[0].tolist() == high.tolist()

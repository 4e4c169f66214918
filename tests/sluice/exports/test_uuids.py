from __future__ import annotations

import uuid

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.exports.uuids import Difference, UuidSpool, difference, pack

USUAL = [str(uuid.uuid5(uuid.NAMESPACE_URL, str(n))) for n in range(200)]
# Version 7 begins with the time: all of these would fall into one file if only the first bits were looked at.
ORDERED = [f"019a0000-0000-7000-8000-{n:012x}" for n in range(200)]
ODD = [
    "",
    "é",
    "not a uuid",
    USUAL[0].upper(),
    USUAL[0].replace("-", "0"),
    USUAL[0][:-1] + "g",
    USUAL[0] + " ",
]


def spool(folder, texts, limit, step=7):
    made = UuidSpool(folder, limit)
    for start in range(0, len(texts), step):
        made.add(pack(pa.array(texts[start : start + step], pa.string())))
    return made


def test_a_uuid_is_packed_as_the_number_that_it_is():
    packed = pack(pa.array(USUAL).slice(3, 50))
    assert [(int(high) << 64) | int(low) for high, low in packed] == [uuid.UUID(u).int for u in USUAL[3:53]]


def test_texts_of_any_form_differ_if_they_differ():
    packed = {tuple(row) for row in pack(pa.array(ODD + USUAL)).tolist()}
    assert len(packed) == len(ODD) + len(USUAL)
    assert pack(pa.array(ODD)).tolist() == pack(pa.array(ODD)).tolist()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(USUAL + ORDERED + ODD), unique=True),
    st.lists(st.sampled_from(USUAL + ORDERED + ODD)),
    st.sampled_from([1, 20, 10_000]),
    st.sampled_from([1, 20, 10_000]),
)
def test_the_difference_is_that_of_the_bags_in_memory_and_on_disk(
    tmp_path_factory, wanted, found, one, other
):
    folder = tmp_path_factory.mktemp("spools")
    differs = difference(spool(folder / "wanted", wanted, one), spool(folder / "found", found, other))
    assert differs == Difference(
        missing=len(set(wanted) - set(found)),
        doubled=len(found) - len(set(found)),
        unknown=len(set(found) - set(wanted)),
    )


def test_many_uuids_go_to_files_of_even_size_whatever_their_version(tmp_path):
    made = spool(tmp_path / "s", USUAL + ORDERED, 50)
    assert made.spilled
    sizes = [len(share) for share in made.shares()]
    assert sum(sizes) == made.rows == 400
    assert max(sizes) < 20


def test_a_cleared_spool_is_empty(tmp_path):
    made = spool(tmp_path / "s", USUAL, 50)
    made.clear()
    assert made.rows == sum(len(share) for share in made.shares()) == 0

"""The lists of a turn compared as sets, against Python's own sets."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sluice.cohorts import sorted_blocks
from sluice.cohorts.list_files import KEY_FIELDS
from sluice.cohorts.reconcile import (
    Differences,
    TurnLists,
    compare_members,
    compare_values,
    without_id,
)
from sluice.cohorts.sorted_blocks import UnorderedList

pytestmark = pytest.mark.usefixtures("small_batches")

# Few ids and values: some people have several, some none.
PAIR = st.tuples(st.integers(0, 9), st.sampled_from([None, "", "a", "b", "ü"]))
PEOPLE = st.frozensets(PAIR, max_size=20)
# What goes wrong with a list: somebody is taken out, or put in.
FAULTS = st.lists(
    st.tuples(st.sampled_from(["members", "entering", "exiting", "baseline"]), PAIR), max_size=3
)


@pytest.fixture
def small_batches(monkeypatch):
    """Ranges of a few rows, so that they end everywhere."""
    monkeypatch.setattr(sorted_blocks, "_MIN_ROWS", 3)
    monkeypatch.setattr(sorted_blocks, "_ROWS", 3)


def in_order(pairs):
    return sorted(pairs, key=lambda pair: (pair[0], pair[1] is None, (pair[1] or "").encode()))


def write(path, pairs):
    rows = in_order(pairs)
    columns = {"amplitude_id": [pair[0] for pair in rows], "value": [pair[1] for pair in rows]}
    pq.write_table(pa.Table.from_pydict(columns, pa.schema(KEY_FIELDS)), path)
    return path


def write_values(path, values):
    pq.write_table(pa.table({"value": pa.array(sorted(values), pa.string())}), path)
    return path


def lists_of(folder, *, unsure=(), **lists):
    folder.mkdir(exist_ok=True)
    paths = {name: write(folder / f"{name}.parquet", pairs) for name, pairs in lists.items()}
    return TurnLists(
        **paths, unsure=[write(folder / f"{n}.parquet", pairs) for n, pairs in enumerate(unsure)]
    )


def values(pairs):
    return {value for _, value in pairs if value is not None}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(members=PEOPLE, baseline=PEOPLE, maybe_in=PEOPLE, maybe_out=PEOPLE, faults=FAULTS)
@example(frozenset({(1, "a")}), frozenset(), frozenset(), frozenset(), [("entering", (1, "a"))])
def test_what_is_wrong_is_counted(tmp_path, members, baseline, maybe_in, maybe_out, faults):
    unsure = maybe_in | maybe_out
    lists = {
        "members": set(members),
        "baseline": set(baseline),
        "entering": set(members - (baseline - unsure)),
        "exiting": set((baseline | unsure) - members),
    }
    right = compare_members(lists_of(tmp_path, unsure=[maybe_in, maybe_out], **lists))
    assert right == Differences()
    for name, pair in faults:
        lists[name] ^= {pair}
    expected = (lists["baseline"] | lists["entering"]) - lists["exiting"]
    found = compare_members(lists_of(tmp_path, unsure=[maybe_in, maybe_out], **lists))
    assert found == Differences(
        missing=len(expected - lists["members"]),
        unexplained=len(lists["members"] - expected),
        not_in=len(lists["entering"] - lists["members"]),
        still_in=len(lists["exiting"] & lists["members"]),
        unsaid=len(unsure - lists["entering"] - lists["exiting"]),
    )
    assert bool(found.of_sets) == bool(str(found))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(members=PEOPLE, baseline=PEOPLE, unsure=PEOPLE, entering=st.data())
def test_values_of_a_stream(tmp_path, members, baseline, unsure, entering):
    """Any change of a right list of values is found, and no right list is refused."""
    lists = lists_of(
        tmp_path,
        members=members,
        baseline=baseline,
        entering=members - (baseline - unsure),
        exiting=(baseline | unsure) - members,
        unsure=[unsure],
    )
    enter = values(members) - (values(baseline) - values(unsure))
    leave = (values(baseline) | values(unsure)) - values(members)

    def compared(enter, leave):
        paths = [
            write_values(tmp_path / f"{name}.parquet", found)
            for name, found in (("enter", enter), ("leave", leave), ("maybe", values(unsure)))
        ]
        enter_path, leave_path, unsure_path = paths
        return compare_values(
            replace(lists, enter_values=enter_path, exit_values=leave_path, unsure_values=[unsure_path])
        )

    assert compared(enter, leave) == Differences()
    changed = entering.draw(st.sampled_from(["", "a", "b", "ü", "nobody's"]))
    known = values(members) | values(baseline) | values(unsure)
    wrong = compared(enter ^ {changed}, leave)
    # To tell of a member whose value is known already harms nobody.
    assert bool(wrong.of_sets) == (changed in enter or changed not in values(members))
    wrong = compared(enter, leave ^ {changed})
    if changed in leave or changed in values(members):
        assert wrong.of_sets
    elif changed not in known:
        assert not wrong.of_sets
    assert compared([*enter, *enter], leave).doubled == len(enter)


def test_a_member_who_stands_in_the_list_again_is_counted(tmp_path):
    twice = lists_of(tmp_path, members=[(1, "a"), (1, "a"), (2, None), (2, None), (3, "c")])
    assert compare_members(twice) == Differences(doubled=2)
    assert compare_members(lists_of(tmp_path, members=[(1, "a"), (1, "b"), (2, None)])) == Differences()


def test_a_list_out_of_order_is_refused(tmp_path):
    path = write(tmp_path / "m.parquet", [(1, "a"), (2, "b")])
    table = pq.read_table(path)
    pq.write_table(table.take([1, 0]), path)
    with pytest.raises(UnorderedList):
        compare_members(TurnLists(path))


def test_rows_without_an_id_are_counted(tmp_path):
    schema = pa.schema([("amplitude_id", pa.int64()), ("value", pa.string())])
    table = pa.Table.from_pydict({"amplitude_id": [1, None, 2, None], "value": list("abcd")}, schema)
    pq.write_table(table, tmp_path / "m.parquet")
    assert without_id(tmp_path / "m.parquet") == 2
    assert without_id(write(tmp_path / "n.parquet", [(1, "a")])) == 0

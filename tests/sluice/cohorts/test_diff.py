"""The lists of a turn, against their definition as sets (architecture invariant 7, decisions K-15)."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from streaming import kinesis_sync, read_messages

from sluice.cohorts import sorted_blocks
from sluice.cohorts.diff import Before, SnapshotError, diff
from sluice.cohorts.list_files import property_column
from sluice.cohorts.messages import write_messages
from sluice.cohorts.property_text import PropertyError
from sluice.cohorts.sorted_blocks import UnorderedList

T0 = datetime(2013, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)

# Few ids and values, so that all kinds of meeting happen.
PEOPLE = st.dictionaries(
    st.tuples(st.integers(0, 12), st.sampled_from([None, "", "a", "b", 'q"', "ü"])),
    st.sampled_from(["gold", "silver", None]),
    max_size=25,
)


def write_snapshot(path, people, property_type=None):
    rows = sorted(people, key=lambda key: (key[0], key[1] is None, (key[1] or "").encode()))
    table = pa.table(
        {
            "amplitude_id": pa.array([key[0] for key in rows], pa.int64()),
            "user_id": pa.array([key[1] for key in rows], pa.string()),
            "plan": pa.array([people[key] for key in rows], property_type or pa.string()),
        }
    )
    pq.write_table(table, path)
    return path


def turn(folder, people, before=None, as_of=T0, **settings):
    folder.mkdir()
    snapshot = write_snapshot(folder / "snapshot.parquet", people, settings.pop("property_type", None))
    settings = {"match_by": "user_id", "properties": ["plan"]} | settings
    return diff(snapshot, before or Before(), as_of=as_of, folder=folder, **settings)


def rows_of(path):
    return pq.read_table(path).to_pylist()


def pairs_of(path):
    rows = [(row["amplitude_id"], row["value"]) for row in rows_of(path)]
    assert len(rows) == len(set(rows)), "a set has nobody twice"
    in_order = sorted(rows, key=lambda key: (key[0], key[1] is None, (key[1] or "").encode()))
    assert rows == in_order
    return set(rows)


def values_of(path):
    rows = [row["value"] for row in rows_of(path)]
    assert rows == sorted(set(rows))
    return set(rows)


def values(people):
    return {value for _, value in people if value is not None}


@pytest.fixture
def small_batches(monkeypatch):
    """Ranges of a few rows, so that they end everywhere."""
    monkeypatch.setattr(sorted_blocks, "_MIN_ROWS", 3)
    monkeypatch.setattr(sorted_blocks, "_ROWS", 3)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(PEOPLE, st.booleans()), min_size=1, max_size=5))
def test_any_history_of_delivered_and_unfinished_turns(tmp_path_factory, small_batches, steps):
    """What each list is, by its definition, whatever turns came before and were never finished."""
    root = tmp_path_factory.mktemp("history")
    baseline, baseline_path, entered, exited = {}, None, [], []
    since = {}
    for number, (people, delivered) in enumerate(steps):
        as_of = T0 + number * HOUR
        before = Before(
            baseline_path,
            [lists.entering_path for lists in entered],
            [lists.exiting_path for lists in exited],
            [lists.enter_values_path for lists in entered],
            [lists.exit_values_path for lists in exited],
        )
        lists = turn(root / str(number), people, before, as_of, values=True)
        maybe_in = set().union(*(pairs_of(one.entering_path) for one in entered))
        maybe_out = set().union(*(pairs_of(one.exiting_path) for one in exited))
        maybe_values_in = set().union(*(values_of(one.enter_values_path) for one in entered))
        maybe_values_out = set().union(*(values_of(one.exit_values_path) for one in exited))

        assert pairs_of(lists.members_path) == set(people)
        assert pairs_of(lists.entering_path) == set(people) - (set(baseline) - maybe_out)
        assert pairs_of(lists.exiting_path) == (set(baseline) | maybe_in) - set(people)
        assert values_of(lists.enter_values_path) == values(people) - (values(baseline) - maybe_values_out)
        assert values_of(lists.exit_values_path) == (values(baseline) | maybe_values_in) - values(people)
        assert lists.existing == len(people)
        assert lists.skipped == sum(value is None for _, value in people)
        assert lists.entering == len(rows_of(lists.entering_path))
        assert lists.exiting == len(rows_of(lists.exiting_path))
        assert lists.enter_values == len(rows_of(lists.enter_values_path))
        assert lists.exit_values == len(rows_of(lists.exit_values_path))

        now = {pair: since.get(pair, as_of) for pair in people}
        for row in rows_of(lists.members_path) + rows_of(lists.entering_path):
            pair = row["amplitude_id"], row["value"]
            assert (row["since"], row["property:plan"]) == (now[pair], people[pair])
        for row in rows_of(lists.exiting_path):
            pair = row["amplitude_id"], row["value"]
            if pair in since:
                assert row["since"] == since[pair]
            else:
                assert T0 <= row["since"] < as_of
        if delivered:
            baseline, baseline_path, entered, exited = people, lists.members_path, [], []
            since = now
        else:
            entered.append(lists)
            exited.append(lists)


def test_properties_of_who_leaves_are_the_last_that_were_known(tmp_path):
    first = turn(tmp_path / "0", {(1, "a"): "old", (2, "b"): "kept"})
    unfinished = turn(tmp_path / "1", {}, Before(first.members_path), T0 + HOUR)
    before = Before(first.members_path, [unfinished.entering_path], [unfinished.exiting_path])
    again = turn(tmp_path / "2", {(1, "a"): "new"}, before, T0 + 2 * HOUR)
    before = Before(
        first.members_path,
        [unfinished.entering_path, again.entering_path],
        [unfinished.exiting_path, again.exiting_path],
    )
    last = turn(tmp_path / "3", {}, before, T0 + 3 * HOUR)
    assert [(row["property:plan"], row["since"]) for row in rows_of(last.exiting_path)] == [
        ("new", T0),
        ("kept", T0),
    ]


def test_a_member_whose_value_changed_leaves_and_enters(tmp_path):
    first = turn(tmp_path / "0", {(1, "old"): "gold", (2, "b"): "gold"})
    second = turn(tmp_path / "1", {(1, "new"): "gold", (2, "b"): "gold"}, Before(first.members_path))
    assert pairs_of(second.entering_path) == {(1, "new")}
    assert pairs_of(second.exiting_path) == {(1, "old")}


def test_members_match_by_a_property_and_people_with_one_value_are_one(tmp_path):
    lists = turn(tmp_path / "0", {(1, "b"): "x", (1, "a"): "x", (1, "c"): "y", (2, "d"): None},
                 match_by="plan", values=True)  # fmt: skip
    assert [(row["amplitude_id"], row["value"]) for row in rows_of(lists.members_path)] == [
        (1, "x"),
        (1, "y"),
        (2, None),
    ]
    assert lists.skipped == 1
    assert values_of(lists.enter_values_path) == {"x", "y"}


def test_a_number_matches_by_its_text(tmp_path):
    lists = turn(tmp_path / "0", {(1, "a"): 7}, property_type=pa.int64(), match_by="plan", properties=[])
    assert pairs_of(lists.members_path) == {(1, "7")}


def test_a_property_that_changed_its_type_leaves_as_text(tmp_path):
    first = turn(tmp_path / "0", {(1, "a"): 7, (2, "b"): 8}, property_type=pa.int64())
    second = turn(tmp_path / "1", {(2, "b"): "gold"}, Before(first.members_path))
    (row,) = rows_of(second.exiting_path)
    assert row["property:plan"] == "7"


def test_a_property_that_is_new_is_null_for_those_who_left_before(tmp_path):
    first = turn(tmp_path / "0", {(1, "a"): "gold"}, properties=[])
    second = turn(tmp_path / "1", {(2, "b"): "gold"}, Before(first.members_path))
    assert [row["property:plan"] for row in rows_of(second.exiting_path)] == [None]
    assert [row["property:plan"] for row in rows_of(second.entering_path)] == ["gold"]


def test_a_property_may_have_the_name_of_a_column_of_the_lists(tmp_path):
    folder = tmp_path
    table = pa.table({"amplitude_id": [1], "user_id": ["a"], "value": ["v"], "Since": [True]})
    pq.write_table(table, folder / "snapshot.parquet")
    lists = diff(
        folder / "snapshot.parquet", Before(), match_by="user_id", properties=["value", "Since"],
        as_of=T0, folder=folder, values=True,
    )  # fmt: skip
    (row,) = rows_of(lists.members_path)
    assert (row["value"], row[property_column("value")], row[property_column("Since")]) == ("a", "v", True)
    assert rows_of(lists.enter_values_path) == [{"value": "a", "property:value": "v", "property:Since": True}]


def test_types_survive_the_value_files(tmp_path):
    moment = datetime(2013, 1, 2, 3, 4, 5, 678_901, UTC)
    as_json = pa.ExtensionArray.from_storage(pa.json_(pa.string()), pa.array(['{"a": [1]}', '"x"']))
    table = pa.table(
        {
            "amplitude_id": [1, 2],
            "user_id": ["a", "a"],
            "json": as_json,
            "time": pa.array([moment, None], pa.timestamp("us", "UTC")),
            "day": pa.array([moment.date(), None], pa.date32()),
        }
    )
    pq.write_table(table, tmp_path / "snapshot.parquet")
    lists = diff(
        tmp_path / "snapshot.parquet", Before(), match_by="user_id", properties=["json", "time", "day"],
        as_of=T0, folder=tmp_path, values=True,
    )  # fmt: skip
    written = pq.read_table(lists.enter_values_path)
    assert written.schema.field("property:json").type == pa.json_(pa.string())
    (row,) = written.to_pylist()
    assert (row["property:json"], row["property:time"], row["property:day"]) == (
        '{"a": [1]}',
        moment,
        moment.date(),
    )


def test_a_snapshot_without_the_property_names_it(tmp_path):
    with pytest.raises(SnapshotError, match="no column carrier"):
        turn(tmp_path / "0", {}, properties=["plan", "carrier"])


def test_a_snapshot_that_is_not_ordered_is_refused(tmp_path):
    table = pa.table({"amplitude_id": [2, 1], "user_id": ["a", "b"]})
    pq.write_table(table, tmp_path / "snapshot.parquet")
    with pytest.raises(UnorderedList, match="not ordered by amplitude_id"):
        diff(
            tmp_path / "snapshot.parquet", Before(), match_by="user_id", properties=[], as_of=T0,
            folder=tmp_path,
        )  # fmt: skip


def test_a_value_of_a_type_without_text_is_refused(tmp_path):
    with pytest.raises(PropertyError, match="property plan has the type list"):
        turn(tmp_path / "0", {(1, "a"): [1]}, property_type=pa.list_(pa.int64()), match_by="plan")


def test_the_messages_of_a_stream_come_from_the_value_files(tmp_path):
    """The files that the diff writes are those that the messages are made of."""
    sync = kinesis_sync(properties=["plan"])
    lists = turn(tmp_path / "0", {(1, "a"): "gold", (2, "a"): "free", (3, None): None}, values=True)
    made = write_messages(lists, sync, sync.destination, SimpleNamespace(computed_time=1), lists.folder)
    assert (made.entering, made.exiting, made.skipped) == (1, 0, 0)
    (message,) = read_messages(lists.folder)
    assert message["users"] == [{"user_id": "a", "user_properties": {"plan": "gold"}}]

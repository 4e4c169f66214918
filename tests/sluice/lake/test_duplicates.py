"""The sample of dropped duplicates: both origins, and whether the two rows were the same event."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fresh import fresh_ledger
from lake_staging import stage, staged_rows

from sluice.lake import Counts, LoadRequest, StagedFile, load
from sluice.lake.duplicates import ROWS_PER_FILE, ROWS_PER_LOAD, sampled_duplicates
from sluice.lake.snapshot import Refused, Snapshot

PROJECT = 187520


@pytest.fixture
def ledger(tmp_path):
    """Nothing here depends on the ledger's database."""
    return fresh_ledger(tmp_path / "ledger.db")


def staged_with(lake, key, ids, **columns) -> StagedFile:
    """Stage rows of which some columns are given, for all rows."""
    rows = staged_rows(ids, key=key)
    for name, value in columns.items():
        index = rows.column_names.index(name)
        rows = rows.set_column(index, name, pa.array([value] * len(rows), rows.schema.field(name).type))
    file = stage(lake, key, ids)
    pq.write_table(rows, file.events, filesystem=lake.filesystem())
    return file


def sample_of(lake, ledger, source="s"):
    return list(sampled_duplicates(lake, ledger, PROJECT, source))


def test_a_duplicate_in_its_file_and_one_of_another_file(lake, ledger):
    files = [stage(lake, "f1", ["a", "b", "a"]), stage(lake, "f2", ["b", "c"])]
    load(lake, ledger, LoadRequest(PROJECT, "s", files))
    one, two = sample_of(lake, ledger)
    assert (one.bucket, one.key, one.row, one.insert_id, one.device_id) == ("bucket", "f1", 2, "a", "device")
    assert (one.stayed_source, one.stayed_object, one.stayed_row) == ("s", "s3://bucket/f1", 0)
    assert (two.key, two.row, two.stayed_object, two.stayed_row) == ("f2", 0, "s3://bucket/f1", 1)
    rows = lake.events().to_pyarrow_table(columns=["row", "object", "uuid", "loaded_at"]).to_pylist()
    (stayed,) = [row for row in rows if (row["object"], row["row"]) == ("s3://bucket/f1", 1)]
    assert (two.stayed_uuid, two.stayed_loaded_at) == (stayed["uuid"], stayed["loaded_at"])
    assert not one.differs
    assert one.columns == ()
    assert one.dropped_at == one.stayed_loaded_at


@pytest.mark.parametrize("compacted", [False, True])
def test_a_duplicate_of_history_names_where_that_came_from(lake, ledger, compacted):
    load(lake, ledger, LoadRequest(PROJECT, "old", [stage(lake, "o1", ["x", "a"])]))
    load(lake, ledger, LoadRequest(PROJECT, "old", [stage(lake, "o2", ["b"])]))
    if compacted:
        lake.events().optimize.compact()
    load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "f", ["b", "new", "a", "a"])]))
    found = {
        (row.row, row.stayed_source, row.stayed_object, row.stayed_row) for row in sample_of(lake, ledger)
    }
    assert found == {
        (0, "old", "s3://bucket/o2", 0),
        (2, "old", "s3://bucket/o1", 1),
        (3, "old", "s3://bucket/o1", 1),
    }
    assert sample_of(lake, ledger, "old") == []
    stored = lake.events().to_pyarrow_table(columns=["uuid", "source"]).to_pylist()
    known = {row["uuid"] for row in stored if row["source"] == "old"}
    assert {row.stayed_uuid for row in sample_of(lake, ledger)} < known


def test_it_says_which_columns_differ_and_no_values(lake, ledger):
    same = {"city": "Paris", "event_properties": '{"a": 1, "b": [2]}'}
    load(lake, ledger, LoadRequest(PROJECT, "old", [staged_with(lake, "o", ["a"], **same)]))
    again = same | {"event_properties": '{"b":[2],"a":1}', "library": "another", "uuid": "u"}
    other = same | {"city": "Lyon", "event_properties": '{"a": 2}', "country": "France"}
    files = [staged_with(lake, "f1", ["a"], **again), staged_with(lake, "f2", ["a"], **other)]
    load(lake, ledger, LoadRequest(PROJECT, "s", files))
    one, two = sample_of(lake, ledger)
    assert (one.differs, one.columns) == (False, ())
    assert (two.differs, two.columns) == (True, ("city", "country", "event_properties"))
    assert not any("Lyon" in str(row) for row in lake.table("duplicates").to_pyarrow_table().to_pylist())


def test_the_sample_is_bounded_and_the_counts_are_not(lake, ledger):
    ids = [str(n) for n in range(ROWS_PER_FILE + 10)]
    load(lake, ledger, LoadRequest(PROJECT, "old", [stage(lake, "o", ids)]))
    files = [stage(lake, f"f{n}", ids) for n in range(ROWS_PER_LOAD // ROWS_PER_FILE + 2)]
    counts = load(lake, ledger, LoadRequest(PROJECT, "s", files)).counts
    assert counts == Counts(read=len(files) * len(ids), duplicate=len(files) * len(ids))
    found = sample_of(lake, ledger)
    assert len(found) == ROWS_PER_LOAD
    assert [row.row for row in found if row.key == "f0"] == list(range(ROWS_PER_FILE))


def test_few_data_files_are_read_for_it(lake, ledger, monkeypatch):
    monkeypatch.setattr("sluice.lake.duplicates._DATA_FILES", 2)
    for name in "abcd":
        load(lake, ledger, LoadRequest(PROJECT, "old", [stage(lake, f"o{name}", [name, name + name])]))
    load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "f", ["b", "a", "c", "d", "aa", "bb", "bb"])]))
    assert [row.row for row in sample_of(lake, ledger)] == [0, 1, 4, 5, 6]


def test_a_row_too_deep_in_its_file_is_left_out(lake, ledger, monkeypatch):
    monkeypatch.setattr("sluice.lake.duplicates._ROWS_READ_PER_FILE", 40)
    monkeypatch.setattr("sluice.lake.duplicates._BATCH_ROWS", 20)
    ids = [str(n) for n in range(100)]
    load(lake, ledger, LoadRequest(PROJECT, "old", [stage(lake, "o", ids)]))
    counts = load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "f", ["3", "39", "90"])])).counts
    assert counts.duplicate == 3
    assert [row.insert_id for row in sample_of(lake, ledger)] == ["3", "39"]


def test_what_a_refused_try_sampled_does_not_count(lake, ledger, monkeypatch):
    load(lake, ledger, LoadRequest(PROJECT, "old", [stage(lake, "o", ["a"])]))
    original = Snapshot.commit
    tries: list[int] = []

    def commit(self, actions, entry) -> None:
        tries.append(entry.number)
        if len(tries) == 1:
            raise Refused("another came first")
        original(self, actions, entry)

    monkeypatch.setattr(Snapshot, "commit", commit)
    load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "f", ["a"])]))
    assert len(tries) == 2
    assert lake.table("duplicates").to_pyarrow_table().num_rows == 2
    assert len(sample_of(lake, ledger)) == 1

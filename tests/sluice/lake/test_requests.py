"""Requests out of the ordinary: nothing to load, nothing left to load, files gone, answers lost."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fresh import fresh_ledger
from lake_staging import NOON, stage, staged_rows
from sqlalchemy import select

from sluice.lake import Counts, LakeError, LoadRequest, StagedFile, load
from sluice.lake.schema import STAGED_EVENTS, STAGED_REJECTS
from sluice.lake.snapshot import Refused, Snapshot
from sluice.ledger.tables import files

PROJECT = 187520


@pytest.fixture
def ledger(tmp_path):
    """Nothing here depends on the ledger's database."""
    return fresh_ledger(tmp_path / "ledger.db")


def stage_table(lake, key, rows: pa.Table) -> StagedFile:
    lake.filesystem().create_dir("_staging")
    path = f"_staging/{key}.parquet"
    pq.write_table(rows, path, filesystem=lake.filesystem())
    return StagedFile("bucket", key, "etag", rows.num_rows, 0, 0, path)


def states(ledger) -> dict[str, str]:
    with ledger.begin() as connection:
        return dict(connection.execute(select(files.c.key, files.c.state)).all())


def stored(lake) -> list[dict]:
    return lake.events().to_pyarrow_table(columns=["$insert_id", "user_id", "amplitude_id"]).to_pylist()


def test_a_request_without_files_commits_nothing(lake, ledger):
    result = load(lake, ledger, LoadRequest(PROJECT, "s", []))
    assert (result.counts, result.commits) == (Counts(), 0)
    assert lake.events().version() == 0


def test_a_file_named_twice_in_a_request_is_refused(lake):
    file = stage(lake, "f1", ["a"])
    with pytest.raises(ValueError, match="f1"):
        LoadRequest(PROJECT, "s", [file, stage(lake, "f2", ["b"]), file])


@pytest.mark.parametrize("upload_time", ["now", "event_time"])
def test_files_without_rows_and_without_new_rows_are_done_by_a_commit(lake, ledger, upload_time):
    load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "f1", ["a"])], upload_time))
    nothing = [
        stage_table(lake, "empty", STAGED_EVENTS.empty_table()),
        StagedFile("bucket", "unstaged", "etag", 1, 1, 0),
        stage(lake, "old", ["a", "a"]),
    ]
    result = load(lake, ledger, LoadRequest(PROJECT, "s", nothing, upload_time))
    assert result.counts == Counts(read=3, duplicate=2, ignored=1)
    assert result.commits == 1
    assert set(states(ledger).values()) == {"done"}
    assert len(states(ledger)) == 4
    assert len(stored(lake)) == 1


def test_rows_without_a_dedup_key_are_no_duplicates(lake, ledger):
    rows = staged_rows(["a", "a", "a"], key="f1")
    for name in ("dedup_hi", "dedup_lo"):
        rows = rows.set_column(rows.column_names.index(name), name, pa.nulls(3, pa.int64()))
    assert load(lake, ledger, LoadRequest(PROJECT, "s", [stage_table(lake, "f1", rows)])).counts.loaded == 3
    assert load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "f2", ["a"])])).counts.loaded == 1


def test_a_device_and_a_user_have_an_id_each_whoever_comes_first(lake, ledger):
    """One person without a user id, then with one: two ids until they are linked."""
    anonymous = stage(lake, "f1", ["a"], user=lambda _: None)
    known = stage(lake, "f2", ["b"], user=lambda _: "ann")
    elsewhere = stage(lake, "f3", ["c"], user=lambda _: "ann", device="other")
    load(lake, ledger, LoadRequest(PROJECT, "s", [known]))
    load(lake, ledger, LoadRequest(PROJECT, "s", [anonymous, elsewhere]))
    load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "f4", ["d"], user=lambda _: None)]))
    ids = {row["$insert_id"]: row["amplitude_id"] for row in stored(lake)}
    assert ids["b"] == ids["c"] != ids["a"] == ids["d"]


def test_a_staged_file_that_is_gone_is_named_and_nothing_is_loaded(lake, ledger):
    here, gone = stage(lake, "f1", ["a"]), stage(lake, "f2", ["b"])
    lake.filesystem().delete_file(gone.events)
    with pytest.raises(LakeError, match=f"{gone.events}.*again"):
        load(lake, ledger, LoadRequest(PROJECT, "s", [here, gone]))
    assert stored(lake) == []
    assert states(ledger) == {}
    again = stage(lake, "f2", ["b"])
    assert load(lake, ledger, LoadRequest(PROJECT, "s", [here, again])).counts.loaded == 2


def test_staged_rejects_that_are_gone_leave_nothing_that_counts(lake, ledger):
    lake.filesystem().create_dir("_staging")
    rejects = pa.table({"row": [1], "field": ["time"], "reason": ["no"], "raw": ["x"]}, schema=STAGED_REJECTS)
    path = "_staging/rejects.parquet"
    events = stage(lake, "f1", ["a"], user=lambda _: "ann").events
    file = StagedFile("bucket", "f1", "etag", 2, 0, 1, events, path)
    with pytest.raises(LakeError, match=path):
        load(lake, ledger, LoadRequest(PROJECT, "s", [file]))
    pq.write_table(rejects, path, filesystem=lake.filesystem())
    assert load(lake, ledger, LoadRequest(PROJECT, "s", [file])).counts == Counts(2, 1, 0, 0, 1)
    (row,) = stored(lake)
    later = stage(lake, "f2", ["b"], user=lambda _: "ann")
    load(lake, ledger, LoadRequest(PROJECT, "s", [later]))
    assert {other["amplitude_id"] for other in stored(lake)} == {row["amplitude_id"]}


@pytest.mark.parametrize("error", [OSError, "refused"])
def test_a_commit_whose_answer_is_lost_is_found_in_the_log(lake, ledger, monkeypatch, error):
    """The store took the commit; what came back was an error, or the refusal of a second try."""
    original = Snapshot.commit

    def commit(self, actions, entry) -> None:
        original(self, actions, entry)
        raise OSError("the connection was reset") if error is OSError else Refused("the version exists")

    monkeypatch.setattr(Snapshot, "commit", commit)
    request = LoadRequest(PROJECT, "s", [stage(lake, "f1", ["a", "b"], at=lambda _: NOON)])
    if error is OSError:
        with pytest.raises(OSError, match="reset"):
            load(lake, ledger, request)
        monkeypatch.undo()
    result = load(lake, ledger, request)
    assert (result.counts, result.commits) == (Counts(read=2, loaded=2), 0)
    assert len(stored(lake)) == 2


def test_many_small_files_are_one_load(lake, ledger):
    """More than a statement's keys are asked for at once."""
    some = [StagedFile("bucket", f"f{n}", "etag", 1, 1, 0) for n in range(1203)]
    request = LoadRequest(PROJECT, "s", [*some, stage(lake, "last", ["a"])])
    result = load(lake, ledger, request)
    assert (result.counts, result.commits) == (Counts(read=1204, loaded=1, ignored=1203), 1)
    assert load(lake, ledger, request).counts == result.counts

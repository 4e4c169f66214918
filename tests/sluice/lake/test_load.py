import hashlib
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fresh import fresh_lake, fresh_ledger
from lake_staging import NOON, stage
from sqlalchemy import select

from sluice.lake import (
    Counts,
    Fingerprint,
    HourNotOver,
    LoadRequest,
    StagedFile,
    close_until,
    closed_until,
    hour_fingerprint,
    load,
    read_hour,
)
from sluice.lake.decision import DEDUP_WINDOW, decide
from sluice.lake.projection import catch_up, hour_of
from sluice.lake.schema import STAGED_REJECTS
from sluice.ledger import Ledger
from sluice.ledger.tables import files, hours, loads

PROJECT = 187520


@pytest.fixture
def ledger(tmp_path):
    """A ledger for what does not depend on its database."""
    return fresh_ledger(tmp_path / "ledger.db")


@pytest.fixture
def each_ledger(ledger_url):
    """A ledger on each of the two databases, for what is read from it or asked of it."""
    return Ledger.open(ledger_url, migrate=False)


def rows_of(lake, *columns):
    return lake.events().to_pyarrow_table(columns=list(columns)).to_pylist()


def test_rows_get_what_the_load_assigns(lake, each_ledger):
    before = each_ledger.now() - timedelta(milliseconds=1)
    result = load(lake, each_ledger, LoadRequest(PROJECT, "s", [stage(lake, "f1", ["a", "b", "c"])]))
    assert result.counts == Counts(read=3, loaded=3)
    rows = rows_of(
        lake, "app", "server_upload_time", "processed_time", "loaded_at", "seq", "revision", "upload_date"
    )
    assert {row["app"] for row in rows} == {PROJECT}
    assert [row["seq"] for row in rows] == [0, 1, 2]
    (instant,) = {row["server_upload_time"] for row in rows}
    assert before <= instant <= each_ledger.now()
    assert all(row["processed_time"] == row["loaded_at"] == instant for row in rows)
    assert {row["upload_date"] for row in rows} == {instant.date()}
    assert {row["revision"] for row in rows} == {0}


@pytest.mark.parametrize("times", [[0, 1, 2], [2, 1, 0]])
def test_rows_carry_their_origin(lake, ledger, times):
    at = [NOON + timedelta(seconds=second) for second in times].__getitem__
    one, two = stage(lake, "a b#1", "abc", at=at), stage(lake, "f2", ["b", "d"], at=at)
    load(lake, ledger, LoadRequest(PROJECT, "s", [one, two], upload_time="event_time"))
    load(lake, ledger, LoadRequest(PROJECT, "t", [stage(lake, "f2", ["e"])]))
    columns = ("$insert_id", "source", "object", "row")
    origins = {row.pop("$insert_id"): tuple(row.values()) for row in rows_of(lake, *columns)}
    assert origins == {
        "a": ("s", "s3://bucket/a b#1", 0),
        "b": ("s", "s3://bucket/a b#1", 1),
        "c": ("s", "s3://bucket/a b#1", 2),
        "d": ("s", "s3://bucket/f2", 1),
        "e": ("t", "s3://bucket/f2", 0),
    }
    # A reader of the bare file sees text, however it was written.
    path = lake.events().file_uris()[0]
    assert {pq.read_schema(path).field(name).type for name in ("source", "object")} == {pa.string()}


def test_rows_that_the_decision_rejects_are_rejects_and_no_duplicates(lake, ledger):
    def refuse_second(snapshot, files, instant, upload_time):
        decision = decide(snapshot, files, instant, upload_time)
        keep = decision.keep.copy()
        keep[1] = False
        seq = np.where(keep, np.cumsum(keep) - 1, -1)
        refused = pa.table(
            {"row": [1], "field": ["app"], "reason": ["another project"], "raw": ["{}"]},
            schema=STAGED_REJECTS,
        )
        return replace(
            decision,
            keep=keep,
            seq=seq,
            kept_per_file=[decision.kept_per_file[0] - 1, decision.kept_per_file[1]],
            rejected=[refused, decision.rejected[1]],
        )

    staged = [stage(lake, "f1", ["a", "b", "a"]), stage(lake, "f2", ["c"])]
    result = load(lake, ledger, LoadRequest(PROJECT, "s", staged, decide=refuse_second))
    assert result.counts == Counts(read=4, loaded=2, duplicate=1, rejected=1)
    (reject,) = lake.table("rejects").to_pyarrow_table().to_pylist()
    assert (reject["source"], reject["key"], reject["row"], reject["field"]) == ("s", "f1", 1, "app")
    assert [row["$insert_id"] for row in rows_of(lake, "$insert_id")] == ["a", "c"]


def test_the_earlier_of_two_rows_with_one_key_stays(lake, ledger):
    one = stage(lake, "f1", ["a", "b", "a"])
    two = stage(lake, "f2", ["b", "c"])
    result = load(lake, ledger, LoadRequest(PROJECT, "s", [one, two]))
    assert result.counts == Counts(read=5, loaded=3, duplicate=2)
    later = load(lake, ledger, LoadRequest(PROJECT, "t", [stage(lake, "f3", ["c", "d"])]))
    assert later.counts == Counts(read=2, loaded=1, duplicate=1)
    assert sorted(row["$insert_id"] for row in rows_of(lake, "$insert_id")) == ["a", "b", "c", "d"]


def test_a_key_comes_back_after_the_window(lake, ledger, monkeypatch):
    load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "f1", ["a"])]))
    real_now = ledger.now
    monkeypatch.setattr(type(ledger), "now", lambda self: real_now() + DEDUP_WINDOW - timedelta(minutes=1))
    assert load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "f2", ["a"])])).counts.duplicate == 1
    monkeypatch.setattr(type(ledger), "now", lambda self: real_now() + DEDUP_WINDOW + timedelta(minutes=1))
    assert load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "f3", ["a"])])).counts.loaded == 1


def test_another_project_and_another_device_are_other_keys(lake, ledger):
    load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "f1", ["a"])]))
    assert load(lake, ledger, LoadRequest(7, "s2", [stage(lake, "f1", ["a"])])).counts.loaded == 1
    other = stage(lake, "f2", ["a"], device="another")
    assert load(lake, ledger, LoadRequest(PROJECT, "s", [other])).counts.loaded == 1


def test_a_file_is_loaded_once_per_source(lake, each_ledger):
    request = LoadRequest(PROJECT, "s", [stage(lake, "f1", ["a", "b"])])
    first = load(lake, each_ledger, request)
    again = load(lake, each_ledger, request)
    assert again.counts == first.counts == Counts(read=2, loaded=2)
    assert (first.commits, again.commits) == (1, 0)
    # Only the files that are new are taken from a request.
    both = LoadRequest(PROJECT, "s", [*request.files, stage(lake, "f2", ["c"])])
    assert load(lake, each_ledger, both).counts == Counts(read=3, loaded=3)
    assert len(rows_of(lake, "uuid")) == 3


def test_one_amplitude_id_per_user_or_per_device_without_one(lake, each_ledger):
    users = {"a": "ann", "b": "bob", "c": "ann", "d": None, "e": None}
    load(lake, each_ledger, LoadRequest(PROJECT, "s", [stage(lake, "f1", users, user=users.get)]))
    more = {"f": "bob", "g": None, "h": "cyd"}
    load(lake, each_ledger, LoadRequest(PROJECT, "s", [stage(lake, "f2", more, user=more.get)]))
    load(
        lake,
        each_ledger,
        LoadRequest(PROJECT, "s", [stage(lake, "f3", ["i"], user=lambda _: None, device="x")]),
    )
    ids = {row["$insert_id"]: row["amplitude_id"] for row in rows_of(lake, "$insert_id", "amplitude_id")}
    assert ids["a"] == ids["c"] != ids["b"] == ids["f"]
    assert ids["d"] == ids["e"] == ids["g"] != ids["i"]
    assert len(set(ids.values())) == 5
    assert min(ids.values()) >= 1 << 40
    assert max(ids.values()) < 1 << 53


def test_ids_of_a_lost_counter_are_never_given_again(lake, each_ledger):
    load(lake, each_ledger, LoadRequest(PROJECT, "s", [stage(lake, "f1", ["a"], user=lambda _: "ann")]))
    (first,) = rows_of(lake, "amplitude_id")
    from sqlalchemy import update

    from sluice.ledger.tables import counters

    with each_ledger.begin() as connection:
        connection.execute(update(counters).values(next=first["amplitude_id"] - 1))
    bobs = {"b": "bob", "c": "cyd", "d": "dan"}
    load(lake, each_ledger, LoadRequest(PROJECT, "s", [stage(lake, "f2", bobs, user=bobs.get)]))
    ids = [row["amplitude_id"] for row in rows_of(lake, "amplitude_id")]
    assert len(set(ids)) == 4


def test_event_time_spreads_a_load_over_its_hours_in_order(lake, each_ledger):
    times = [NOON + timedelta(minutes=minutes) for minutes in (95, 5, 0, 61, -30, 60 * 30)]
    staged = stage(lake, "f1", "abcdef", at=times.__getitem__)
    load(lake, each_ledger, LoadRequest(PROJECT, "s", [staged], upload_time="event_time"))
    version = lake.events().version()

    def ids(hour):
        return [
            row
            for batch in read_hour(lake, PROJECT, hour, version, ["$insert_id"])
            for row in batch.column(0).to_pylist()
        ]

    assert ids(NOON) == ["c", "b"]
    assert ids(NOON + timedelta(hours=1)) == ["d", "a"]
    assert ids(NOON - timedelta(hours=1)) == ["e"]
    assert ids(NOON + timedelta(hours=30)) == ["f"]
    assert ids(NOON + timedelta(hours=2)) == []
    assert hour_fingerprint(each_ledger, PROJECT, NOON).rows == 2
    assert hour_fingerprint(each_ledger, PROJECT, NOON + timedelta(hours=2)) == Fingerprint()
    # Rows that overlap in time with an earlier load come in the one total order.
    more = stage(lake, "f2", ["g", "h"], at=[NOON + timedelta(minutes=2), NOON].__getitem__)
    load(lake, each_ledger, LoadRequest(PROJECT, "s", [more], upload_time="event_time"))
    version = lake.events().version()
    assert ids(NOON) == ["c", "h", "g", "b"]


def test_fingerprints_are_those_of_the_rows(lake, each_ledger):
    times = [NOON + timedelta(minutes=20 * n) for n in range(12)]
    for name in ("f1", "f2"):
        staged = stage(lake, name, [f"{name}{n}" for n in range(12)], at=times.__getitem__)
        load(lake, each_ledger, LoadRequest(PROJECT, "s", [staged], upload_time="event_time"))
    with each_ledger.begin() as connection:
        known = {row.hour: (row.rows, row.digest) for row in connection.execute(select(hours))}
    expected: dict = {}
    for row in rows_of(lake, "uuid", "server_upload_time"):
        count, total = expected.get(hour_of(row["server_upload_time"]), (0, 0))
        digest = int.from_bytes(hashlib.md5(f"{row['uuid']}/0".encode()).digest(), "little")
        expected[hour_of(row["server_upload_time"])] = (count + 1, total + digest)
    assert known == {hour: (count, f"{total % (1 << 128):032x}") for hour, (count, total) in expected.items()}
    assert len(known) == 4


def test_a_failed_file_leaves_its_reason_and_its_rejects(lake, each_ledger):
    rejects = pa.table(
        {"row": [4], "field": ["time"], "reason": ["not a number"], "raw": ["x,y"]}, schema=STAGED_REJECTS
    )
    lake.filesystem().create_dir("_staging")
    pq.write_table(rejects, "_staging/r.parquet", filesystem=lake.filesystem())
    failed = StagedFile(
        "bucket", "bad", "e", 5, 0, 1, None, "_staging/r.parquet", failed="1 of 5 rows rejected"
    )
    result = load(lake, each_ledger, LoadRequest(PROJECT, "s", [failed]))
    assert result.counts == Counts(read=5, rejected=5)
    assert lake.events().to_pyarrow_table().num_rows == 0
    (row,) = lake.table("rejects").to_pyarrow_table().to_pylist()
    assert (row["source"], row["key"], row["row"], row["reason"]) == ("s", "bad", 4, "not a number")
    with each_ledger.begin() as connection:
        file = connection.execute(select(files)).one()
    assert (file.state, file.reason) == ("failed", "1 of 5 rows rejected")


def test_instants_rise_and_never_fall_into_a_closed_hour(lake, each_ledger, monkeypatch):
    for name in ("f1", "f2", "f3"):
        load(lake, each_ledger, LoadRequest(PROJECT, "s", [stage(lake, name, [name])]))
    with each_ledger.begin() as connection:
        instants = list(connection.execute(select(loads.c.instant).order_by(loads.c.number)).scalars())
    assert instants == sorted(set(instants))
    # A ledger whose clock goes back gives no earlier instant and no closed hour.
    end = hour_of(each_ledger.now())
    close_until(lake, each_ledger, PROJECT, end, wait_seconds=0)
    monkeypatch.setattr(type(each_ledger), "now", lambda self: end - timedelta(hours=3))
    load(lake, each_ledger, LoadRequest(PROJECT, "s", [stage(lake, "f4", ["f4"])]))
    with each_ledger.begin() as connection:
        last = connection.execute(select(loads.c.instant).order_by(loads.c.number.desc()).limit(1)).scalar()
    assert last > instants[-1]
    assert last >= end


def test_closing_is_refused_before_the_end_and_done_once(lake, each_ledger):
    end = hour_of(each_ledger.now())
    with pytest.raises(HourNotOver, match="not over"):
        close_until(lake, each_ledger, PROJECT, end + timedelta(hours=1), wait_seconds=0)
    with pytest.raises(ValueError, match="boundary"):
        close_until(lake, each_ledger, PROJECT, end - timedelta(minutes=1), wait_seconds=0)
    version = close_until(lake, each_ledger, PROJECT, end, wait_seconds=0)
    assert closed_until(each_ledger, PROJECT) == end
    assert close_until(lake, each_ledger, PROJECT, end, wait_seconds=0) == version
    assert close_until(lake, each_ledger, PROJECT, end - timedelta(hours=5), wait_seconds=0) == version
    assert lake.events().version() == version


def test_a_new_ledger_is_rebuilt_from_the_log(lake, each_ledger, tmp_path):

    load(lake, each_ledger, LoadRequest(PROJECT, "s", [stage(lake, "f1", ["a", "b"])]))
    close_until(lake, each_ledger, PROJECT, hour_of(each_ledger.now()), wait_seconds=0)
    load(lake, each_ledger, LoadRequest(7, "t", [stage(lake, "f1", ["a", "b"])]))
    other = fresh_ledger(tmp_path / "other.db")
    catch_up(lake, other, lake.events())

    def content(of):
        with of.begin() as connection:
            return [connection.execute(select(table)).all() for table in (loads, hours)] + [
                connection.execute(select(files.c.source, files.c.key, files.c.state, files.c.loaded)).all()
            ]

    assert content(other) == content(each_ledger)
    again = load(lake, other, LoadRequest(PROJECT, "s", [stage(lake, "f1", ["a", "b"])]))
    assert again.commits == 0


def test_a_ledger_of_another_lake_is_refused(lake, each_ledger, tmp_path):
    from sluice.lake import LakeError

    load(lake, each_ledger, LoadRequest(PROJECT, "s", [stage(lake, "f1", ["a"])]))
    other = fresh_lake(tmp_path / "other")
    with pytest.raises(LakeError, match="belongs to the lake"):
        load(other, each_ledger, LoadRequest(PROJECT, "s", [stage(other, "f1", ["a"])]))

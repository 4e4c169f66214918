"""Compaction beside loads and exports: rows move, and nothing else happens."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from fresh import fresh_ledger
from hypothesis import given, settings
from hypothesis import strategies as st
from importing import forks
from lake_staging import NOON, stage
from sqlalchemy import select

import sluice.lake.maintenance.compact as compact_module
from sluice.lake import (
    Fingerprint,
    Lake,
    LakeError,
    LoadRequest,
    close_until,
    hour_fingerprints,
    load,
    read_hour,
)
from sluice.lake.data_files import is_sorted
from sluice.lake.fingerprint import SUMS_SQL
from sluice.lake.maintenance import MaintenanceBusy, compact_events
from sluice.lake.maintenance.compact import plan_units
from sluice.lake.maintenance.rewrite import DataFile, data_files
from sluice.lake.merge import TimedFile, in_order
from sluice.lake.projection import catch_up
from sluice.lake.schema import EVENTS, ORDER
from sluice.lake.snapshot import Snapshot
from sluice.ledger import Ledger, leases
from sluice.ledger.tables import hours, lake_versions, loads, projects

PROJECT = 187520
TARGET = 128 << 20
DAY = timedelta(days=1)
HOURS = [NOON + timedelta(hours=n) for n in (-13, -12, 0, 12)]


def load_rows(lake: Lake, ledger: Ledger, name: str, rows: int = 60, **how: Any) -> None:
    """Load rows at random moments of NOON's day and the day before."""
    chance = random.Random(name)
    times = [NOON + timedelta(seconds=chance.randrange(-24 * 3600, 12 * 3600)) for _ in range(rows)]
    # The same moment in every load, and the ends of the day.
    times[:3] = [NOON, NOON.replace(hour=0), NOON.replace(hour=0) - timedelta(microseconds=1)]
    staged = stage(lake, name, [f"{name}-{n}" for n in range(rows)], at=times.__getitem__, **how)
    load(lake, ledger, LoadRequest(PROJECT, "s", [staged], "event_time"))


def content(lake: Lake, version: int | None = None) -> list[list[dict[str, Any]]]:
    """All columns of all rows of the hours in question, in the order in which they are read."""
    version = lake.events().version() if version is None else version
    return [
        [row for batch in read_hour(lake, PROJECT, hour, version) for row in batch.to_pylist()]
        for hour in HOURS
    ]


def fingerprints_of_rows(lake: Lake) -> dict[datetime, Fingerprint]:
    """The hours' fingerprints as a lost ledger would get them back."""
    rows = lake.events().to_pyarrow_table(columns=["server_upload_time", "uuid", "revision"])
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        found = connection.sql(
            f"""SELECT epoch_us(date_trunc('hour', server_upload_time)), count(*), {SUMS_SQL}
            FROM rows GROUP BY 1"""
        ).fetchall()
    return {
        datetime.fromtimestamp(moment / 1e6, UTC): Fingerprint.from_sums(count, high, low)
        for moment, count, high, low in found
    }


def all_fingerprints(ledger: Ledger) -> dict[datetime, Fingerprint]:
    return hour_fingerprints(ledger, PROJECT, NOON - 30 * DAY, ledger.now())


def projection(ledger: Ledger) -> list[Any]:
    with ledger.begin() as connection:
        return [connection.execute(select(table)).all() for table in (projects, loads, hours, lake_versions)]


def test_rows_order_and_fingerprints_stay_and_a_second_run_does_nothing(where, tmp_path):
    lake, ledger = where.open()
    for n in range(3):
        load_rows(lake, ledger, f"f{n}")
    before, fingerprints = content(lake), all_fingerprints(ledger)
    assert [len(rows) > 0 for rows in before] == [True, True, True, False]
    done = compact_events(lake, ledger, TARGET)
    assert (done.commits, done.files_before, done.files_after, done.rows) == (2, 6, 2, 180)
    assert done.bytes_before > done.bytes_after > 0
    assert content(lake) == before
    # As the ledger has them, as the rows have them, and as a new ledger learns them from the log.
    assert all_fingerprints(ledger) == fingerprints == fingerprints_of_rows(lake)
    other = fresh_ledger(tmp_path / "other.db")
    catch_up(lake, other, lake.events())
    catch_up(lake, ledger, lake.events())
    assert projection(other) == projection(ledger)
    for file in data_files(lake.events()):
        with lake.table_filesystem("events").open_input_file(file.path) as source:
            parquet = pq.ParquetFile(source)
            assert is_sorted(parquet, ORDER)
            keys = parquet.read(list(ORDER))
        assert keys.equals(keys.sort_by([(name, "ascending") for name in ORDER]))
    version = lake.events().version()
    assert compact_events(lake, ledger, TARGET).commits == 0
    assert lake.events().version() == version
    # The next load takes the next number, and knows what the rewritten files hold.
    again = stage(lake, "again", ["f0-0", "f2-59", "new"])
    result = load(lake, ledger, LoadRequest(PROJECT, "t", [again]))
    assert (result.counts.loaded, result.counts.duplicate, result.refusals) == (1, 2, 0)


def test_days_that_are_not_closed_and_other_projects_are_left_alone(local):
    lake, ledger = local.open()
    for n in range(2):
        load_rows(lake, ledger, f"f{n}")
    close_until(lake, ledger, PROJECT, NOON.replace(hour=23), wait_seconds=0)
    assert compact_events(lake, ledger, TARGET, projects=[PROJECT + 1]).files_before == 0
    assert compact_events(lake, ledger, TARGET, dry_run=True).files_before == 2
    assert lake.events().version() == 3
    assert compact_events(lake, ledger, TARGET).files_before == 2
    close_until(lake, ledger, PROJECT, NOON.replace(hour=0) + DAY, wait_seconds=0)
    assert compact_events(lake, ledger, TARGET).files_before == 2
    assert len(data_files(lake.events())) == 2


def test_a_load_that_commits_while_files_are_rewritten_keeps_its_rows(local, monkeypatch):
    lake, ledger = local.open()
    for n in range(2):
        load_rows(lake, ledger, f"f{n}")
    real = compact_module.replace_files
    calls = []

    def overtaken(*arguments: Any) -> bool:
        if not calls:
            load_rows(lake, ledger, "meanwhile")
        calls.append(1)
        return real(*arguments)

    monkeypatch.setattr(compact_module, "replace_files", overtaken)
    done = compact_events(lake, ledger, TARGET)
    assert (done.commits, done.refused) == (2, 0)
    ids = Counter(row["$insert_id"] for hour in content(lake) for row in hour)
    every_id = lake.events().to_pyarrow_table(columns=["$insert_id"]).column(0).to_pylist()
    assert set(Counter(every_id).values()) == {1}
    assert len(every_id) == 180
    assert set(ids) <= set(every_id)
    catch_up(lake, ledger, lake.events())
    assert all_fingerprints(ledger) == fingerprints_of_rows(lake)


def test_a_rewrite_between_a_loads_snapshot_and_its_commit_refuses_nothing(local, monkeypatch):
    lake, ledger = local.open()
    for n in range(2):
        load_rows(lake, ledger, f"f{n}")
    original = Snapshot.commit

    def commit(self: Snapshot, actions: Any, entry: Any) -> None:
        assert compact_events(*local.open(), TARGET).commits == 2
        original(self, actions, entry)

    monkeypatch.setattr(Snapshot, "commit", commit)
    late = stage(lake, "late", ["f0-1", "new"], at=lambda _: NOON)
    result = load(lake, ledger, LoadRequest(PROJECT, "t", [late], "event_time"))
    assert (result.commits, result.refusals, result.counts.duplicate) == (1, 0, 1)
    assert all_fingerprints(ledger) == fingerprints_of_rows(lake)


def test_two_rewrites_of_the_same_files_double_nothing(where, monkeypatch):
    """The lease makes it rare; that it cannot do harm rests on the log."""
    lake, ledger = where.open()
    for n in range(2):
        load_rows(lake, ledger, f"f{n}")
    real = compact_module.replace_files

    def overtaken(*arguments: Any) -> bool:
        monkeypatch.setattr(compact_module, "replace_files", real)
        with ledger.begin() as connection:
            connection.execute(leases.leases.delete())
        assert compact_events(*where.open(), TARGET).commits == 2
        return real(*arguments)

    before = content(lake)
    monkeypatch.setattr(compact_module, "replace_files", overtaken)
    done = compact_events(lake, ledger, TARGET)
    assert (done.commits, done.refused) == (0, 2)
    assert content(lake) == before
    assert all_fingerprints(ledger) == fingerprints_of_rows(lake)


def test_without_looking_again_two_rewrites_double_the_rows(local, monkeypatch):
    """The test above proves something only if it fails where deltalake alone decides what is a conflict."""
    lake, ledger = local.open()
    for n in range(2):
        load_rows(lake, ledger, f"f{n}")
    before, stale = content(lake), lake.events()
    assert compact_events(lake, ledger, TARGET).commits == 2
    stale.optimize.compact()
    assert sum(map(len, content(lake))) > sum(map(len, before))


def test_an_answer_that_is_lost_is_no_refusal(local, monkeypatch):
    lake, ledger = local.open()
    for n in range(2):
        load_rows(lake, ledger, f"f{n}")
    before, real = content(lake), DeltaTable.create_write_transaction

    def lost(self: DeltaTable, *arguments: Any, **keywords: Any) -> None:
        real(self, *arguments, **keywords)
        raise CommitFailedError("the version exists")

    monkeypatch.setattr(DeltaTable, "create_write_transaction", lost)
    done = compact_events(lake, ledger, TARGET)
    assert (done.commits, done.refused) == (2, 0)
    assert content(lake) == before


def test_a_table_that_takes_no_commit_is_an_error(local, monkeypatch):
    lake, ledger = local.open()
    for n in range(2):
        load_rows(lake, ledger, f"f{n}", rows=5)

    def refuse(*arguments: Any, **keywords: Any) -> None:
        raise CommitFailedError("Unsupported table features required: [SomeNewFeature]")

    monkeypatch.setattr(DeltaTable, "create_write_transaction", refuse)
    with pytest.raises(LakeError, match="SomeNewFeature"):
        compact_events(lake, ledger, TARGET)


def test_one_run_at_a_time(local):
    lake, ledger = local.open()
    with leases.held(ledger, "maintenance:events", "another", 60), pytest.raises(MaintenanceBusy):
        compact_events(lake, ledger, TARGET)


def _load_on(where: Any, stop: Any) -> int:
    lake, ledger = where.open()
    done = 0
    while not stop.is_set():
        load_rows(lake, ledger, f"on{done}", rows=12)
        done += 1
    return done


def _read_on(where: Any, version: int, stop: Any) -> int:
    """Read an hour at one version again and again, as an export does; the last time when all is done."""
    lake, _ = where.open()

    def uuids() -> list[str]:
        batches = read_hour(lake, PROJECT, NOON, version, ["uuid"])
        return [uuid for batch in batches for uuid in batch.column(0).to_pylist()]

    first, last = uuids(), False
    while not last:
        last = stop.is_set()
        assert uuids() == first
    return len(first)


def test_processes_that_load_and_read_go_on_while_files_are_rewritten(where):
    lake, ledger = where.open()
    for n in range(2):
        load_rows(lake, ledger, f"f{n}")
    version, rows = lake.events().version(), len(content(lake)[2])
    rewritten = 0
    with forks().Manager() as manager, ProcessPoolExecutor(2, mp_context=forks()) as pool:
        stop = manager.Event()
        loader = pool.submit(_load_on, where, stop)
        reader = pool.submit(_read_on, where, version, stop)
        try:
            while rewritten < 4 and not (loader.done() or reader.done()):
                done = compact_events(lake, ledger, TARGET)
                assert done.refused == 0
                rewritten += done.commits
        finally:
            stop.set()
        loaded = loader.result()
        assert reader.result() == rows > 0
    assert rewritten >= 4
    assert loaded >= 2
    ids = Counter(lake.events().to_pyarrow_table(columns=["$insert_id"]).column(0).to_pylist())
    assert set(ids.values()) == {1}
    assert len(ids) == 120 + 12 * loaded
    catch_up(lake, ledger, lake.events())
    assert all_fingerprints(ledger) == fingerprints_of_rows(lake)


def _compact_and_die(where: Any, when: str, call: int) -> None:
    lake, ledger = where.open()
    real, calls = compact_module.replace_files, []

    def watched(*arguments: Any) -> bool:
        calls.append(1)
        if when == "before" and len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        done = real(*arguments)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    compact_module.replace_files = watched  # type: ignore[assignment]
    compact_events(lake, ledger, TARGET)


@pytest.mark.parametrize(("when", "call", "left"), [("before", 1, 2), ("after", 1, 1), ("before", 2, 1)])
def test_a_killed_run_is_finished_by_the_next(local, when, call, left):
    lake, ledger = local.open()
    for n in range(2):
        load_rows(lake, ledger, f"f{n}", rows=10)
    before = content(lake)
    worker = forks().Process(target=_compact_and_die, args=(local, when, call))
    worker.start()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL
    assert content(lake) == before
    with pytest.raises(MaintenanceBusy):
        compact_events(lake, ledger, TARGET)
    with ledger.begin() as connection:  # as if its lease had run out
        connection.execute(leases.leases.delete())
    assert compact_events(lake, ledger, TARGET).commits == left
    assert content(lake) == before
    assert all_fingerprints(ledger) == fingerprints_of_rows(lake)


def test_a_data_file_that_lost_a_row_is_not_rewritten(local):
    lake, ledger = local.open()
    for n in range(2):
        load_rows(lake, ledger, f"f{n}", rows=10)
    victim = data_files(lake.events())[0].path
    filesystem = lake.table_filesystem("events")
    rows = pq.read_table(victim, filesystem=filesystem, partitioning=None)
    pq.write_table(rows.slice(1), victim, filesystem=filesystem)
    version = lake.events().version()
    with pytest.raises(LakeError, match="Nothing was committed"):
        compact_events(lake, ledger, TARGET)
    assert lake.events().version() in (version, version + 1)  # the other day may have come first


def test_large_days_become_files_of_about_one_size_one_after_the_other_in_time(local, monkeypatch):
    monkeypatch.setattr("sluice.lake.enrich.BATCH_ROWS", 60)
    monkeypatch.setattr("sluice.lake.maintenance.compact._BATCH_ROWS", 60)
    monkeypatch.setattr("sluice.lake.data_files.ROW_GROUP_ROWS", 60)
    lake, ledger = local.open()
    for n in range(14):
        load_rows(lake, ledger, f"f{n}", rows=60)
    before = content(lake)
    days: Counter[Any] = Counter()
    for file in data_files(lake.events()):
        days[file.partition] += file.size
    target = max(days.values()) // 5
    assert compact_events(lake, ledger, target).commits == 2
    assert content(lake) == before
    files = data_files(lake.events())
    many: list[int] = []
    for partition in days:
        own = sorted(
            (file for file in files if file.partition == partition),
            key=lambda file: file.lowest["server_upload_time"],
        )
        many.append(len(own))
        assert all(file.size > target / 2 for file in own[:-1])
        for earlier, later in pairwise(own):
            assert earlier.highest["server_upload_time"] <= later.lowest["server_upload_time"] + timedelta(
                milliseconds=1
            )
    assert max(many) >= 2
    # Large files are not touched again when small ones join them.
    for name in ("late", "later"):
        load_rows(lake, ledger, name, rows=20)
        done = compact_events(lake, ledger, target)
    assert (done.files_before, done.files_after) == (4, 2)
    assert {file.path for file in files} < {file.path for file in data_files(lake.events())}


DAYS = [date(2013, 1, day) for day in (1, 2, 3)]
FILES = st.lists(
    st.tuples(st.integers(1, 200), st.sampled_from([1, 2]), st.sampled_from(DAYS), st.integers(0, 23)),
    max_size=25,
)


@given(FILES, st.integers(1, 4))
@settings(max_examples=8, deadline=None)
def test_a_plan_takes_each_small_file_of_a_closed_day_once_and_leaves_no_pair(sizes, row_limit):
    files = [
        DataFile(
            f"file{n}",
            size,
            1,
            (("app", app), ("upload_date", day)),
            {"server_upload_time": datetime(day.year, day.month, day.day, hour, tzinfo=UTC)},
            {},
        )
        for n, (size, app, day, hour) in enumerate(sizes)
    ]
    closed = {1: DAYS[2], 2: DAYS[1]}
    original, compact_module.MAX_ROWS = compact_module.MAX_ROWS, row_limit
    try:
        plan = list(plan_units(files, closed, 128))
    finally:
        compact_module.MAX_ROWS = original
    small = {
        f.path
        for f in files
        if f.size < 64 and dict(f.partition)["upload_date"] < closed[dict(f.partition)["app"]]
    }
    taken = Counter(file.path for unit in plan for file in unit)
    assert set(taken) <= small
    assert set(taken.values()) <= {1}
    for unit in plan:
        assert 2 <= len(unit) <= row_limit
        assert len({file.partition for file in unit}) == 1
        moments = [file.lowest["server_upload_time"] for file in unit]
        assert moments == sorted(moments)
    if row_limit > 1:
        # What is left over in a partition would not fit into another unit: at most one file each.
        left = Counter(f.partition for f in files if f.path in small - set(taken))
        assert all(many <= 1 for many in left.values())


MOMENT = st.integers(0, 40).map(lambda second: NOON + timedelta(seconds=second))
SORTED_FILES = st.lists(st.lists(st.tuples(MOMENT, MOMENT), min_size=1, max_size=12), min_size=1, max_size=6)


@given(SORTED_FILES, st.integers(1, 7), st.data())
@settings(max_examples=8, deadline=None)
def test_files_are_merged_into_the_total_order_whatever_their_own(tmp_path_factory, files, batch_rows, data):
    schema = pa.schema([EVENTS.field(name) for name in (*ORDER, "uuid")])
    folder = tmp_path_factory.mktemp("merge")
    filesystem = pa.fs.SubTreeFileSystem(str(folder), pa.fs.LocalFileSystem())
    timed, everything = [], []
    for number, rows in enumerate(files):
        rows = [(*row, place, f"{number}/{place}") for place, row in enumerate(rows)]
        if sorts := data.draw(st.booleans()):
            rows.sort(key=lambda row: row[:3])
        everything += [(*row[:2], row[2], row[3]) for row in rows]
        table = pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)
        if sorts:
            table = table.replace_schema_metadata({"sluice.sorted_by": ",".join(ORDER)})
        pq.write_table(table, f"file{number}", filesystem=filesystem)
        times = [row[0] for row in rows]
        timed.append(TimedFile.of(f"file{number}", min(times), max(times)))

    def read(parquet: pq.ParquetFile, wanted: pa.Schema) -> Any:
        yield from parquet.iter_batches(batch_rows, columns=wanted.names)

    merged = [
        tuple(row.values())
        for batch in in_order(filesystem, timed, read, schema, batch_rows)
        for row in batch.to_pylist()
    ]
    assert [row[:3] for row in merged] == sorted(row[:3] for row in everything)
    assert sorted(merged) == sorted(everything)

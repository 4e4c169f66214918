"""Duplicates against history: decided as plain SQL would, whatever became of data files and cache."""

from __future__ import annotations

import json
import shutil
import uuid
from datetime import UTC, datetime, timedelta
from itertools import count

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fresh import fresh_lake, fresh_ledger
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lake_staging import stage, staged_rows

from sluice.lake import LoadRequest, load
from sluice.lake.decision import DEDUP_WINDOW
from sluice.lake.key_cache import root
from sluice.lake.snapshot import Snapshot

PROJECT = 187520
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
TICK = timedelta(milliseconds=1)


@pytest.fixture
def ledger(tmp_path):
    """Nothing here depends on the ledger's database."""
    return fresh_ledger(tmp_path / "ledger.db")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLUICE_CACHE", str(tmp_path / "cache"))


def load_at(lake, ledger, monkeypatch, instant, ids, name=None):
    monkeypatch.setattr(Snapshot, "next_instant", lambda self: instant)
    return load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, name or uuid.uuid4().hex, ids)])).counts


def key_files():
    return sorted(root().rglob("*.keys"))


def compact(lake):
    lake.events().optimize.compact()


@pytest.mark.parametrize(
    ("later", "loaded"), [(-TICK, 0), (timedelta(0), 0), (TICK, 1)], ids=["before", "at", "after"]
)
@pytest.mark.parametrize("mixed", [False, True])
def test_the_window_ends_after_exactly_seven_days(lake, ledger, monkeypatch, later, loaded, mixed):
    load_at(lake, ledger, monkeypatch, BEGIN, ["a", "b"])
    load_at(lake, ledger, monkeypatch, BEGIN + timedelta(hours=2), ["c"])
    if mixed:
        # One file has rows on both sides of the window's beginning.
        compact(lake)
        assert len(lake.events().file_uris()) == 1
    counts = load_at(lake, ledger, monkeypatch, BEGIN + DEDUP_WINDOW + later, ["b", "c"])
    assert counts.loaded == loaded
    assert counts.duplicate == 2 - loaded


def delete(file):
    file.unlink()


def truncate(file):
    file.write_bytes(file.read_bytes()[:-40])


def flip(file):
    # The first byte of the first key.
    content = bytearray(file.read_bytes())
    content[32] ^= 1
    file.write_bytes(content)


def replace(file):
    file.write_bytes(b"something else altogether")


@pytest.mark.parametrize("damage", [delete, truncate, flip, replace])
def test_damage_to_the_cache_changes_no_decision(lake, ledger, monkeypatch, damage):
    load_at(lake, ledger, monkeypatch, BEGIN, ["a", "b"])
    load_at(lake, ledger, monkeypatch, BEGIN + TICK, ["c"])
    load_at(lake, ledger, monkeypatch, BEGIN + 2 * TICK, ["d"])
    assert len(key_files()) == 2
    for file in key_files():
        damage(file)
    counts = load_at(lake, ledger, monkeypatch, BEGIN + 3 * TICK, list("abcde"))
    assert (counts.loaded, counts.duplicate) == (1, 4)


def test_a_warm_load_reads_no_keys_from_the_lake(lake, ledger, monkeypatch):
    load_at(lake, ledger, monkeypatch, BEGIN, ["a"])
    load_at(lake, ledger, monkeypatch, BEGIN + TICK, ["b"])
    read: list[str] = []
    from sluice.lake import key_search

    original = key_search.read_blocks

    def read_blocks(snapshot, kind, file):
        read.append(file.path)
        return original(snapshot, kind, file)

    monkeypatch.setattr(key_search, "read_blocks", read_blocks)
    load_at(lake, ledger, monkeypatch, BEGIN + 2 * TICK, ["c"])
    # Only the file of the load before is new.
    assert len(read) == 1
    load_at(lake, ledger, monkeypatch, BEGIN + 2 * DEDUP_WINDOW, ["a", "b", "c"])
    assert len(read) == 1


def test_a_file_without_statistics_is_looked_at_row_by_row(lake, ledger, monkeypatch):
    """Another engine may write a file and say nothing of its bounds."""
    from deltalake.transaction import AddAction, RemoveAction

    from sluice.lake.schema import EVENTS

    load_at(lake, ledger, monkeypatch, BEGIN, ["a"])
    load_at(lake, ledger, monkeypatch, BEGIN + timedelta(hours=2), ["b"])
    compact(lake)
    (add,) = pa.table(lake.events().get_add_actions(flatten=True)).to_pylist()
    filesystem = lake.table_filesystem("events")
    copy = add["path"].replace("part-", "copy-")
    rows = pq.read_table(add["path"], filesystem=filesystem, partitioning=None)
    pq.write_table(rows, copy, filesystem=filesystem, write_statistics=False)
    values = {"app": str(add["partition.app"]), "upload_date": str(add["partition.upload_date"])}
    size = filesystem.get_file_info(copy).size
    lake.events().create_write_transaction(
        [
            AddAction(copy, size, values, 0, False, "{}"),
            RemoveAction(add["path"], False, 0, partition_values=values, size=add["size_bytes"]),
        ],
        mode="append",
        schema=EVENTS,
        partition_by=["app", "upload_date"],
    )
    counts = load_at(lake, ledger, monkeypatch, BEGIN + DEDUP_WINDOW + timedelta(hours=1), ["a", "b"])
    assert (counts.loaded, counts.duplicate) == (1, 1)


def test_keys_that_share_a_half_are_told_apart(lake, ledger, monkeypatch):
    def staged(name, keys):
        rows = staged_rows([str(n) for n in range(len(keys))], key=name)
        for column, half in (("dedup_hi", 0), ("dedup_lo", 1)):
            values = pa.array([key[half] for key in keys], pa.int64())
            rows = rows.set_column(rows.column_names.index(column), column, values)
        file = stage(lake, name, [])
        pq.write_table(rows, file.events, filesystem=lake.filesystem())
        return type(file)(file.bucket, name, "e", len(keys), 0, 0, file.events)

    first = staged("one", [(1, 1), (1, 2), (2, 1), (1, 2), (-1, 1)])
    assert load(lake, ledger, LoadRequest(PROJECT, "s", [first])).counts.loaded == 4
    second = staged("two", [(1, 3), (2, 1), (2, 2), (-1, 1), (1, 2)])
    assert load(lake, ledger, LoadRequest(PROJECT, "s", [second])).counts.loaded == 2


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("load"),
            st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=6),
            st.sampled_from([TICK, timedelta(days=3), timedelta(days=4), DEDUP_WINDOW, DEDUP_WINDOW + TICK]),
        ),
        st.tuples(st.sampled_from(["compact", "forget the cache", "damage the cache"])),
    ),
    min_size=3,
    max_size=7,
)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_any_history_gives_what_plain_sql_says(tmp_path, monkeypatch, steps):
    folder = tmp_path / uuid.uuid4().hex
    lake, ledger = fresh_lake(folder / "lake"), fresh_ledger(folder.with_suffix(".db"))
    instant = BEGIN
    names = (f"f{n}" for n in count())
    for kind, *what in steps:
        if kind == "compact":
            compact(lake)
        elif kind == "forget the cache":
            shutil.rmtree(root(), ignore_errors=True)
        elif kind == "damage the cache":
            for file in key_files():
                flip(file)
        else:
            ids, later = what
            instant += later
            expected = plain_sql(lake, instant, ids)
            name = next(names)
            load_at(lake, ledger, monkeypatch, instant, ids, name)
            stored = lake.events().to_pyarrow_table(columns=["object", "row"]).to_pylist()
            kept = {row["row"] for row in stored if row["object"] == f"s3://bucket/{name}"}
            assert kept == expected, json.dumps([str(step) for step in steps])


def plain_sql(lake, instant, ids) -> set[int]:
    """Return which rows of a file stay by the definition of amplitude-spec 4.6."""
    events = lake.events().to_pyarrow_table(columns=["dedup_hi", "dedup_lo", "loaded_at"])
    staged = staged_rows(ids, key="any").select(["row", "dedup_hi", "dedup_lo"])
    with duckdb.connect() as connection:
        connection.execute("SET timezone = 'UTC'")
        connection.register("events", events)
        connection.register("staged", staged)
        rows = connection.execute(
            """
            SELECT min("row") FROM staged s
            WHERE NOT EXISTS (
                SELECT 1 FROM events e WHERE e.dedup_hi = s.dedup_hi AND e.dedup_lo = s.dedup_lo
                AND e.loaded_at >= ?::TIMESTAMPTZ - INTERVAL 168 HOURS)
            GROUP BY dedup_hi, dedup_lo
            """,
            [instant],
        ).fetchall()
    return {row for (row,) in rows}

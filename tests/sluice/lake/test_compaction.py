"""Maintenance beside the load protocol: compaction moves rows and changes nothing that can be seen."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake.transaction import AddAction, RemoveAction
from fresh import fresh_ledger
from lake_staging import NOON, stage

from sluice.lake import Lake, LoadRequest, hour_fingerprint, load, read_hour
from sluice.lake.schema import EVENTS
from sluice.lake.snapshot import Snapshot

PROJECT = 187520
HOURS = [NOON + timedelta(hours=n) for n in range(-1, 3)]


@pytest.fixture
def ledger(tmp_path):
    """Nothing here depends on the ledger's database."""
    return fresh_ledger(tmp_path / "ledger.db")


def in_hour(lake: Lake, hour: datetime, project: int = PROJECT) -> list[tuple]:
    columns = ["uuid", "server_upload_time", "amplitude_id", "app", "upload_date"]
    batches = read_hour(lake, project, hour, lake.events().version(), columns)
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


def load_hours(lake, ledger, loads: int = 4, project: int = PROJECT) -> None:
    """Load rows at microseconds around NOON, in several loads that overlap in time."""
    chance = random.Random(7)
    for number in range(loads):
        times = [NOON + timedelta(microseconds=chance.randrange(-(10**6), 2 * 10**6)) for _ in range(200)]
        # The last and the first microsecond of two hours, and the same moment twice.
        times[:4] = [NOON - timedelta(microseconds=1), NOON, NOON, NOON + timedelta(microseconds=1)]
        staged = stage(lake, f"f{number}", [f"e{number}-{n}" for n in range(200)], at=times.__getitem__)
        load(lake, ledger, LoadRequest(project, f"s{project}", [staged], "event_time"))


def compact(lake: Lake) -> None:
    assert lake.events().optimize.compact()["numFilesRemoved"] > 1


def z_order(lake: Lake) -> None:
    assert lake.events().optimize.z_order(["user_id", "uuid"])["numFilesRemoved"] > 0


@pytest.mark.parametrize("rewrite", [compact, z_order])
def test_a_rewrite_changes_no_row_and_no_order(lake, ledger, rewrite):
    load_hours(lake, ledger)
    before = [in_hour(lake, hour) for hour in HOURS]
    assert [len(rows) > 0 for rows in before] == [True, True, False, False]
    rewrite(lake)
    assert [in_hour(lake, hour) for hour in HOURS] == before
    # What comes afterwards is decided and ordered as if nothing had been rewritten.
    mixed = stage(lake, "late", ["e0-7", "late", "e3-199"], at=lambda _: NOON)
    result = load(lake, ledger, LoadRequest(PROJECT, "t", [mixed], "event_time"))
    assert (result.counts.loaded, result.counts.duplicate) == (1, 2)
    rows = in_hour(lake, NOON)
    assert len(rows) == len(before[1]) + 1 == hour_fingerprint(ledger, PROJECT, NOON).rows
    assert [row for row in rows if row in before[1]] == before[1]
    assert [row[1] for row in rows] == sorted(row[1] for row in rows)
    assert len({row[2] for row in rows}) == 1


def test_a_compaction_between_a_snapshot_and_its_commit_refuses_nothing(lake, ledger, monkeypatch):
    load_hours(lake, ledger)
    original = Snapshot.commit

    def commit(self, actions, entry) -> None:
        compact(lake)
        original(self, actions, entry)

    monkeypatch.setattr(Snapshot, "commit", commit)
    result = load(lake, ledger, LoadRequest(PROJECT, "t", [stage(lake, "x", ["e0-1", "new"])]))
    assert (result.commits, result.refusals, result.counts.duplicate) == (1, 0, 1)


def test_projects_of_one_day_do_not_see_each_other(lake, ledger):
    for project in (PROJECT, 18752, 1875201):
        load_hours(lake, ledger, loads=2, project=project)
    before = {project: in_hour(lake, NOON, project) for project in (PROJECT, 18752, 1875201)}
    assert len({row[0] for row in before[PROJECT]}) == len(before[PROJECT])
    assert {row[3] for rows in before.values() for row in rows} == set(before)
    compact(lake)
    assert {project: in_hour(lake, NOON, project) for project in before} == before


def test_a_file_without_statistics_is_read_and_not_left_out(lake, ledger):
    """Another engine may rewrite a file and say nothing of its bounds."""
    load_hours(lake, ledger, loads=2)
    before = in_hour(lake, NOON)
    events = lake.events()
    filesystem = lake.table_filesystem("events")
    for add in pa.table(events.get_add_actions(flatten=True)).to_pylist():
        rows = pq.read_table(add["path"], filesystem=filesystem, partitioning=None)
        copy = add["path"].replace("part-", "copy-")
        shuffled = rows.take(pa.array(random.Random(1).sample(range(len(rows)), len(rows))))
        pq.write_table(shuffled, copy, filesystem=filesystem, write_statistics=False)
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
    assert in_hour(lake, NOON) == before
    again = stage(lake, "again", ["e0-3", "e1-3"])
    assert load(lake, ledger, LoadRequest(PROJECT, "t", [again])).counts.duplicate == 2


def test_large_files_are_read_in_order_row_group_by_row_group(lake, ledger, monkeypatch):
    monkeypatch.setattr("sluice.lake.enrich.BATCH_ROWS", 25)
    monkeypatch.setattr("sluice.lake.data_files.ROW_GROUP_ROWS", 50)
    monkeypatch.setattr("sluice.lake.data_files.FILE_ROWS", 150)
    load_hours(lake, ledger, loads=3)
    rows = in_hour(lake, NOON)
    files = lake.events().file_uris()
    assert len(files) > 3
    assert [row[1] for row in rows] == sorted(row[1] for row in rows)
    table = lake.events().to_pyarrow_table(columns=["uuid", "server_upload_time", "loaded_at", "seq"])
    inside = table.filter(
        pc.and_(
            pc.greater_equal(table["server_upload_time"], pa.scalar(NOON)),
            pc.less(table["server_upload_time"], pa.scalar(NOON + timedelta(hours=1))),
        )
    ).sort_by([(name, "ascending") for name in ("server_upload_time", "loaded_at", "seq")])
    assert [row[0] for row in rows] == inside["uuid"].to_pylist()

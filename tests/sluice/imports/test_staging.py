"""Staged rows: whole files or none, batches of bounded size, nothing left behind."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from sluice.imports import blocks, staging
from sluice.imports.blocks import Block, BlockBuilder, Reject
from sluice.imports.events import Cells, EventBuilder
from sluice.imports.identity import RowNames
from sluice.imports.staging import StagingWriter, remove_run, run_folder
from sluice.imports.tally import Tally
from sluice.imports.times import EventTimes
from sluice.lake.schema import STAGED_EVENTS, STAGED_REJECTS

TIMES = EventTimes("now", datetime(2026, 11, 21, tzinfo=UTC), date(2000, 1, 1), require_time=True)
RUN = "scheduled__2026-11-21T12:00:00+00:00"


@pytest.fixture
def filesystem(tmp_path: Path) -> pafs.FileSystem:
    return pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem())


def cells(row: int, **fields: object) -> Cells:
    event = {"event_type": "e", "user_id": "user-1", "time": 1357034400000, **fields}
    return EventBuilder(RowNames("s", "b", "k"), TIMES).cells(row, event)


def block(*rows: Cells | Reject) -> Block:
    builder = BlockBuilder(TIMES)
    for row in rows:
        builder.add(row)
    return builder.block(Tally())


def paths(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_rows_are_read_back_in_their_order(
    filesystem: pafs.FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "GROUP_ROWS", 10)
    with StagingWriter(filesystem, run_folder("s", RUN)) as writer:
        for start in range(0, 25, 5):
            writer.write(block(*(cells(row) for row in range(start, start + 5))))
        writer.write(block(Reject(25, "time", "is missing", "raw")))
        events, rejects = writer.close()
    assert events is not None
    assert rejects is not None
    table = pq.read_table(events, filesystem=filesystem)
    assert table.schema == STAGED_EVENTS
    assert table.column("row").to_pylist() == list(range(25))
    assert pq.ParquetFile(filesystem.open_input_file(events)).metadata.num_row_groups == 3
    refused = pq.read_table(rejects, filesystem=filesystem)
    assert refused.schema == STAGED_REJECTS
    assert refused.to_pylist() == [{"row": 25, "field": "time", "reason": "is missing", "raw": "raw"}]


def test_large_rows_end_a_batch_and_a_row_group_early(
    filesystem: pafs.FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BATCH_CHARS", 5_000)
    monkeypatch.setattr(staging, "GROUP_BYTES", 5_000)
    rows = block(*(cells(row, event_properties={"a": "x" * 1000}) for row in range(9)))
    assert [batch.num_rows for batch in rows.events] == [4, 4, 1]
    with StagingWriter(filesystem, "f") as writer:
        writer.write(rows)
        path, _ = writer.close()
    metadata = pq.ParquetFile(filesystem.open_input_file(path)).metadata
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [4, 4, 1]


def test_a_file_without_rows_stages_nothing(filesystem: pafs.FileSystem, tmp_path: Path) -> None:
    with StagingWriter(filesystem, "f") as writer:
        assert writer.close() == (None, None)
    assert paths(tmp_path) == []


def test_a_refused_file_keeps_its_rejects_only(filesystem: pafs.FileSystem, tmp_path: Path) -> None:
    with StagingWriter(filesystem, "f") as writer:
        writer.write(block(cells(0), Reject(1, None, "torn", "")))
        events, rejects = writer.close(events=False)
    assert events is None
    assert [str(path.relative_to(tmp_path)) for path in paths(tmp_path)] == [rejects]


def test_a_failure_leaves_nothing(
    filesystem: pafs.FileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "GROUP_ROWS", 1)
    with pytest.raises(RuntimeError), StagingWriter(filesystem, "f") as writer:
        writer.write(block(cells(0)))
        assert len(paths(tmp_path)) == 1
        raise RuntimeError
    assert paths(tmp_path) == []


def test_a_run_is_removed_with_what_was_left_behind_long_ago(
    filesystem: pafs.FileSystem, tmp_path: Path
) -> None:
    for run in (RUN, "other-run", "old-run"):
        with StagingWriter(filesystem, run_folder("s", run)) as writer:
            writer.write(block(cells(0)))
            writer.close()
    [old] = paths(tmp_path / run_folder("s", "old-run"))
    os.utime(old, (0, 0))
    remove_run(filesystem, "s", RUN)
    assert [path.parent.name for path in paths(tmp_path)] == ["other-run"]
    remove_run(filesystem, "s", RUN)
    remove_run(filesystem, "never", RUN)

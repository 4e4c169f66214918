"""A load whose counts disagree commits nothing: each fate is counted by itself (invariant 6)."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fresh import fresh_lake, fresh_ledger
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lake_staging import NOON, stage
from replay_staging import row, stage_replay

from sluice.lake import Counts, Lake, LoadRequest, StagedFile, load
from sluice.lake.decision import Decision, count_per_file, decide, order_of, places_per_file
from sluice.lake.reconciliation import NotReconciled
from sluice.lake.replay import decide_replay
from sluice.lake.schema import STAGED_REJECTS
from sluice.lake.store import SIDE_TABLES
from sluice.ledger import Ledger

PROJECT = 187520
# The package calls its function by the same name.
LOAD = importlib.import_module("sluice.lake.load")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    # No word of SQL is at stake here: one database will do.
    return fresh_ledger(tmp_path / "ledger.db")


def versions(lake: Lake) -> dict[str, int]:
    return {name: lake.table(name).version() for name in (*SIDE_TABLES, "events")}


def refused(lake: Lake, ledger: Ledger, request: LoadRequest) -> str:
    """Try a load that must not be: return what it says, having seen that nothing was committed."""
    before = versions(lake), lake.events().to_pyarrow_table().num_rows
    with pytest.raises(NotReconciled) as error:
        load(lake, ledger, request)
    assert (versions(lake), lake.events().to_pyarrow_table().num_rows) == before
    return str(error.value)


def faulty(change: Callable[[Decision], Decision]) -> Any:
    return lambda *arguments: change(decide(*arguments))


def kept(decision: Decision, keep: list[bool]) -> Decision:
    """The decision as it would be with a mistake in `keep`."""
    mask = np.array(keep)
    return replace(decision, keep=mask, seq=order_of(mask, None), kept_per_file=count_per_file(mask, [3, 2]))


# Of the rows a, b, a and b, c the third and the fourth are duplicates.
FAULTS: dict[str, tuple[Callable[[Decision], Decision], str]] = {
    "a duplicate is kept": (
        lambda decision: kept(decision, [True, True, True, False, True]),
        "bucket/f1: 3 rows were read, but 4 have a fate: 3 loaded + 1 duplicate + 0 ignored + 0 rejected",
    ),
    "a new row is lost": (
        lambda decision: kept(decision, [True, True, False, False, False]),
        "bucket/f2: 2 rows were read, but 1 have a fate: 0 loaded + 1 duplicate + 0 ignored + 0 rejected",
    ),
    "a duplicate is not counted": (
        lambda decision: replace(decision, duplicate_per_file=[0, 1]),
        "bucket/f1: 3 rows were read, but 2 have a fate: 2 loaded + 0 duplicate",
    ),
    "more are said to be kept than are": (
        lambda decision: replace(decision, kept_per_file=[2, 2], duplicate_per_file=[1, 0]),
        "bucket/f2: 2 rows were to be loaded, but 1 rows of it went to the data files",
    ),
    "a kept row is rejected as well": (
        lambda decision: replace(
            decision,
            rejected=[
                pa.table({"row": [0], "field": ["a"], "reason": ["b"], "raw": ["c"]}, schema=STAGED_REJECTS),
                decision.rejected[1],
            ],
        ),
        "bucket/f1: 3 rows were read, but 4 have a fate: 2 loaded + 1 duplicate + 0 ignored + 1 rejected",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_decision_is_named_with_its_file_and_numbers(lake: Lake, ledger: Ledger, fault: str) -> None:
    change, message = FAULTS[fault]
    files = [stage(lake, "f1", ["a", "b", "a"]), stage(lake, "f2", ["b", "c"])]
    assert message in refused(lake, ledger, LoadRequest(PROJECT, "s", files, decide=faulty(change)))
    # What was staged is all right: the same files are loaded once the decision is.
    assert load(lake, ledger, LoadRequest(PROJECT, "s", files)).counts == Counts(5, 3, 2, 0, 0)


def test_rows_that_do_not_reach_the_data_files_are_missed(
    lake: Lake, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LOAD.enriched_rows

    def losing(*arguments: Any) -> Any:
        return (batch.slice(1) for batch in real(*arguments))

    monkeypatch.setattr(LOAD, "enriched_rows", losing)
    # Out of order, so that the rows go through the files of the reordering.
    staged = stage(lake, "f1", "abc", at=lambda n: NOON.replace(minute=9 - n))
    message = refused(lake, ledger, LoadRequest(PROJECT, "s", [staged], "event_time"))
    assert "bucket/f1: 3 rows were to be loaded, but 2 rows of it went to the data files" in message


def test_rows_that_the_writer_loses_are_missed(
    lake: Lake, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LOAD.write_data_files
    monkeypatch.setattr(LOAD, "write_data_files", lambda *a, **k: real(*a, **k)[:0])
    message = refused(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "f1", "abc")]))
    assert "3 rows of 1 files were to be loaded, but the data files have 0" in message
    assert "fingerprints 3" in message


def test_rejected_rows_that_are_not_kept_are_missed(lake: Lake, ledger: Ledger) -> None:
    events = stage(lake, "f1", ["a"]).events
    rows = pa.table({"row": [1], "field": ["time"], "reason": ["no"], "raw": ["x"]}, schema=STAGED_REJECTS)
    pq.write_table(rows, "_staging/r.parquet", filesystem=lake.filesystem())
    file = StagedFile("bucket", "f1", "etag", 4, 1, 2, events, "_staging/r.parquet")
    message = refused(lake, ledger, LoadRequest(PROJECT, "s", [file]))
    assert "bucket/f1: 2 rows were rejected, but 1 rejected rows are kept" in message


@pytest.mark.parametrize("replayed", [False, True])
def test_staged_events_that_shrank_are_missed(lake: Lake, ledger: Ledger, replayed: bool) -> None:
    file = stage_replay(lake, "f1", [row("a"), row("b")]) if replayed else stage(lake, "f1", ["a", "b"])
    table = pq.read_table(file.events, filesystem=lake.filesystem())
    pq.write_table(table.slice(0, 1), file.events, filesystem=lake.filesystem())
    request = LoadRequest(PROJECT, "s", [file], decide=decide_replay if replayed else decide)
    message = refused(lake, ledger, request)
    assert re.search(r"bucket/f1: \S+ has 1 staged rows, but 2 rows were read", message)


NAMES = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=6), min_size=1, max_size=4)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(loads=st.lists(st.tuples(st.booleans(), NAMES), min_size=1, max_size=3))
def test_the_counts_of_any_loads_add_up(
    tmp_path_factory: pytest.TempPathFactory, loads: list[tuple[bool, list[list[str]]]]
) -> None:
    """Whatever repeats within a file, over files and over loads: what is kept is what is there once."""
    folder = tmp_path_factory.mktemp("any")
    lake = fresh_lake(folder / "lake")
    ledger = fresh_ledger(folder / "ledger.db")
    seen: set[tuple[bool, str]] = set()
    for number, (replayed, files) in enumerate(loads):
        staged = [
            stage_replay(lake, f"{number}/{n}", [row(name, dedup_hi=None) for name in names])
            if replayed
            else stage(lake, f"{number}/{n}", names)
            for n, names in enumerate(files)
        ]
        how = decide_replay if replayed else decide
        result = load(lake, ledger, LoadRequest(PROJECT, "s", staged, decide=how))
        every = [(replayed, name) for names in files for name in names]
        new = set(every) - seen
        seen |= new
        assert result.counts == Counts(len(every), len(new), len(every) - len(new), 0, 0)
    assert lake.events().to_pyarrow_table().num_rows == len(seen)


@given(sizes=st.lists(st.integers(0, 5), min_size=1, max_size=6), data=st.data())
def test_places_are_counted_by_the_files_that_they_lie_in(sizes: list[int], data: st.DataObject) -> None:
    some = np.array([data.draw(st.booleans()) for _ in range(sum(sizes))], dtype=bool)
    assert places_per_file(np.flatnonzero(some), sizes) == count_per_file(some, sizes)

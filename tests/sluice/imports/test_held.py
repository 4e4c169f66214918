"""What a gate holds of an import: nobody else touches it, and a person's word ends it, exactly once."""

from __future__ import annotations

import logging
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fresh import fresh_ledger
from gated_import import SOURCE, GatedImport
from sqlalchemy import update

import sluice.imports.held
from sluice.errors import SluiceError
from sluice.imports.gate import check_load, discard_held, expire_held, gate_of
from sluice.imports.held import tell_held
from sluice.imports.left_behind import clear_left_behind
from sluice.imports.load import load_run
from sluice.imports.report import report_run
from sluice.imports.retry import NotGivenUp, NotRetried, give_up_file, retry_file
from sluice.lake import Lake
from sluice.ledger import Ledger, files, quality
from sluice.ledger.files import NewFile, holder_of
from sluice.ledger.quality import Gate
from sluice.ledger.tables import quality_gates

WEEK = timedelta(days=7)


@pytest.fixture
def imports(lake: Lake, ledger: Ledger) -> GatedImport:
    return GatedImport(lake, ledger)


@pytest.fixture
def on_sqlite(lake: Lake, tmp_path: Path) -> GatedImport:
    """For what asks nothing new of a database."""
    return GatedImport(lake, fresh_ledger(tmp_path / "one.db"))


def hold(imports: GatedImport, run: str = "run-1") -> Gate:
    """Let a run stage a good and a bad file, and one that had failed; its gate holds them."""
    bad = imports.rows("bad")
    bad[0]["event_type"] = None
    imports.stage("bad", bad, run)
    imports.stage("good", imports.rows("good"), run)
    imports.stage("broken", [], run, failed="The gzip data ends early.")
    gate = check_load(imports.run(run))
    assert gate is not None
    assert gate.state == "held"
    imports.let_claims_run_out()
    return gate


def waiting(imports: GatedImport, run: str) -> list[str]:
    return [file.key for file in files.waiting(imports.ledger, SOURCE, run)]


def discard(imports: GatedImport, gate: Gate) -> Gate:
    """Do what `sluice quality discard` does."""
    decided = quality.discard(imports.ledger, gate, "ann", "a column is missing")
    discard_held(imports.access, decided)
    return decided


def let_expire(imports: GatedImport, gate: Gate) -> None:
    with imports.ledger.begin() as connection:
        past = gate.checked_at - timedelta(hours=1)
        connection.execute(update(quality_gates).values(held_until=past))


def test_other_runs_pass_by_what_is_held(imports: GatedImport, caplog: pytest.LogCaptureFixture) -> None:
    gate = hold(imports)
    files.add_new(
        imports.ledger, SOURCE, "bucket", [NewFile("new", "e", 1, gate.checked_at)], "hash", "run-2"
    )
    assert waiting(imports, "run-2") == ["new"]
    held = imports.file("good")
    assert files.claim(imports.ledger, SOURCE, held, holder_of("run-2", 0), 60) is None
    with caplog.at_level(logging.WARNING):
        assert tell_held(imports.run("run-2")) == 3
    assert f"3 files of the run {gate.run} wait behind its quality gate" in caplog.text
    assert files.held(imports.ledger, SOURCE) == {gate.run: 3}
    assert files.held(imports.ledger, "another") == {}
    # Its own run may be cleared: it finds its own files, and its workers take them.
    assert tell_held(imports.run()) == 0
    assert waiting(imports, "run-1") == ["bad", "broken", "good", "new"]
    assert files.claim(imports.ledger, SOURCE, held, holder_of("run-1", 7), 60) is not None


def test_a_held_file_is_neither_retried_nor_given_up(on_sqlite: GatedImport) -> None:
    hold(on_sqlite)
    for error, refuse in (
        (NotRetried, lambda: retry_file(on_sqlite.run(""), "good")),
        (NotGivenUp, lambda: give_up_file(on_sqlite.ledger, on_sqlite.source, "good", "ann")),
    ):
        with pytest.raises(error, match="waits behind the quality gate of the run run-1"):
            refuse()
    assert on_sqlite.states()["good"] == "processing"


def test_clean_ups_pass_by_what_is_held(imports: GatedImport) -> None:
    hold(imports)
    long_ago = time.time() - 8 * WEEK.total_seconds()
    for path in Path(imports.lake.uri, "_staging").rglob("*.parquet"):
        os.utime(path, (long_ago, long_ago))
    cleared = clear_left_behind(imports.lake, imports.ledger, WEEK)
    assert (cleared.folders, cleared.claims) == (0, 0)
    # Nor does the load of a later run take it for left behind.
    imports.stage("later", imports.rows("later"), "run-2")
    check_load(imports.run("run-2"))
    assert load_run(imports.run("run-2")).counts.loaded == 20
    assert imports.staged_folders() == {"run-1"}
    assert imports.states() == dict.fromkeys(("bad", "good", "broken"), "processing") | {"later": "done"}


def test_a_release_lets_the_run_load_everything_once(on_sqlite: GatedImport) -> None:
    gate = hold(on_sqlite)
    quality.release(on_sqlite.ledger, gate, "ann", "they really have none")
    # Others still pass it by.
    assert waiting(on_sqlite, "run-2") == []
    again = check_load(on_sqlite.run())
    assert again is not None
    assert (again.state, again.is_open) == ("released", True)
    # The file without an event type is one that the lake takes.
    assert load_run(on_sqlite.run()).counts.loaded == 40
    assert load_run(on_sqlite.run()).files == 0
    assert (len(on_sqlite.loaded()), len(set(on_sqlite.loaded()))) == (40, 40)
    assert on_sqlite.states() == {"bad": "done", "good": "done", "broken": "failed"}
    assert on_sqlite.staged_folders() == set()
    assert files.held(on_sqlite.ledger, SOURCE) == {}


def test_a_release_that_no_run_followed_is_not_waited_for_for_ever(imports: GatedImport) -> None:
    gate = hold(imports)
    quality.release(imports.ledger, gate, "ann", "right")
    let_expire(imports, gate)
    assert expire_held(imports.run("run-2")) == 0
    # As if its worker were gone: the next run converts and checks the files itself.
    assert waiting(imports, "run-2") == ["bad", "broken", "good"]


def test_discarded_files_fail_with_the_reason_and_can_be_retried(imports: GatedImport) -> None:
    version = imports.lake.events().version()
    gate = discard(imports, hold(imports))
    assert set(imports.states().values()) == {"failed"}
    reason = str(imports.file("good").reason)
    for part in ("Stopped by the quality gate: expect_column_values_to_not_be_null", "1 of 40 rows fail"):
        assert part in reason
    assert "discarded by ann: a column is missing" in reason
    assert "sluice import retry" in reason
    assert str(imports.file("broken").reason).startswith("The gzip data ends early. Stopped by")
    assert imports.staged_folders() == set()
    assert [file.key for file in report_run(imports.run()).failed] == ["bad", "broken", "good"]
    assert (imports.lake.events().version(), imports.loaded()) == (version, [])
    # Twice is once, also after somebody has let a file wait again: it is the same run's, mended.
    discard_held(imports.access, gate)
    found = NewFile("bad", "etag-2", 1, gate.checked_at)
    assert files.retry(imports.ledger, SOURCE, "bucket", found, "new-hash")
    imports.stage("bad", imports.rows("bad"))
    discard_held(imports.access, gate)
    assert expire_held(imports.run()) == 0
    assert imports.states() == {"bad": "processing", "good": "failed", "broken": "failed"}
    checked = check_load(imports.run())
    assert checked is not None
    assert checked.state == "passed"
    assert load_run(imports.run()).counts.loaded == 20
    assert len(set(imports.loaded())) == 20


def test_what_is_undecided_expires_with_the_next_run(imports: GatedImport) -> None:
    gate = hold(imports)
    assert expire_held(imports.run("run-2")) == 0
    let_expire(imports, gate)
    # Until a run looks, it waits.
    assert waiting(imports, "run-2") == []
    assert expire_held(imports.run("run-2")) == 3
    assert set(imports.states().values()) == {"failed"}
    assert "expired, since nobody decided in time" in str(imports.file("bad").reason)
    assert imports.staged_folders() == set()
    known = quality.find(imports.ledger, gate_of(imports.run()))
    assert known is not None
    assert known.state == "expired"
    assert "Expired" in Path(imports.lake.uri, str(known.report)).read_text()
    assert expire_held(imports.run("run-2")) == 0
    # The run's own tasks find nothing to load, and do not fail for it.
    assert check_load(imports.run()) is None
    assert load_run(imports.run()).files == 0


def test_what_is_undecided_expires_with_the_maintenance_where_no_run_follows(imports: GatedImport) -> None:
    """As of a source that somebody has paused, or taken out of the configuration."""
    gate = hold(imports)
    assert clear_left_behind(imports.lake, imports.ledger, WEEK).expired == 0
    let_expire(imports, gate)
    assert clear_left_behind(imports.lake, imports.ledger, WEEK, dry_run=True).expired == 0
    assert set(imports.states().values()) == {"processing"}
    assert clear_left_behind(imports.lake, imports.ledger, WEEK).expired == 3
    assert set(imports.states().values()) == {"failed"}
    assert imports.staged_folders() == set()
    assert quality.held(imports.ledger) == []
    assert clear_left_behind(imports.lake, imports.ledger, WEEK).expired == 0


@pytest.mark.parametrize("point", ["catch_up", "files.stop", "remove_staged", "after"])
def test_a_discard_that_is_killed_is_finished_by_the_next_run(
    on_sqlite: GatedImport, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    gate = hold(on_sqlite)

    def die(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    if point == "files.stop":
        monkeypatch.setattr(files, "stop", die)
    elif point != "after":
        monkeypatch.setattr(sluice.imports.held, point, die)
    if point == "after":
        discard(on_sqlite, gate)
    else:
        with pytest.raises(KeyboardInterrupt):
            discard(on_sqlite, gate)
    monkeypatch.undo()
    expire_held(on_sqlite.run("run-2"))
    assert set(on_sqlite.states().values()) == {"failed"}
    assert waiting(on_sqlite, "run-2") == []
    # What was staged is orphaned at worst: the maintenance finds it.
    for path in Path(on_sqlite.lake.uri, "_staging").rglob("*.parquet"):
        os.utime(path, (0, 0))
    clear_left_behind(on_sqlite.lake, on_sqlite.ledger, WEEK)
    assert on_sqlite.staged_folders() == set()


def test_only_what_was_given_up_is_removed(on_sqlite: GatedImport) -> None:
    gate = hold(on_sqlite)
    with pytest.raises(SluiceError, match="is held, not discarded"):
        discard_held(on_sqlite.access, gate)
    assert set(on_sqlite.states().values()) == {"processing"}


def test_what_a_killed_load_has_committed_stays_when_the_rest_is_discarded(
    on_sqlite: GatedImport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lake's log is ahead of the ledger: the files in it are done, not failed."""
    on_sqlite.stage("good", on_sqlite.rows("good"))
    check_load(on_sqlite.run())
    real = load_run.__globals__["load"]

    def unheard(lake: Lake, ledger: Ledger, request: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr("sluice.lake.projection._apply", die)
            return real(lake, ledger, request)

    def die(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sluice.imports.load.load", unheard)
    with pytest.raises(KeyboardInterrupt):
        load_run(on_sqlite.run())
    assert on_sqlite.states() == {"good": "processing"}
    bad = on_sqlite.rows("bad")
    bad[0]["event_type"] = None
    on_sqlite.stage("bad", bad)
    gate = check_load(on_sqlite.run())
    assert gate is not None
    discard(on_sqlite, gate)
    assert on_sqlite.states() == {"good": "done", "bad": "failed"}
    assert len(on_sqlite.loaded()) == 20

"""The gate between conversion and load: bad data of each kind stay out of the lake."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fresh import fresh_lake, fresh_ledger
from gated_import import SOURCE, GatedImport
from sqlalchemy import update

from sluice.imports.gate import check_load, gate_of
from sluice.imports.load import load_run
from sluice.imports.staged_rows import StagedRows
from sluice.lake import Lake
from sluice.lake.decision import Decision, decide
from sluice.lake.reconciliation import NotReconciled
from sluice.lake.schema import STAGED_EVENTS
from sluice.lake.staged import open_staged
from sluice.ledger import Ledger, files, quality
from sluice.ledger.files import holder_of
from sluice.ledger.quality import Gate
from sluice.ledger.tables import quality_gates
from sluice.quality.gate import Override, QualityNotChecked, QualityStopped
from sluice.quality.results import Result

Rows = list[dict[str, Any]]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    # What is asked of the databases is asked in test_held.py.
    return fresh_ledger(tmp_path / "ledger.db")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Ledger]:
    """Make a lake and a ledger for all runs that are held: none of them leaves an event in it."""
    folder = tmp_path_factory.mktemp("held")
    return fresh_lake(folder / "lake"), fresh_ledger(folder / "ledger.db")


@pytest.fixture
def held(home: tuple[Lake, Ledger]) -> Callable[..., GatedImport]:
    """Begin a source of its own, whose runs are to be held."""
    return lambda **settings: GatedImport(*home, id=f"shop_{uuid.uuid4().hex[:12]}", **settings)


def failed(gate: Gate | None) -> list[str]:
    """The types of the expectations that stopped a gate."""
    assert gate is not None
    results = [Result.from_json(result) for result in gate.results]
    return [result.expectation.type for result in results if result.stops]


def assert_held(imports: GatedImport, gate: Gate | None) -> None:
    """Nothing of the run is visible, and it cannot become so."""
    assert gate is not None
    assert gate.state == "held"
    version = imports.lake.events().version()
    with pytest.raises(QualityStopped):
        load_run(imports.run())
    assert (imports.lake.events().version(), imports.loaded()) == (version, [])
    assert set(imports.states().values()) == {"processing"}
    imports.let_claims_run_out()


def each(change: Callable[[dict[str, Any]], Any]) -> Callable[[Rows], None]:
    def bad(rows: Rows) -> None:
        for row in rows:
            change(row)

    return bad


def properties(change: Callable[[dict[str, Any]], Any]) -> Callable[[Rows], None]:
    def bad(row: dict[str, Any]) -> None:
        values = json.loads(row["event_properties"])
        change(values)
        row["event_properties"] = json.dumps(values)

    return each(bad)


def double(rows: Rows) -> None:
    rows[3]["uuid"] = rows[11]["uuid"]


NOT_NULL = "expect_column_values_to_not_be_null"
BETWEEN = "expect_column_values_to_be_between"
UNIQUE = "expect_compound_columns_to_be_unique"

# What every gate has, by what is wrong in one of two files.
BUILT_IN: dict[str, tuple[Callable[[Rows], Any], str]] = {
    "a row without a person": (lambda rows: rows[5].update(user_id=None, device_id=None), NOT_NULL),
    "no event type": (lambda rows: rows[5].update(event_type=None), NOT_NULL),
    "no time": (lambda rows: rows[5].update(event_time=None), NOT_NULL),
    "no uuid": (lambda rows: rows[5].update(uuid=None), NOT_NULL),
    "a doubled uuid": (double, UNIQUE),
    "seconds read as milliseconds": (
        each(lambda row: row.update(event_time=row["event_time"].replace(year=1970))),
        BETWEEN,
    ),
    "times to come": (each(lambda row: row.update(event_time=row["event_time"].replace(year=2913))), BETWEEN),
    "no form of a uuid": (
        each(lambda row: row.update(uuid=row["uuid"].replace("-", ""))),
        "expect_staged_uuids_to_be_in_form",
    ),
    "properties that are no object": (
        each(lambda row: row.update(event_properties="[1]")),
        "expect_staged_dictionaries_to_be_objects",
    ),
    "broken properties": (
        each(lambda row: row.update(user_properties='{"a": ')),
        "expect_staged_dictionaries_to_be_objects",
    ),
    "an id that stands for nobody": (
        each(lambda row: row.update(user_id="null")),
        "expect_staged_ids_to_stand_for_somebody",
    ),
}


@pytest.mark.parametrize("bad", BUILT_IN)
def test_the_gate_stops_bad_rows(held: Callable[..., GatedImport], bad: str) -> None:
    change, expected = BUILT_IN[bad]
    imports = held()
    rows = imports.rows("b")
    change(rows)
    imports.stage("a", imports.rows("a"))
    imports.stage("b", rows)
    gate = check_load(imports.run())
    assert expected in failed(gate)
    assert_held(imports, gate)


REPLAYED = ("no uuid", "a doubled uuid", "seconds read as milliseconds", "properties that are no object")


@pytest.mark.parametrize("bad", [*REPLAYED, "nulls in ids"])
def test_the_gate_stops_bad_rows_of_a_replay(held: Callable[..., GatedImport], bad: str) -> None:
    nulls = each(lambda row: row.update(user_id=None, device_id=None)), NOT_NULL
    change, expected = (BUILT_IN | {"nulls in ids": nulls})[bad]
    imports = held(replay=True)
    rows = imports.rows("a")
    change(rows)
    imports.stage("a", rows)
    gate = check_load(imports.run())
    assert failed(gate) == [expected]
    assert_held(imports, gate)


def test_doubled_insert_ids_of_a_replay_are_shown_and_missing_ones_are_none(
    lake: Lake, ledger: Ledger
) -> None:
    imports = GatedImport(lake, ledger, replay=True)
    imports.stage("a", imports.rows("a"))
    good = check_load(imports.run())
    assert good is not None
    assert good.state == "passed"
    rows = imports.rows("b")
    for row in rows[4:7]:
        row["$insert_id"] = "same"
    imports.stage("b", rows)
    gate = check_load(imports.run())
    assert gate is not None
    assert (gate.state, gate.warnings) == ("warned", 1)
    [warned] = [one for one in map(Result.from_json, gate.results) if one.warns]
    assert (warned.expectation.type, warned.unexpected) == (UNIQUE, 3)


AMOUNT, COUNTRY = "event_properties.amount", "event_properties.country"
# What a suite of a data engineer's stops: a converter that drops, changes or confuses a property.
CONFIGURED: dict[str, tuple[Callable[[Rows], Any], dict[str, Any], bool]] = {
    "a missing key": (
        properties(lambda values: values.pop("amount")),
        {"type": NOT_NULL, "kwargs": {"column": AMOUNT}},
        False,
    ),
    "another type, exactly": (
        properties(lambda values: values.update(amount=str(values["amount"]))),
        {"type": BETWEEN, "kwargs": {"column": AMOUNT, "min_value": 0, "max_value": 1000}},
        False,
    ),
    "another type, by sample": (
        properties(lambda values: values.update(amount=str(values["amount"]))),
        {
            "type": "expect_column_values_to_be_in_type_list",
            "kwargs": {"column": AMOUNT, "type_list": ["int"]},
        },
        True,
    ),
    "the wrong column, exactly": (
        properties(lambda values: values.update(country="3.14")),
        {
            "type": "expect_column_values_to_be_in_set",
            "kwargs": {"column": COUNTRY, "value_set": ["DE", "FR"], "mostly": 0.9},
        },
        False,
    ),
    "the wrong column, by sample": (
        each(lambda row: row.update(user_id=row["uuid"])),
        {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "user_id", "regex": "^[a-z]+$"}},
        True,
    ),
}


@pytest.mark.parametrize("bad", CONFIGURED)
def test_the_gate_stops_what_a_configured_suite_does_not_expect(
    held: Callable[..., GatedImport], bad: str
) -> None:
    change, expectation, by_sample = CONFIGURED[bad]
    imports = held(quality={"expectations": [expectation]})
    imports.stage("a", imports.rows("a"))
    good = check_load(imports.run())
    assert good is not None
    assert good.state == "passed"
    rows = imports.rows("b")
    change(rows)
    imports.stage("b", rows)
    gate = check_load(imports.run())
    assert failed(gate) == [expectation["type"]]
    assert gate is not None
    [found] = [result for result in gate.results if result["expectation"]["configured"]]
    assert (found["method"], found["values"]) == ("sample" if by_sample else "exact", [])
    assert_held(imports, gate)


def test_a_run_is_compared_with_whole_runs_of_the_weeks_before(
    lake: Lake, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that load in several commits are no runs of fewer rows, and what was given up is no history."""
    monkeypatch.setattr("sluice.imports.load.MAX_ROWS_PER_LOAD", 45)
    imports = GatedImport(lake, ledger)
    gates = {}
    for weeks, many in ((3, 1), (2, 2), (1, 3)):
        run = f"run-{weeks}"
        for number in range(many):
            imports.stage(f"{weeks}-{number}", imports.rows(f"{weeks}-{number}", 40), run)
        gate = check_load(imports.run(run))
        assert gate is not None
        assert load_run(imports.run(run)).commits == many
        gates[weeks] = gate
    moment = ledger.now()
    for weeks, gate in gates.items():
        state = "discarded" if weeks == 3 else gate.state
        values = {"checked_at": moment - timedelta(weeks=weeks), "state": state}
        with ledger.begin() as connection:
            connection.execute(update(quality_gates).where(quality_gates.c.id == gate.id).values(values))
    few = imports.rows("few")
    imports.stage("few", few, "run-now")
    gate = check_load(imports.run("run-now"))
    assert gate is not None
    assert gate.state == "warned"
    [warned] = [one for one in map(Result.from_json, gate.results) if one.warns]
    assert warned.observed == "20 rows; the median of 2 weeks before is 100"


def test_half_the_rows_gone_are_named_with_their_file(held: Callable[..., GatedImport]) -> None:
    imports = held()
    imports.stage("whole", imports.rows("whole"))
    path = (imports.stage("half", imports.rows("half")).staged or {})["events"]
    filesystem = imports.lake.filesystem()
    rows = pq.read_table(path, filesystem=filesystem)
    pq.write_table(rows.slice(10), path, filesystem=filesystem)
    gate = check_load(imports.run())
    assert failed(gate) == ["expect_reconciliation"] * 2
    assert gate is not None
    said = [str(Result.from_json(result)) for result in gate.results[:2]]
    assert "40 rows were read and not ignored, 30 are staged" in said[0]
    assert "events of half" in said[1]
    assert "20 by their conversion, 10 staged" in said[1]
    assert_held(imports, gate)


@pytest.mark.parametrize("torn", [True, False])
def test_a_staged_file_that_cannot_be_read_is_an_error_and_no_pass(
    held: Callable[..., GatedImport], torn: bool
) -> None:
    imports = held()
    imports.stage("whole", imports.rows("whole"))
    path = Path(imports.lake.uri, (imports.stage("torn", imports.rows("torn")).staged or {})["events"])
    if torn:
        path.write_bytes(path.read_bytes()[:-50])
    else:
        path.unlink()
    gate = check_load(imports.run())
    assert gate is not None
    [error] = [result["error"] for result in gate.results if result["error"]]
    assert path.name in error
    assert_held(imports, gate)


def test_good_rows_pass_and_are_loaded(lake: Lake, ledger: Ledger) -> None:
    imports = GatedImport(lake, ledger)
    imports.stage("a", imports.rows("a"))
    imports.stage("b", imports.rows("b", 33))
    imports.stage("broken", [], failed="The gzip data ends early.")
    with pytest.raises(QualityNotChecked, match="check_quality"):
        load_run(imports.run())
    gate = check_load(imports.run())
    assert gate is not None
    assert (gate.state, gate.rows, gate.sampled) == ("passed", 53, 53)
    assert gate.gate == gate_of(imports.run())
    assert load_run(imports.run()).counts.loaded == 53
    recorded = quality.find(ledger, gate_of(imports.run()))
    assert recorded is not None
    fates = Result.from_json(recorded.results[-1])
    assert (recorded.state, fates.success, fates.method) == ("passed", True, "reconciliation")
    assert fates.observed == "53 rows read, 53 loaded, duplicate, ignored or rejected"
    # A task behind it that is cleared finds nothing to do, and asks for nothing.
    assert load_run(imports.run()).files == 0
    assert imports.states() == {"a": "done", "b": "done", "broken": "failed"}


def test_a_load_that_was_killed_between_its_commits_goes_on(
    lake: Lake, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate has checked all files of the run, of which some are loaded already."""
    imports = GatedImport(lake, ledger)
    monkeypatch.setattr("sluice.imports.load.MAX_ROWS_PER_LOAD", 25)
    for key in "abc":
        imports.stage(key, imports.rows(key))
    check_load(imports.run())
    real, calls = load_run.__globals__["load"], []

    def killed(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr("sluice.imports.load.load", killed)
    with pytest.raises(KeyboardInterrupt):
        load_run(imports.run())
    assert sorted(imports.states().values()) == ["done", "processing", "processing"]
    assert load_run(imports.run()).counts.loaded == 40
    assert len(imports.loaded()) == 60


def test_what_is_staged_anew_is_checked_anew(lake: Lake, ledger: Ledger) -> None:
    imports = GatedImport(lake, ledger)
    imports.stage("a", imports.rows("a"))
    check_load(imports.run())
    bad = imports.rows("b")
    double(bad)
    imports.stage("b", bad)
    with pytest.raises(QualityNotChecked):
        load_run(imports.run())
    assert_held(imports, check_load(imports.run()))


def test_what_another_run_has_staged_is_not_loaded_behind_this_one_s_gate(
    lake: Lake, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker took over a dead run's file, and died before it had converted it anew."""
    imports = GatedImport(lake, ledger)
    bad = imports.rows("bad")
    double(bad)
    imports.stage("bad", bad, "run-0")
    imports.let_claims_run_out()
    assert files.claim(ledger, SOURCE, imports.file("bad"), holder_of("run-1", 1), 900) is not None
    imports.stage("good", imports.rows("good"))
    gate = check_load(imports.run())
    assert gate is not None
    assert (gate.state, gate.rows) == ("passed", 20)
    assert load_run(imports.run()).counts.loaded == 20
    assert "bad is left to a later run" in caplog.text
    assert imports.states() == {"bad": "processing", "good": "done"}
    # It is the next run's: converted and checked anew.
    imports.let_claims_run_out()
    assert [file.key for file in files.waiting(ledger, SOURCE, "run-2")] == ["bad"]


def test_nothing_staged_needs_no_gate(lake: Lake, ledger: Ledger) -> None:
    imports = GatedImport(lake, ledger)
    assert check_load(imports.run()) is None
    imports.stage("broken", [], failed="The gzip data ends early.")
    assert check_load(imports.run()) is None
    assert load_run(imports.run()).files == 1
    assert imports.states() == {"broken": "failed"}
    assert quality.newest(ledger, 10) == []


EMPTY_SUITES: list[dict[str, Any]] = [
    {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "user_id", "regex": "."}},
    {
        "type": "expect_column_values_to_be_of_type",
        "kwargs": {"column": "event_properties.amount", "type_": "int"},
    },
    {"type": NOT_NULL, "kwargs": {"column": "event_properties.amount"}},
]


@pytest.mark.parametrize("replay", [False, True])
def test_a_load_without_an_event_is_loaded_if_nothing_is_said_against_it(
    lake: Lake, ledger: Ledger, replay: bool
) -> None:
    imports = GatedImport(lake, ledger, replay=replay, quality={"expectations": EMPTY_SUITES})
    imports.stage("header only", [])
    imports.stage("all of it ignored", [], ignored=3)
    with pytest.raises(QualityNotChecked):
        load_run(imports.run())
    gate = check_load(imports.run())
    assert gate is not None
    assert (gate.state, gate.rows, failed(gate)) == ("passed", 0, [])
    assert load_run(imports.run()).files == 2
    assert set(imports.states().values()) == {"done"}


def test_the_gate_stops_a_load_without_an_event_where_rows_are_expected(
    held: Callable[..., GatedImport],
) -> None:
    rows = "expect_table_row_count_to_be_between"
    suite = [{"type": rows, "kwargs": {"min_value": 1}}]
    imports = held(quality={"expectations": suite})
    imports.stage("all of it ignored", [], ignored=20)
    gate = check_load(imports.run())
    assert failed(gate) == [rows]
    assert_held(imports, gate)


def test_a_gate_that_is_switched_off_stops_nothing(lake: Lake, ledger: Ledger) -> None:
    imports = GatedImport(lake, ledger, quality={"enabled": False})
    rows = imports.rows("a")
    rows[0]["event_type"] = None
    imports.stage("a", rows)
    assert check_load(imports.run()) is None
    assert load_run(imports.run()).counts.loaded == 20


def test_a_person_may_let_one_run_pass(lake: Lake, ledger: Ledger) -> None:
    imports = GatedImport(lake, ledger)
    rows = imports.rows("a")
    double(rows)
    imports.stage("a", rows)
    gate = check_load(imports.run(), override=Override("ann", "the source sends it twice"))
    assert gate is not None
    assert (gate.state, gate.decided_by, gate.reason) == ("overridden", "ann", "the source sends it twice")
    assert load_run(imports.run()).counts.read == 20


def test_a_sample_stands_for_all_files_and_is_bounded(lake: Lake, ledger: Ledger) -> None:
    imports = GatedImport(lake, ledger, quality={"sample_rows": 12})
    for key in ("a", "b", "c"):
        imports.stage(key, imports.rows(key))
    gate = check_load(imports.run())
    assert gate is not None
    assert (gate.rows, gate.sampled) == (60, 12)
    # The same content, the same sample: what failed once fails again.
    again = check_load(imports.run())
    assert again is not None
    assert [one["checked"] for one in again.results] == [one["checked"] for one in gate.results]


def test_a_sample_of_a_large_load_is_of_many_of_its_files(
    lake: Lake, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    imports = GatedImport(lake, ledger)
    staged = imports.stage("a", imports.rows("a", 1))
    first = Path(lake.uri, (staged.staged or {})["events"])
    nulls = {field.name: pa.nulls(20_000, field.type) for field in STAGED_EVENTS}
    pq.write_table(pa.table(nulls, STAGED_EVENTS), first)
    many = [
        replace(staged, staged={"events": f"_staging/{number}.parquet", "rejects": None})
        for number in range(100)
    ]
    for file in many:
        shutil.copy(first, Path(lake.uri, (file.staged or {})["events"]))
    rows = StagedRows(lake, many, STAGED_EVENTS)
    opened = []

    def counting(lake: Lake, path: str) -> Any:
        opened.append(path)
        return open_staged(lake, path)

    monkeypatch.setattr("sluice.imports.staged_rows.open_staged", counting)
    assert len(rows.sample(["uuid"], 2_000, "seed")) == 2_000
    # Not all two million rows are read for it.
    assert len(set(opened)) == len(opened) == 50


def test_without_a_sample_rules_for_single_rows_are_not_said_to_hold(lake: Lake, ledger: Ledger) -> None:
    regex = {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "user_id", "regex": "."}}
    imports = GatedImport(lake, ledger, quality={"sample_rows": 0, "expectations": [regex]})
    imports.stage("a", imports.rows("a"))
    gate = check_load(imports.run())
    assert failed(gate) == ["expect_column_values_to_match_regex"]


def test_no_value_of_a_row_is_shown_unless_the_suite_says_so(
    lake: Lake, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    rule = {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "user_id", "value_set": ["x"]}}
    for shown in (False, True):
        imports = GatedImport(lake, ledger, quality={"show_values": shown, "expectations": [rule]})
        rows = imports.rows("a")
        for row in rows:
            row["user_id"] = "secret-person"
        if not shown:
            imports.stage("a", rows)
        gate = check_load(imports.run())
        assert gate is not None
        report = Path(lake.uri, str(gate.report)).read_text()
        assert ("secret-person" in json.dumps(list(gate.results)), "secret-person" in report) == (
            shown,
            shown,
        )
    assert "secret-person" not in caplog.text


def test_a_load_that_does_not_reconcile_is_held(
    lake: Lake, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    imports = GatedImport(lake, ledger)
    imports.stage("a", imports.rows("a"))
    check_load(imports.run())

    def miscounting(*arguments: Any) -> Decision:
        return replace(decide(*arguments), duplicate_per_file=[3])

    monkeypatch.setattr("sluice.imports.load.decide", miscounting)
    with pytest.raises(NotReconciled, match="20 rows were read, but 23 have a fate"):
        load_run(imports.run())
    gate = quality.find(ledger, gate_of(imports.run()))
    assert failed(gate) == ["expect_reconciliation"]
    assert gate is not None
    assert "bucket/a: 20 rows were read, but 23 have a fate" in Path(lake.uri, str(gate.report)).read_text()
    monkeypatch.undo()
    assert_held(imports, gate)
    # What is staged is as it should be: checked once more, it passes, and a mended load takes it.
    check_load(imports.run())
    assert load_run(imports.run()).counts.loaded == 20


@pytest.mark.parametrize("reconciles", [True, False])
def test_what_a_load_says_is_on_record_also_over_a_release(
    lake: Lake, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, reconciles: bool
) -> None:
    """A person has let the rows pass that the gate has stopped, not a load that loses some of them."""
    imports = GatedImport(lake, ledger)
    rows = imports.rows("a")
    rows[0]["event_type"] = None
    imports.stage("a", rows)
    gate = check_load(imports.run())
    assert gate is not None
    quality.release(ledger, gate, "ann", "it really has none")

    def miscounting(*arguments: Any) -> Decision:
        return replace(decide(*arguments), duplicate_per_file=[3])

    if reconciles:
        load_run(imports.run())
    else:
        monkeypatch.setattr("sluice.imports.load.decide", miscounting)
        with pytest.raises(NotReconciled):
            load_run(imports.run())
    after = quality.find(ledger, gate_of(imports.run()))
    assert after is not None
    fates = Result.from_json(after.results[-1])
    assert (fates.method, fates.success) == ("reconciliation", reconciles)
    if reconciles:
        assert (after.state, after.decided_by, after.reason) == ("released", "ann", "it really has none")
    else:
        assert (after.state, after.decided_by, after.decided_at, after.reason) == ("held", None, None, None)
        assert_held(imports, after)
        # A person may still discard it.
        assert quality.discard(ledger, after, "ann", "it loses rows").state == "discarded"

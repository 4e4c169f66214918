import logging
from dataclasses import replace

import pytest
from fresh import fresh_ledger
from gates import CARRIERS, NULLS, RUN, UNIQUE, end_time
from pyarrow.fs import FileSelector

from sluice.config.quality import QualityConfig
from sluice.lake import Lake
from sluice.ledger import Ledger, quality
from sluice.ledger.quality import GateId
from sluice.quality.gate import (
    Checked,
    Override,
    QualityNotChecked,
    QualityStopped,
    pass_gate,
    require_open,
    stopped,
)
from sluice.quality.report import render

HOUR = GateId("export", "warehouse", RUN, "hour 2013-01-02T12 of project 187520")
BROKEN = replace(CARRIERS, error="TypeError: no such type")


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    """A ledger; that both databases keep gates alike is shown where they are kept."""
    return fresh_ledger(tmp_path / "ledger.db")


@pytest.fixture
def lake(tmp_path) -> Lake:
    """The place of a lake: a report needs no tables."""
    (tmp_path / "lake").mkdir()
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def check(ledger, lake):
    """Check an hour as a run does, and count how often its rows were really looked at."""

    def run(*results, content="a", override=None, gate=HOUR, **settings):
        def look():
            run.looks += 1
            return Checked(results, 500, 200)

        return pass_gate(ledger, lake, gate, content, QualityConfig(**settings), look, override=override)

    run.looks = 0
    return run


def report_of(lake, gate):
    with lake.filesystem().open_input_stream(gate.report) as stream:
        return stream.read().decode()


@pytest.mark.parametrize(
    ("results", "state", "counts"),
    [
        pytest.param([UNIQUE], "passed", (0, 0), id="all hold"),
        pytest.param([UNIQUE, CARRIERS], "warned", (0, 1), id="a warning"),
        pytest.param([NULLS, CARRIERS, UNIQUE], "held", (1, 1), id="a critical failure"),
        pytest.param([UNIQUE, BROKEN], "held", (1, 0), id="an error in one that only warns"),
        pytest.param([replace(UNIQUE, error="x")], "held", (1, 0), id="an error beside success"),
        pytest.param([], "passed", (0, 0), id="no expectations"),
    ],
)
def test_a_verdict_is_that_of_the_worst_result(check, ledger, lake, results, state, counts):
    gate = check(*results)
    assert (gate.state, gate.failed, gate.warnings) == (state, *counts)
    assert gate.is_open == (state != "held")
    assert (gate.rows, gate.sampled) == (500, 200)
    assert gate.seconds >= 0
    assert quality.find(ledger, HOUR) == gate
    assert report_of(lake, gate) == render(gate)


def test_what_is_held_waits_as_long_as_its_configuration_says(check, lake):
    gate = check(NULLS, hold_hours=5)
    assert (gate.held_until - gate.checked_at).total_seconds() == 5 * 3600
    assert f"{gate.held_until:%Y-%m-%d %H:%M}" in report_of(lake, gate)


def test_an_override_lets_it_pass_on_the_record(check, lake):
    gate = check(NULLS, override=Override("ann", "The feed was late."))
    assert (gate.state, gate.decided_by, gate.reason) == ("overridden", "ann", "The feed was late.")
    assert gate.decided_at is not None
    assert gate.is_open
    assert "ann" in report_of(lake, gate)


def test_an_override_of_what_passes_is_not_on_record(check):
    gate = check(UNIQUE, override=Override("ann", "to be safe"))
    assert (gate.state, gate.decided_by, gate.reason) == ("passed", None, None)


def test_a_release_is_seen_without_another_look(check, ledger):
    released = quality.release(ledger, check(NULLS), "ann", "right")
    assert check(NULLS) == released
    assert check.looks == 1


def test_other_content_is_looked_at_again(check, ledger):
    quality.release(ledger, check(NULLS), "ann", "right")
    assert check(NULLS, content="b").state == "held"
    assert check.looks == 2


def test_what_was_mended_passes_and_its_report_is_replaced(check, ledger, lake):
    first = check(NULLS)
    second = check(UNIQUE, content="b")
    assert (second.id, second.report, second.state) == (first.id, first.report, "passed")
    assert report_of(lake, second) == render(second)
    assert len(quality.of_run(ledger, RUN)) == 1


@pytest.mark.parametrize("killed_at", ["find", "record", "write_report"])
def test_a_check_that_was_killed_is_made_again(check, ledger, lake, monkeypatch, killed_at):
    """Wherever it dies, nothing is open, and the next try gives the same verdict and report."""

    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    with monkeypatch.context() as patch:
        if killed_at == "write_report":
            patch.setattr("sluice.quality.gate.write_report", kill)
        else:
            patch.setattr(quality, killed_at, kill)
        with pytest.raises(Killed):
            check(NULLS)
    with pytest.raises((QualityNotChecked, QualityStopped)):
        require_open(ledger, HOUR, "a")
    gate = check(NULLS)
    assert gate.state == "held"
    assert report_of(lake, gate) == render(gate)
    assert [one.base_name for one in _files(lake)] == [f"{gate.id}.html"]


@pytest.mark.parametrize("decide", [quality.release, quality.discard])
def test_a_decision_during_a_check_stays(check, ledger, lake, monkeypatch, decide):
    held = check(NULLS)
    record = quality.record
    decided = []

    def decide_first(*arguments):
        decided.append(decide(ledger, held, "ann", "so it is"))
        return record(*arguments)

    monkeypatch.setattr(quality, "record", decide_first)
    gate = check(NULLS)
    assert [gate] == decided
    assert report_of(lake, gate) == render(gate)


def test_what_was_given_up_before_is_checked_anew(check, ledger):
    quality.discard(ledger, check(NULLS), "ann", "wrong")
    assert check(NULLS).state == "held"
    assert check(UNIQUE).state == "passed"


def test_an_exception_in_the_check_leaves_no_verdict(ledger, lake):
    with pytest.raises(ZeroDivisionError):
        pass_gate(ledger, lake, HOUR, "a", QualityConfig(), lambda: 1 / 0)
    assert quality.find(ledger, HOUR) is None


def test_only_what_passed_may_become_visible(check, ledger):
    with pytest.raises(QualityNotChecked, match="has passed no quality gate as it is now"):
        require_open(ledger, HOUR, "a")
    held = check(NULLS)
    with pytest.raises(QualityStopped, match="is held"):
        require_open(ledger, HOUR, "a")
    quality.release(ledger, held, "ann", "right")
    require_open(ledger, HOUR, "a")
    with pytest.raises(QualityNotChecked, match="check_quality"):
        require_open(ledger, HOUR, "b")
    for results, override in (([UNIQUE], None), ([CARRIERS], None), ([NULLS], Override("ann", "x"))):
        check(*results, content="c", override=override)
        require_open(ledger, HOUR, "c")


@pytest.mark.parametrize("end", ["discarded", "expired"])
def test_what_was_given_up_never_becomes_visible(check, ledger, end):
    held = check(NULLS)
    if end == "discarded":
        quality.discard(ledger, held, "ann", "wrong")
    else:
        end_time(ledger)
        quality.expire(ledger, "export", "warehouse")
    with pytest.raises(QualityStopped, match=end):
        require_open(ledger, HOUR, "a")


def test_the_error_names_what_failed_with_counts_and_what_to_do(check):
    said = str(stopped(check(NULLS, CARRIERS, BROKEN)))
    assert "expect_column_values_to_not_be_null(column='event_time') failed: 12 of 500 rows fail" in said
    assert "could not be evaluated: TypeError: no such type" in said
    assert "Nothing of it is visible" in said
    for verb in ("show", "release", "discard"):
        assert f"sluice quality {verb} {RUN}" in said


def test_the_error_names_every_gate_and_not_every_failure(check):
    many = [replace(NULLS, unexpected=number) for number in range(1, 9)]
    other = replace(HOUR, unit="hour 2013-01-02T13 of project 187520")
    said = str(stopped(check(*many), check(NULLS, gate=other)))
    assert "5 of 500 rows fail" in said
    assert "6 of 500 rows fail" not in said
    assert "(and 3 more)" in said
    assert "hour 2013-01-02T13" in said


def test_the_log_tells_warnings_and_failures_apart(check, caplog):
    with caplog.at_level(logging.INFO):
        check(NULLS, CARRIERS, UNIQUE)
    told = {record.levelname: record.getMessage() for record in caplog.records}
    assert "12 of 500 rows fail" in told["ERROR"]
    assert "3 of 200 rows fail" in told["WARNING"]
    assert "1 of 3 expectations hold, 1 critical failed, 1 warn" in told["INFO"]


def _files(lake):
    return [
        one
        for one in lake.filesystem().get_file_info(FileSelector("_quality", recursive=True))
        if one.is_file
    ]

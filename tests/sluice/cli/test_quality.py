"""`sluice quality …` on a ledger and a lake of this machine, beside `status` of all pipelines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from export_config import write_export_config
from fresh import fresh_lake, fresh_ledger
from gates import RUN, a_gate, end_time, held

from sluice.cli import cli
from sluice.errors import SluiceError
from sluice.ledger import Ledger, quality
from sluice.ledger.quality import Gate
from sluice.quality.report import render
from sluice.quality.results import Expectation, Result

RUN_ID = RUN.partition("/")[2]
OTHER_HOUR = "hour 2013-01-02T13 of project 187520"


@dataclass
class Shell:
    """What `sluice` prints, and the ledger and the lake's folder behind it."""

    ledger: Ledger
    lake: Path
    folder: Path

    def run(self, group: str, *arguments: str, code: int = 0) -> str:
        options = ["--config", str(self.folder), "--ledger", str(self.ledger.engine.url)]
        done = CliRunner().invoke(cli, [group, *options, *arguments])
        assert done.exception is None or isinstance(done.exception, SluiceError | SystemExit), done.exc_info
        output = done.output
        if isinstance(done.exception, SluiceError):
            output += str(done.exception)
        assert done.exit_code == code, output
        return output

    def now(self, gate: Gate) -> Gate:
        found = quality.find(self.ledger, gate.gate)
        assert found is not None
        return found

    def report(self, gate: Gate) -> str:
        return Path(self.lake, "_quality", gate.pipeline, gate.name, f"{gate.id}.html").read_text()


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    folder = tmp_path / "config"
    write_export_config(folder, "no-such-bucket", "warehouse")
    lake = tmp_path / "lake"
    lake.mkdir()
    (folder / "lake.yaml").write_text(f"uri: {lake}\n")
    connection = {"conn_type": "aws", "login": "a", "password": "b", "extra": {"region_name": "us-east-1"}}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    return Shell(fresh_ledger(tmp_path / "ledger.db"), lake, folder)


def test_list_shows_the_newest_or_what_is_held(shell):
    assert shell.run("quality", "list") == "No gate has checked anything yet.\n"
    assert shell.run("quality", "list", "--held") == "Nothing is held.\n"
    gate = held(shell.ledger)
    quality.record(shell.ledger, a_gate(unit=OTHER_HOUR, state="passed", run="d/r"), 72)
    everything = shell.run("quality", "list")
    assert "passed" in everything
    assert everything.index(OTHER_HOUR) < everything.index(gate.unit)
    (line,) = [line for line in shell.run("quality", "list", "--held").splitlines() if "held" in line][1:]
    assert [cell.strip() for cell in line.split("│")[1:-1]] == [
        gate.id[:12], "export/warehouse", gate.unit, "held", "500", "1", "1",
        f"{gate.checked_at:%Y-%m-%d %H:%M:%S}", f"{gate.held_until:%Y-%m-%d %H:%M}", RUN,
    ]  # fmt: skip
    assert OTHER_HOUR not in shell.run("quality", "list", "--limit", "1", "export/nothing")
    assert gate.unit in shell.run("quality", "list", "export/warehouse")
    assert gate.unit in shell.run("quality", "list", "export")
    assert "say export/ID" in shell.run("quality", "list", "warehouse", code=1)


@pytest.mark.parametrize("name", [RUN, RUN_ID, "id", "start of id"])
def test_show_tells_what_was_found_and_what_to_do(shell, name):
    gate = held(shell.ledger)
    text = shell.run("quality", "show", {"id": gate.id, "start of id": gate.id[:12]}.get(name, name))
    assert f"export warehouse, {gate.unit}: Held: nothing of it is visible" in text
    assert "1 of 3 expectations hold, 1 critical failed, 1 warn" in text
    assert [line.split()[0] for line in text.splitlines() if "(column=" in line] == [
        "fails",
        "warns",
        "holds",
    ]
    assert "12 of 500 rows fail; exact, over all 500 rows; critical, built in" in text
    assert "3 of 200 rows fail; sample of 200 of 500 rows; warning, in the configuration" in text
    assert "         Two characters, says IATA." in text
    assert f"sluice quality release {gate.id}" in text
    assert "airflow dags clear export_hourly__warehouse --run-id scheduled__2013-01-02T13:00:00+00:00" in text


def test_show_tells_all_gates_of_a_run(shell):
    held(shell.ledger)
    quality.record(shell.ledger, a_gate(unit=OTHER_HOUR, state="passed"), 72)
    text = shell.run("quality", "show", RUN)
    assert text.count("of project 187520: ") == 2


def test_a_name_that_is_not_there_gets_what_may_be_meant(shell):
    held(shell.ledger)
    held(shell.ledger, run=f"export_hourly__lakehouse/{RUN_ID}")
    near = RUN.replace("warehouse", "warehous")
    assert f"do you mean {RUN}" in shell.run("quality", "show", near, code=1)
    said = shell.run("quality", "show", RUN_ID, code=1)
    assert f"{RUN_ID} may be any of these" in said
    assert RUN in said
    assert "`sluice quality list` shows the newest gates" in shell.run("quality", "show", "xyz", code=1)


def test_a_report_goes_to_a_file_or_to_the_standard_output(shell, tmp_path):
    gate = held(shell.ledger)
    assert shell.run("quality", "report", RUN) == f"{render(gate)}\n"
    out = tmp_path / "report.html"
    assert str(out) in shell.run("quality", "report", RUN, "--out", str(out))
    assert out.read_text() == render(gate)
    other = held(shell.ledger, unit=OTHER_HOUR)
    assert f"{OTHER_HOUR} of warehouse ({other.id[:12]})" in shell.run("quality", "report", RUN, code=1)
    assert shell.run("quality", "report", RUN, "--unit", OTHER_HOUR) == f"{render(other)}\n"
    assert shell.run("quality", "report", other.id) == f"{render(other)}\n"


def test_release_is_on_record_in_the_report_and_says_how_to_go_on(shell):
    gate = held(shell.ledger)
    text = shell.run("quality", "release", RUN, "--reason", " a strike ", "--by", "ann")
    assert f"Released by ann: the {gate.gate}." in text
    assert text.rstrip().endswith(
        "airflow dags clear export_hourly__warehouse --run-id scheduled__2013-01-02T13:00:00+00:00"
        " --only-failed --yes"
    )
    found = shell.now(gate)
    assert (found.state, found.decided_by, found.reason) == ("released", "ann", "a strike")
    assert shell.report(gate) == render(found)


def test_whoever_says_so_is_the_user_of_the_shell(shell, monkeypatch):
    monkeypatch.setenv("LOGNAME", "bob")
    gate = held(shell.ledger)
    shell.run("quality", "discard", RUN, "--reason", "wrong")
    assert shell.now(gate).decided_by == "bob"


@pytest.mark.parametrize("verb", ["release", "discard"])
def test_a_decision_needs_a_reason(shell, verb):
    gate = held(shell.ledger)
    assert "--reason" in shell.run("quality", verb, RUN, code=2)
    assert "say why" in shell.run("quality", verb, RUN, "--reason", " ", code=2)
    assert shell.now(gate).state == "held"


@pytest.mark.parametrize("verb", ["release", "discard"])
def test_of_several_hours_one_may_be_decided(shell, verb):
    first, second = held(shell.ledger), held(shell.ledger, unit=OTHER_HOUR)
    shell.run("quality", verb, RUN, "--unit", OTHER_HOUR, "--reason", "x")
    assert shell.now(first).state == "held"
    assert shell.now(second).state != "held"
    said = shell.run("quality", verb, RUN, "--unit", "hour 1", "--reason", "x", code=1)
    assert f"no gate of 'hour 1'; there are '{first.unit}', '{OTHER_HOUR}'" in said
    shell.run("quality", verb, RUN, "--reason", "x")
    assert shell.now(first).state == shell.now(second).state


def test_what_passed_cannot_be_released(shell):
    gate = quality.record(shell.ledger, a_gate(state="passed"), 72)
    said = shell.run("quality", "release", RUN, "--reason", "x", code=1)
    assert f"Nothing of the run is held: the {gate.gate} is passed" in said


def test_what_was_discarded_cannot_be_released(shell):
    held(shell.ledger)
    shell.run("quality", "discard", RUN, "--reason", "x")
    assert "is discarded" in shell.run("quality", "release", RUN, "--reason", "x", code=1)


def test_discard_says_how_the_data_come_back_and_may_be_repeated(shell):
    gate = held(shell.ledger)
    text = shell.run("quality", "discard", RUN, "--reason", "wrong", "--by", "ann")
    assert "Discarded by ann" in text
    assert "counts as not exported" in text
    found = shell.now(gate)
    assert shell.report(gate) == render(found)
    assert "Discarded by ann" in shell.run("quality", "discard", RUN, "--reason", "again", "--by", "bob")
    assert shell.now(gate) == found


@pytest.mark.parametrize("pipeline", ["export", "import", "cohort"])
def test_each_pipeline_gives_up_what_it_has_staged(shell, pipeline):
    """Here nothing is staged any more, as after a kill in the middle of a discard."""
    fresh_lake(shell.lake)
    gate = held(shell.ledger, pipeline=pipeline, unit={"cohort": "turn 12"}.get(pipeline, "load"))
    assert "Discarded by" in shell.run("quality", "discard", RUN, "--reason", "wrong")
    assert shell.now(gate).state == "discarded"


def test_a_discard_of_what_is_not_configured_any_more_is_a_sentence(shell):
    held(shell.ledger, name="gone")
    assert "gone" in shell.run("quality", "discard", RUN, "--reason", "x", code=1)


@pytest.mark.parametrize(
    ("group", "pipeline"), [("export", "export"), ("import", "import"), ("cohort", "cohort")]
)
def test_the_status_of_a_pipeline_says_what_is_held(shell, group, pipeline):
    assert "held" not in shell.run(group, "status")
    gate = held(shell.ledger, pipeline=pipeline)
    until = f"{gate.held_until:%Y-%m-%d %H:%M} UTC"
    line = (
        f"held by its quality gate: {gate.unit} of warehouse, run {RUN}, until {until}; release or discard"
        f" it: sluice quality show {gate.id}"
    )
    assert line in shell.run(group, "status")
    end_time(shell.ledger)
    assert "its time is over, the next run gives it up" in shell.run(group, "status")
    quality.release(shell.ledger, gate, "ann", "x")
    assert "held" not in shell.run(group, "status")


def test_markup_and_control_characters_in_names_are_text(shell):
    bad = Expectation("expect_x", {"column": "[bold red]x[/]"}, "critical", "[link=x]y[/link]\x1b[2J")
    quality.record(shell.ledger, a_gate(Result(bad, False, "exact", 1, 1), unit="[red]u[/red]"), 72)
    text = shell.run("quality", "show", RUN)
    assert "[bold red]x[/]" in text
    assert r"[link=x]y[/link]\x1b[2J" in text
    assert "[red]u[/red]" in shell.run("quality", "list")

from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from cohort_config import write_cohort, write_cohort_config
from cohort_turns import Syncs, hour
from fresh import fresh_ledger

# Not by `cli`, which would load it when it is first called: with what the tests put in place of its parts.
from sluice.cli.cohorts import cohorts
from sluice.cohorts.status import status_of
from sluice.cohorts.turns import decline
from sluice.config import Config, load_config
from sluice.errors import SluiceError
from sluice.lake import Lake
from sluice.ledger import quality, syncs

PEOPLE = [(1, "ann"), (2, "bob"), (3, None)]


@dataclass
class Shell:
    """A configuration with three syncs of one cohort, and what `sluice cohort …` prints."""

    config: Config
    there: Syncs
    options: list[str]

    def turn(self, sync: str, number: int, members=PEOPLE, run: str | None = None):
        return self.there.turn(self.config.sync(sync), hour(number), run or f"run {number}", members)

    def fix(self, sync: str, number: int, members=PEOPLE):
        self.there.members = list(members)
        return self.there.fix(self.config.sync(sync), hour(number), f"run {number}")

    def status(self, sync: str):
        return next(found for found in status_of(self.config, self.there.ledger) if found.sync.id == sync)

    def run(self, *arguments: str):
        result = CliRunner().invoke(cohorts, [*self.options, *arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.stdout.splitlines()


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    folder = tmp_path / "config"
    (tmp_path / "lake").mkdir()
    write_cohort_config(folder, lake=str(tmp_path / "lake"), bucket="audiences")
    write_cohort(
        folder,
        "vips",
        {"id": "files", "destination": "crm", "cadence": "hourly", "max_exit_share": 0.9},
        {"id": "stream", "destination": "push", "cadence": "real_time"},
        {"id": "by_hand", "destination": "crm", "cadence": "one_time", "routing_key": "once"},
    )
    config = load_config(folder)
    assert not config.problems
    ledger = fresh_ledger(tmp_path / "ledger.db")
    there = Syncs(Lake(str(tmp_path / "lake")), ledger)
    monkeypatch.setattr("sluice.cohorts.snapshot.take_snapshot", there.take_snapshot)
    return Shell(config, there, ["--config", str(folder), "--ledger", str(ledger.engine.url)])


def test_members_prints_who_was_in_at_a_time(shell):
    shell.turn("files", 1)
    shell.turn("files", 2, [(2, "bob"), (4, "dan")])
    heads = "amplitude_id,user_id"
    head, *rows = shell.run("members", "vips", "--at", "2013-01-02T01:30")
    assert (head, sorted(rows)) == (heads, ["1,ann", "2,bob", "3,"])
    assert shell.run("members", "vips") == [heads, "2,bob", "4,dan"]
    assert shell.run("members", "vips", "--limit", "1") == [heads, "2,bob"]
    assert len(shell.run("members", "vips", "--at", "2013-01-02T03:00+02:00", "--sync", "files")) == 4
    wrong = CliRunner().invoke(cohorts, [*shell.options, "members", "vips", "--at", "yesterday"])
    assert wrong.exit_code == 2
    assert "'yesterday' is no time such as 2013-01-03T14:00" in wrong.stderr
    with pytest.raises(SluiceError, match="no delivered sync"):
        shell.run("members", "vips", "--sync", "stream")


def test_history_shows_sizes_and_flows(shell):
    shell.turn("files", 1)
    shell.turn("files", 2, PEOPLE[:2])
    shell.turn("files", 1, run="again")
    text = "\n".join(shell.run("history", "vips"))
    again, second, first = (line for line in text.splitlines() if "2013-01-02" in line)
    assert "sync files of cohort vips to CRM" in text
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in (again, second, first)]
    assert [row[:7] for row in cells] == [
        ["2013-01-02 01:00:00", "delivered (resend)", "3", "3", "0", "1", "3 of 3 files"],
        ["2013-01-02 02:00:00", "delivered", "2", "0", "1", "0", "3 of 3 files"],
        ["2013-01-02 01:00:00", "delivered", "3", "3", "0", "1", "3 of 3 files"],
    ]
    with pytest.raises(SluiceError, match="No sync of the cohort nobody ever ran"):
        shell.run("history", "nobody")


def test_log_prints_the_row_log(shell):
    shell.turn("stream", 1)
    heads = "amplitude_id,operation,value,reason"
    assert shell.run("log", "stream") == [
        heads, "1,added,ann,", "2,added,bob,", "3,skipped,,unresolved mapping"
    ]  # fmt: skip
    assert shell.run("log", "stream", "--operation", "added", "--limit", "1") == [heads, "1,added,ann,"]
    with pytest.raises(SluiceError, match="no turn as of 2013-01-01"):
        shell.run("log", "stream", "--at", "2013-01-01")
    (turn,) = syncs.turns(shell.there.ledger, sync="stream")
    syncs.record_gone(shell.there.ledger, turn, bytes_gone=True)
    with pytest.raises(SluiceError, match="row_log_days"):
        shell.run("log", "stream")


def test_status_lists_all_syncs(shell):
    shell.turn("files", 1)
    lines = shell.run("status")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "vips" in line]
    assert [row[:7] for row in rows] == [
        ["by_hand", "vips", "CRM", "one_time", "never run", "never", ""],
        ["files", "vips", "CRM", "hourly", "delivered", "2013-01-02 01:00", "3"],
        ["stream", "vips", "Push", "real_time", "never run", "never", ""],
    ]
    assert rows[0][7] == "by hand"


def test_the_next_turn_is_the_next_end_of_an_interval(shell):
    now = shell.there.ledger.now()
    hourly, minutely = (shell.status(sync).next_as_of for sync in ("files", "stream"))
    assert hourly > now
    assert (hourly.minute, hourly.second, hourly.microsecond) == (0, 0, 0)
    assert (minutely.second, minutely.microsecond) == (0, 0)
    assert minutely <= hourly


def test_a_sync_that_works_says_which_run(shell):
    shell.fix("files", 1)
    found = shell.status("files")
    assert (found.state, found.reason) == ("running", "The run run 1.")
    shell.there.end_claims()
    assert shell.status("files").state == "not sent"


def test_a_part_of_a_sync_is_never_a_success(shell):
    turn = shell.fix("files", 1).turn
    puts = iter(range(10))

    def on_put():
        if next(puts) == 4:
            raise RuntimeError("The bucket is full.")

    shell.there.bucket.on_put = on_put
    with pytest.raises(RuntimeError):
        shell.there.deliver(shell.config.sync("files"), turn.number, "run 1")
    found = shell.status("files")
    assert found.state == "partial"
    assert found.reason == ("2 of 3 files have arrived; the next turn makes it good. The bucket is full.")
    assert found.delivered is None
    assert "partial" in "\n".join(shell.run("history", "vips"))
    shell.there.bucket.on_put = lambda: None
    shell.turn("files", 2)
    assert shell.status("files").state == "delivered"
    assert "superseded" not in "\n".join(shell.run("history", "vips")).split("partial")[0]


def test_what_waits_and_what_was_skipped_meanwhile_is_said(shell):
    shell.turn("files", 1)
    held = shell.fix("files", 2, []).turn
    shell.fix("files", 3)
    found = shell.status("files")
    assert found.state == "waiting for approval"
    assert found.reason.startswith("3 of 3 members leave, 100.0%")
    decline(shell.config.sync("files"), shell.there.ledger, number=held.number, reason="Not today.")
    found = shell.status("files")
    assert (found.state, found.reason) == ("declined", "Not today.")
    assert found.delivered.as_of == hour(1)


def test_what_a_gate_has_stopped_is_said_with_what_to_do(shell):
    shell.turn("files", 1, [(number, "ann") for number in range(200)])
    turn = shell.fix("files", 2).turn
    gate = shell.there.check(shell.config.sync("files"), turn.number, "run 2")
    shell.fix("files", 3)
    found = shell.status("files")
    assert found.state == "held by its gate"
    assert found.reason == (
        "expect_row_count_to_keep() failed: observed 3 rows; 200 before (history). Until"
        f" {gate.held_until:%Y-%m-%d %H:%M} UTC; `sluice quality show {gate.id}` says how to release or"
        " discard it."
    )
    assert any("held by its quality gate: turn 2 of files" in line for line in shell.run("status"))
    quality.release(shell.there.ledger, gate, "ann", "They are right.")
    assert "ann released it: clear check_quality of the run run 2" in shell.status("files").reason
    shell.there.check(shell.config.sync("files"), turn.number, "run 2")
    assert shell.status("files").state == "waiting for approval"


def test_a_failure_is_said_until_a_turn_is_delivered(shell, monkeypatch):
    shell.turn("files", 1)
    monkeypatch.setattr("sluice.cohorts.snapshot.take_snapshot", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        shell.fix("files", 2)
    assert (shell.status("files").state, shell.status("files").reason) == ("failed", "division by zero")
    monkeypatch.setattr("sluice.cohorts.snapshot.take_snapshot", shell.there.take_snapshot)
    shell.turn("files", 3)
    assert shell.status("files").state == "delivered"

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier

import pytest
from alembic import command
from alembic.config import Config
from gates import NULLS, RUN, a_gate, end_time, held
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import delete, inspect

from sluice.ledger import quality
from sluice.ledger.database import VERSION_TABLE
from sluice.ledger.migrate import MIGRATIONS, upgrade
from sluice.ledger.quality import OPEN, Gate, GateDecided
from sluice.ledger.tables import metadata, quality_gates


def test_a_gate_comes_back_as_it_was_recorded(ledger):
    made = a_gate(report="_quality/export/warehouse/x.html")
    before = ledger.now()
    kept = quality.record(ledger, made, 72)
    assert before <= kept.checked_at <= ledger.now()
    assert kept.held_until == kept.checked_at + timedelta(hours=72)
    assert replace(kept, checked_at=made.checked_at, held_until=None) == made
    assert quality.find(ledger, made.gate) == kept
    assert quality.by_id(ledger, made.id) == kept
    assert quality.by_id(ledger, "0" * 32) is None
    assert quality.find(ledger, replace(made.gate, unit="another")) is None


def test_only_what_is_held_has_an_end(ledger):
    assert quality.record(ledger, a_gate(state="passed"), 72).held_until is None


def test_a_check_takes_the_place_of_the_one_before(ledger):
    first = held(ledger)
    second = quality.record(ledger, a_gate(id=first.id, content="mended", state="passed"), 72)
    assert quality.of_run(ledger, RUN) == [second]
    assert (second.state, second.held_until) == ("passed", None)


def test_gates_are_listed_by_run_state_and_time(ledger):
    two = held(ledger, unit="hour 2", run="d/b")
    one = held(ledger, unit="hour 1", run="d/b")
    load = held(ledger, pipeline="import", name="crm", unit="load", run="i/a")
    quality.record(ledger, a_gate(unit="hour 3", run="d/b", state="warned"), 72)
    assert [gate.unit for gate in quality.of_run(ledger, "d/b")] == ["hour 2", "hour 1", "hour 3"]
    assert quality.held(ledger) == [two, one, load]
    assert quality.held(ledger, "import") == [load]
    assert quality.held(ledger, "export", "crm") == []
    assert [gate.unit for gate in quality.newest(ledger, 2)] == ["hour 3", "load"]
    assert [gate.unit for gate in quality.newest(ledger, 9, "export", "warehouse")] == [
        "hour 3", "hour 1", "hour 2"
    ]  # fmt: skip


@pytest.mark.parametrize("decide", [quality.release, quality.discard])
def test_a_decision_is_on_record_and_may_be_repeated(ledger, decide):
    gate = held(ledger)
    decided = decide(ledger, gate, "ann", "the carrier's strike")
    assert decided.state == {"release": "released", "discard": "discarded"}[decide.__name__]
    assert decided.is_open == (decided.state in OPEN)
    assert (decided.decided_by, decided.reason) == ("ann", "the carrier's strike")
    assert decided.decided_at >= gate.checked_at
    assert decide(ledger, gate, "bob", "me too") == decided
    assert quality.held(ledger) == []


@pytest.mark.parametrize(("hours", "left"), [(1, 24), (72, 72)])
def test_a_release_protects_for_a_day_at_least(ledger, hours, left):
    gate = quality.record(ledger, a_gate(), hours)
    end = gate.held_until
    released = quality.release(ledger, gate, "ann", "right")
    assert released.held_until == (end if left == hours else released.decided_at + timedelta(hours=left))
    assert quality.waiting(ledger, "export", "warehouse") == [released]


def test_a_release_survives_a_check_of_the_same_content(ledger):
    released = quality.release(ledger, held(ledger), "ann", "right")
    again = quality.record(ledger, a_gate(id=released.id), 72)
    assert again == released


def test_a_release_is_for_its_content_only(ledger):
    released = quality.release(ledger, held(ledger), "ann", "right")
    again = quality.record(ledger, a_gate(id=released.id, content="other"), 72)
    assert (again.state, again.content, again.decided_by, again.reason) == ("held", "other", None, None)


def test_what_was_looked_at_is_what_is_released(ledger):
    gate = held(ledger)
    quality.record(ledger, a_gate(id=gate.id, content="other"), 72)
    with pytest.raises(GateDecided, match="sluice quality show"):
        quality.release(ledger, gate, "ann", "right")
    assert quality.find(ledger, gate.gate).state == "held"


def test_nothing_open_can_be_given_up(ledger):
    gate = quality.record(ledger, a_gate(state="passed"), 72)
    with pytest.raises(GateDecided, match="not held: it is passed"):
        quality.discard(ledger, gate, "ann", "no")


@pytest.mark.parametrize("attempt", range(3))
def test_of_a_release_and_a_discard_at_one_moment_one_wins(ledger, attempt):
    gate = held(ledger)
    together = Barrier(2)

    def decide(one):
        together.wait()
        try:
            return one(ledger, gate, one.__name__, "")
        except GateDecided as lost:
            return str(lost)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(decide, [quality.release, quality.discard]))
    (won,) = [result for result in results if isinstance(result, Gate)]
    (lost,) = [result for result in results if isinstance(result, str)]
    assert quality.find(ledger, gate.gate) == won
    assert f"it is {won.state}, decided by {won.decided_by}" in lost


def test_a_decision_and_the_end_of_the_time_at_one_moment_one_wins(ledger):
    gate = held(ledger)
    end_time(ledger)
    together = Barrier(2)

    def expire():
        together.wait()
        return quality.expire(ledger, "export", "warehouse")

    def release():
        together.wait()
        try:
            return [quality.release(ledger, gate, "ann", "")]
        except GateDecided:
            return []

    with ThreadPoolExecutor(2) as pool:
        expired, released = pool.submit(expire), pool.submit(release)
        assert len(expired.result()) + len(released.result()) == 1
    assert quality.find(ledger, gate.gate).state == ("expired" if expired.result() else "released")


def test_the_ledgers_clock_ends_a_hold(ledger):
    gate = held(ledger)
    assert quality.expire(ledger, "export", "warehouse") == []
    end_time(ledger)
    assert quality.expire(ledger, "export", "another") == []
    assert quality.expire(ledger, "import", "warehouse") == []
    (expired,) = quality.expire(ledger, "export", "warehouse")
    assert (expired.id, expired.state, expired.decided_by) == (gate.id, "expired", None)
    assert "Nobody released or discarded it in time" in expired.reason
    assert not expired.is_open
    assert quality.expire(ledger, "export", "warehouse") == []
    with pytest.raises(GateDecided, match="it is expired"):
        quality.release(ledger, gate, "ann", "too late")


def test_gates_are_found_by_the_end_of_their_runs_name_and_the_beginning_of_their_id(ledger):
    gate = held(ledger, run="d/scheduled__x")
    other = held(ledger, run="other_d/scheduled_xx")
    assert quality.of_run_id(ledger, "scheduled__x") == [gate]
    assert quality.of_run_id(ledger, "scheduled_%") == []
    assert quality.of_run_id(ledger, "d/scheduled__x") == []
    assert quality.by_id_start(ledger, gate.id[:12]) == [gate]
    assert quality.by_id_start(ledger, "%") == []
    assert quality.newest_runs(ledger, 9) == [other.run, gate.run]
    assert quality.newest_runs(ledger, 1) == [other.run]


def test_a_long_reason_is_cut(ledger):
    decided = quality.release(ledger, held(ledger), "ann", "x" * 5_000)
    assert len(decided.reason) == 2_000
    assert decided.reason.endswith("x…")


def test_results_come_back_as_they_were_found(ledger):
    kept = held(ledger)
    assert kept.results[0] == NULLS.to_json()


def test_the_migration_goes_down_and_up(ledger):
    held(ledger)
    with ledger.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.downgrade(config, "0004")
        assert not inspect(connection).has_table("quality_gates")
        upgrade(connection)
        assert inspect(connection).has_table(VERSION_TABLE)
        found = {column["name"] for column in inspect(connection).get_columns("quality_gates")}
        assert found == set(metadata.tables["quality_gates"].columns.keys())
    assert quality.held(ledger) == []


UNITS = st.sampled_from(["hour 1", "hour 2"])
CONTENTS = st.sampled_from(["a", "b"])


class Gates(RuleBasedStateMachine):
    """Checks, decisions and the clock in any order, beside what they ought to give."""

    def __init__(self, ledger):
        super().__init__()
        self.ledger = ledger
        with ledger.begin() as connection:
            connection.execute(delete(quality_gates))
        # unit -> (state, content), and the units whose time is over.
        self.expected = {}
        self.due = set()

    @rule(unit=UNITS, content=CONTENTS, state=st.sampled_from(["passed", "warned", "held", "overridden"]))
    def check(self, unit, content, state):
        recorded = quality.record(self.ledger, a_gate(unit=unit, content=content, state=state), 72)
        if self.expected.get(unit) != ("released", content):
            self.expected[unit] = (state, content)
            self.due.discard(unit)
        assert (recorded.state, recorded.content) == self.expected[unit]

    @rule(unit=UNITS, content=CONTENTS, verb=st.sampled_from(["released", "discarded"]))
    def decide(self, unit, content, verb):
        if unit not in self.expected:
            return
        seen = a_gate(unit=unit, content=content)
        decide = quality.release if verb == "released" else quality.discard
        if self.expected[unit] in (("held", content), (verb, content)):
            assert decide(self.ledger, seen, "ann", "why").state == verb
            self.expected[unit] = (verb, content)
        else:
            with pytest.raises(GateDecided):
                decide(self.ledger, seen, "ann", "why")

    @rule()
    def time_passes(self):
        end_time(self.ledger)
        self.due |= {unit for unit, (state, _) in self.expected.items() if state == "held"}

    @rule()
    def expire(self):
        ended = {gate.unit for gate in quality.expire(self.ledger, "export", "warehouse")}
        assert ended == {unit for unit in self.due if self.expected[unit][0] == "held"}
        for unit in ended:
            self.expected[unit] = ("expired", self.expected[unit][1])

    @invariant()
    def the_ledger_says_what_is_expected(self):
        gates = quality.of_run(self.ledger, RUN)
        assert {gate.unit: (gate.state, gate.content) for gate in gates} == self.expected
        assert all(gate.held_until is not None for gate in gates if gate.state in ("held", "expired"))
        held_units = {gate.unit for gate in quality.held(self.ledger)}
        assert held_units == {unit for unit, (state, _) in self.expected.items() if state == "held"}


def test_any_order_of_checks_decisions_and_time(ledger):
    # One connection for all steps: to open one takes longer than a step.
    with ledger.pooled(1) as pooled:
        run_state_machine_as_test(
            lambda: Gates(pooled),
            settings=settings(
                max_examples=10,
                stateful_step_count=15,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )

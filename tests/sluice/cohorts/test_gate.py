"""The gate before a turn is sent: what it finds, and what becomes of the turn that it stops."""

import hashlib
import json
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cohort_turns import START, Syncs, hour, kinesis_sync, s3_sync, staged_rows
from sqlalchemy import update

from sluice.cohorts import diff as comparing
from sluice.cohorts import messages as writing
from sluice.cohorts.clean import clean
from sluice.cohorts.fix import NotReconciled
from sluice.cohorts.gate import discard_held, expire_held
from sluice.cohorts.turn_check import FILES as THE_FILES
from sluice.cohorts.turn_check import SETS, VALUE_SETS
from sluice.cohorts.turns import approve
from sluice.config.projects import Project
from sluice.config.quality import QualityConfig
from sluice.errors import SluiceError
from sluice.ledger import quality, syncs
from sluice.ledger.tables import quality_gates, sync_turns
from sluice.quality.gate import Override, QualityNotChecked

FILES = s3_sync()
STREAM = kinesis_sync()
PEOPLE = [(1, "ann"), (2, "bob"), (3, None), (4, "dan")]
LATER = [(1, "ann"), (2, "bob"), (5, "eve"), (6, "fay")]


def failed(gate):
    """What stopped a gate: the types, or what was reconciled."""
    return {
        result["expectation"]["kwargs"].get("of", result["expectation"]["type"])
        for result in gate.results
        if not result["success"] or result["error"]
    }


def restage(there: Syncs, turn, name, change, *, count=None):
    """Let a turn have been fixed with another list: the file, and what the ledger says of it."""
    path = Path(there.lake.uri, turn.folder, name)
    pq.write_table(change(pq.read_table(path)), path)
    data = path.read_bytes()
    rows = pq.read_metadata(path).num_rows
    now = {"rows": rows, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    files = [asdict(file) | (now if file.name == name else {}) for file in turn.files]
    counts = dict(turn.counts) | ({count: rows} if count else {})
    with there.ledger.begin() as connection:
        connection.execute(
            update(sync_turns).where(sync_turns.c.number == turn.number).values(files=files, counts=counts)
        )


def discard(there: Syncs, gate, reason="The query was wrong."):
    discard_held(SimpleNamespace(ledger=there.ledger), quality.discard(there.ledger, gate, "ann", reason))


def fixed(there: Syncs, sync, number, run, members):
    there.members = list(members)
    found = there.fix(sync, hour(number), run)
    assert found.turn is not None, found.reason
    return found.turn


def sent(there: Syncs):
    return dict(there.bucket.objects), list(there.stream.records)


def mend_by_the_next_turn(there: Syncs, sync, gate, before, members=LATER):
    """Nothing of a stopped turn was sent; the next run passes it by until it is discarded, and then mends."""
    turn = next(iter(syncs.turns(there.ledger, sync=sync.id, states=["stopped"])))
    with pytest.raises(SluiceError, match=f"quality show {turn.run}"):
        there.deliver(sync, turn.number, turn.run, checked=False)
    there.end_claims()
    by = there.fix(sync, hour(8), "the next one")
    assert by.skipped
    assert "quality gate" in by.reason
    assert sent(there) == before
    discard(there, gate)
    (given_up,) = syncs.turns(there.ledger, sync=sync.id, states=["declined"])
    assert "The query was wrong." in given_up.reason
    assert given_up.decided_by == "ann"
    return there.turn(sync, hour(9), "the one after it", members).turn


# --- What is found ---


def test_a_turn_in_order_passes(cohort_syncs):
    there = cohort_syncs
    for sync in (FILES, STREAM):
        there.turn(sync, hour(1), "a", PEOPLE)
        turn = fixed(there, sync, 2, "b", LATER)
        gate = there.check(sync, turn.number, "b")
        assert (gate.state, gate.rows, gate.unit, gate.name) == ("passed", 4, "turn 2", sync.id)
        assert failed(gate) == set()
        assert there.lake.filesystem().get_file_info(gate.report).is_file
        assert there.deliver(sync, turn.number, "b", checked=False).outcome == "delivered"


def test_nothing_is_sent_that_passed_no_gate(cohort_syncs):
    there = cohort_syncs
    turn = fixed(there, FILES, 1, "a", PEOPLE)
    with pytest.raises(QualityNotChecked, match="turn 1 of files"):
        there.deliver(FILES, turn.number, "a", checked=False)
    assert there.bucket.objects == {}


def test_members_without_an_id(cohort_syncs):
    there = cohort_syncs
    there.turn(FILES, hour(1), "a", PEOPLE)
    before = sent(there)
    turn = fixed(there, FILES, 2, "b", LATER)

    def without_ids(table):
        ids = pa.array([None, *table["amplitude_id"].to_pylist()[1:]], pa.int64())
        return table.set_column(0, pa.field("amplitude_id", pa.int64()), ids)

    restage(there, turn, "members.parquet", without_ids)
    gate = there.check(FILES, turn.number, "b")
    not_compared = {"expect_compound_columns_to_be_unique", SETS}
    assert failed(gate) == {"expect_column_values_to_not_be_null"} | not_compared
    done = mend_by_the_next_turn(there, FILES, gate, before)
    assert (done.counts["entering"], done.counts["exiting"], done.baseline) == (2, 2, 1)


def test_members_who_are_there_twice(cohort_syncs, monkeypatch):
    there = cohort_syncs
    there.turn(FILES, hour(1), "a", PEOPLE)
    before = sent(there)
    with monkeypatch.context() as patch:
        patch.setattr(comparing, "distinct", lambda rows: rows)
        turn = fixed(there, FILES, 2, "b", [*LATER, (5, "eve"), (2, "bob")])
        gate = there.check(FILES, turn.number, "b")
    assert failed(gate) == {"expect_compound_columns_to_be_unique"}
    (result,) = [each for each in gate.results if not each["success"]]
    assert result["unexpected"] == 2
    done = mend_by_the_next_turn(there, FILES, gate, before)
    assert done.counts["entering"] == 2


@pytest.mark.parametrize("name", ["existing.csv", "members.parquet", "entering.parquet"])
def test_a_staged_file_that_was_cut(cohort_syncs, name):
    there = cohort_syncs
    there.turn(FILES, hour(1), "a", PEOPLE)
    before = sent(there)
    turn = fixed(there, FILES, 2, "b", LATER)
    path = Path(there.lake.uri, turn.folder, name)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    gate = there.check(FILES, turn.number, "b")
    assert failed(gate) == {THE_FILES}
    assert name in json.dumps(gate.results)
    assert mend_by_the_next_turn(there, FILES, gate, before).counts["entering"] == 2


def test_a_cohort_that_loses_nearly_everybody(cohort_syncs):
    there = cohort_syncs
    many = [(number, f"n{number}") for number in range(200)]
    there.turn(FILES, hour(1), "a", many)
    before = sent(there)
    turn = fixed(there, FILES, 2, "b", many[:20])
    gate = there.check(FILES, turn.number, "b")
    assert failed(gate) == {"expect_row_count_to_keep"}
    assert mend_by_the_next_turn(there, FILES, gate, before, many[:150]).counts["exiting"] == 50


def test_how_much_a_cohort_may_lose_is_configured(cohort_syncs):
    there = cohort_syncs
    keeps = {"type": "expect_row_count_to_keep", "kwargs": {"min_ratio": 0.9, "min_rows": 2}}
    strict = s3_sync(cohort={"quality": {"expectations": [keeps]}})
    there.turn(strict, hour(1), "a", PEOPLE)
    turn = fixed(there, strict, 2, "b", PEOPLE[:3])
    assert failed(there.check(strict, turn.number, "b")) == {"expect_row_count_to_keep"}
    mild = s3_sync(cohort={"quality": {"expectations": [keeps | {"severity": "warning"}]}})
    gate = there.check(mild, turn.number, "b")
    assert (gate.state, failed(gate)) == ("warned", {"expect_row_count_to_keep"})
    assert there.deliver(mild, turn.number, "b", checked=False).outcome == "delivered"


def test_a_property_whose_type_changes(cohort_syncs):
    """Of the sync that sends it; the sync of the same cohort that does not is not asked."""
    there = cohort_syncs
    asked = [
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "age", "min_value": 0}},
        {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "plan", "regex": "^[a-z]+$"}},
    ]
    cohort = {"properties": ["age", "plan"], "quality": {"expectations": asked}}
    sync = s3_sync(cohort=cohort, user_properties=["age", "plan"])
    there.properties = {"age": [20, 30, 40, None], "plan": ["gold", "silver", None, "gold"]}
    there.turn(sync, hour(1), "a", PEOPLE)
    before = sent(there)
    there.properties = {"age": ["20", "30", "n/a", None], "plan": ["gold", "7", None, "gold"]}
    turn = fixed(there, sync, 2, "b", LATER)
    gate = there.check(sync, turn.number, "b")
    assert failed(gate) == {each["type"] for each in asked}
    assert "n/a" not in json.dumps(gate.results)
    there.properties = {"age": [20, 30, 40, None], "plan": ["gold", "silver", None, "gold"]}
    assert mend_by_the_next_turn(there, sync, gate, before).counts["entering"] == 2
    there.properties = {"age": [], "plan": []}
    assert there.turn(sync, hour(10), "of nobody", []).outcome == "delivered"
    there.properties = {}
    other = kinesis_sync(cohort=cohort)
    assert there.turn(other, hour(1), "a", PEOPLE).outcome == "delivered"


def test_a_portfolios_property_stands_for_the_column_of_each_project(cohort_syncs):
    there = cohort_syncs
    asked = [
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "plan", "value_set": ["gold"]}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "amplitude_id", "min_value": 1}},
    ]
    one = s3_sync(
        cohort={"properties": ["plan"], "quality": {"expectations": asked}}, user_properties=["plan"]
    )
    projects = [Project(id=n, name=name, organisation=1) for n, name in ((1, "Web shop"), (2, "App"))]
    sync = replace(one, sources=tuple(projects))
    there.properties = {"plan (Web shop)": ["gold"] * 4, "plan (App)": ["gold", "tin", "tin", None]}
    turn = fixed(there, sync, 1, "a", PEOPLE)
    gate = there.check(sync, turn.number, "a")
    (wrong,) = [each for each in gate.results if not each["success"]]
    assert wrong["expectation"]["kwargs"]["column"] == "plan (App)"
    assert wrong["unexpected"] == 2
    columns = [each["expectation"]["kwargs"].get("column") for each in gate.results]
    assert {"plan (Web shop)", "amplitude_id"} <= set(columns)


def test_a_list_of_who_enters_that_misses_one(cohort_syncs):
    there = cohort_syncs
    there.turn(FILES, hour(1), "a", PEOPLE)
    before = sent(there)
    turn = fixed(there, FILES, 2, "b", LATER)
    restage(there, turn, "entering.parquet", lambda table: table.slice(1), count="entering")
    gate = there.check(FILES, turn.number, "b")
    assert failed(gate) == {SETS, THE_FILES}
    assert "1 are members and follow from no change" in json.dumps(gate.results)
    assert mend_by_the_next_turn(there, FILES, gate, before).counts["entering"] == 2


def test_who_may_have_been_told_to_leave_has_to_be_named_again(cohort_syncs):
    """(2, bob) was told to leave by a turn that was given up, and is back: the members do not show it."""
    there = cohort_syncs
    there.turn(FILES, hour(1), "a", PEOPLE)

    def end():
        there.bucket.on_put = lambda: None
        raise KeyboardInterrupt

    there.bucket.on_put = end
    with pytest.raises(KeyboardInterrupt):
        there.turn(FILES, hour(2), "b", PEOPLE[:1])
    turn = fixed(there, FILES, 3, "c", PEOPLE[:2])
    restage(there, turn, "entering.parquet", lambda table: table.slice(1), count="entering")
    gate = there.check(FILES, turn.number, "c")
    assert SETS in failed(gate)
    assert "1 may have been told by an earlier turn" in json.dumps(gate.results)


def test_a_stream_is_told_of_each_value(cohort_syncs):
    there = cohort_syncs
    there.turn(STREAM, hour(1), "a", PEOPLE)
    before = sent(there)
    turn = fixed(there, STREAM, 2, "b", LATER)
    restage(there, turn, "enter_values.parquet", lambda table: table.slice(1), count="enter_values")
    gate = there.check(STREAM, turn.number, "b")
    assert failed(gate) == {VALUE_SETS}
    mend_by_the_next_turn(there, STREAM, gate, before)
    (entered,) = [json.loads(line) for line in there.stream.records[len(before[1]) :] if b"true" in line]
    assert {user["user_id"] for user in entered["users"]} == {"eve", "fay"}


def test_a_message_that_is_no_message(cohort_syncs, monkeypatch):
    there = cohort_syncs
    with monkeypatch.context() as patch:
        patch.setattr(writing, "_TAIL", b"]\n")
        turn = fixed(there, STREAM, 1, "a", PEOPLE)
    gate = there.check(STREAM, turn.number, "a")
    assert failed(gate) == {"expect_messages_to_have_their_keys"}
    assert there.stream.records == []
    mend_by_the_next_turn(there, STREAM, gate, ({}, []))
    assert len(there.stream.records) == 2


def test_a_full_list_of_the_past_is_checked_as_it_is(cohort_syncs):
    there = cohort_syncs
    there.turn(FILES, hour(5), "a", PEOPLE)
    turn = fixed(there, FILES, 3, "backfill", LATER)
    gate = there.check(FILES, turn.number, "backfill")
    assert (turn.kind, gate.state, failed(gate)) == ("existing", "passed", set())
    there.deliver(FILES, turn.number, "backfill", checked=False)
    wrong = fixed(there, FILES, 2, "older", LATER)
    path = Path(there.lake.uri, wrong.folder, "existing.csv")
    path.write_bytes(path.read_bytes() + b'"7"\n')
    assert there.check(FILES, wrong.number, "older").state == "held"
    # It is no step of the chain: the syncs of now go on meanwhile.
    assert there.turn(FILES, hour(6), "b", PEOPLE).outcome == "delivered"
    assert expire_held(there.ledger, there.lake, FILES) == []
    assert syncs.turn_of(there.ledger, turn.chain, wrong.number).state == "stopped"


# --- What becomes of a turn that was stopped ---

LOSS = {"type": "expect_row_count_to_keep", "kwargs": {"min_ratio": 0.8, "min_rows": 2}}
SUITE = {"quality": {"expectations": [LOSS], "hold_hours": 5}}
STRICT = s3_sync(cohort=SUITE)


def stopped_turn(there: Syncs, sync=STRICT):
    """Return a turn that its gate has stopped, as it loses members, and the gate."""
    there.turn(sync, hour(1), "a", PEOPLE)
    turn = fixed(there, sync, 2, "b", PEOPLE[:2])
    gate = there.check(sync, turn.number, "b")
    assert gate.state == "held"
    return syncs.turn_of(there.ledger, turn.chain, turn.number), gate


def test_a_stopped_turn_waits_as_long_as_is_configured(cohort_syncs):
    turn, gate = stopped_turn(cohort_syncs)
    assert (turn.state, turn.gate, turn.gate_until) == ("stopped", gate.id, gate.held_until)
    assert turn.gate_until - gate.checked_at == timedelta(hours=5)
    (state,) = syncs.chains(cohort_syncs.ledger)
    assert state.run is None


def test_a_released_turn_goes_on(cohort_syncs):
    there = cohort_syncs
    turn, gate = stopped_turn(there)
    quality.release(there.ledger, gate, "ann", "They are right.")
    assert there.fix(STRICT, hour(3), "c").skipped
    assert there.check(STRICT, turn.number, "b").state == "released"
    assert there.deliver(STRICT, turn.number, "b", checked=False).outcome == "delivered"
    assert there.turn(STRICT, hour(4), "d", PEOPLE[:2]).turn.baseline == turn.number


def killed_after_the_verdict(there: Syncs, monkeypatch):
    """The process ends when the verdict is recorded, and before the turn knows of it."""
    there.turn(STRICT, hour(1), "a", PEOPLE)
    turn = fixed(there, STRICT, 2, "b", PEOPLE[:2])
    with monkeypatch.context() as patch:
        patch.setattr(syncs, "stop", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            there.check(STRICT, turn.number, "b")
    (gate,) = quality.held(there.ledger)
    return turn, gate


def test_a_release_is_seen_by_whoever_tries_again_after_a_kill(cohort_syncs, monkeypatch):
    there = cohort_syncs
    turn, gate = killed_after_the_verdict(there, monkeypatch)
    with pytest.raises(SluiceError, match="is held"):
        there.deliver(STRICT, turn.number, "b", checked=False)
    quality.release(there.ledger, gate, "ann", "They are right.")
    assert there.deliver(STRICT, turn.number, "b").outcome == "delivered"


def test_a_discard_is_seen_by_whoever_tries_again_after_a_kill(cohort_syncs, monkeypatch):
    there = cohort_syncs
    turn, gate = killed_after_the_verdict(there, monkeypatch)
    discard(there, gate)
    assert there.check(STRICT, turn.number, "b").state == "discarded"
    assert there.deliver(STRICT, turn.number, "b").skipped
    assert there.turn(STRICT, hour(3), "c", PEOPLE).turn.baseline == 1


def test_a_discard_that_was_killed_is_finished_by_the_next_run(cohort_syncs):
    there = cohort_syncs
    turn, gate = stopped_turn(there)
    quality.discard(there.ledger, gate, "ann", "Wrong.")
    done = there.turn(STRICT, hour(3), "c", PEOPLE)
    assert (done.outcome, done.turn.baseline) == ("delivered", 1)
    assert syncs.turn_of(there.ledger, turn.chain, turn.number).state == "declined"
    assert there.deliver(STRICT, turn.number, "b").skipped


def test_discarding_twice_changes_nothing(cohort_syncs):
    there = cohort_syncs
    turn, gate = stopped_turn(there)
    discard(there, gate)
    given_up = syncs.turn_of(there.ledger, turn.chain, turn.number)
    discard(there, gate)
    assert syncs.turn_of(there.ledger, turn.chain, turn.number) == given_up


def test_what_nobody_decides_about_is_given_up(cohort_syncs):
    there = cohort_syncs
    turn, gate = stopped_turn(there)
    with there.ledger.begin() as connection:
        connection.execute(update(quality_gates).values(held_until=START))
    done = there.turn(STRICT, hour(3), "c", PEOPLE)
    assert (done.outcome, done.turn.baseline) == ("delivered", 1)
    assert quality.by_id(there.ledger, gate.id).state == "expired"
    given_up = syncs.turn_of(there.ledger, turn.chain, turn.number)
    assert given_up.state == "declined"
    assert "expired" in given_up.reason
    assert there.deliver(STRICT, turn.number, "b").skipped


def test_what_nobody_decides_about_is_given_up_by_the_maintenance_where_no_run_follows(cohort_syncs):
    """As of a sync that somebody has paused, or taken out of the configuration."""
    there = cohort_syncs
    turn, gate = stopped_turn(there)
    config = SimpleNamespace(syncs=())
    with there.ledger.begin() as connection:
        connection.execute(update(quality_gates).values(held_until=START))
    clean(config, there.lake, there.ledger, dry_run=True)
    assert quality.by_id(there.ledger, gate.id).state == "held"
    clean(config, there.lake, there.ledger)
    assert quality.by_id(there.ledger, gate.id).state == "expired"
    given_up = syncs.turn_of(there.ledger, turn.chain, turn.number)
    assert (given_up.state, "expired" in given_up.reason) == ("declined", True)
    clean(config, there.lake, there.ledger)
    assert syncs.turn_of(there.ledger, turn.chain, turn.number).state == "declined"


def test_a_release_that_nobody_made_use_of_ends_with_its_time(cohort_syncs):
    there = cohort_syncs
    turn, gate = stopped_turn(there)
    quality.release(there.ledger, gate, "ann", "They are right.")
    with there.ledger.begin() as connection:
        connection.execute(update(sync_turns).values(gate_until=START))
    assert there.turn(STRICT, hour(3), "c", PEOPLE).turn.baseline == 1
    assert there.deliver(STRICT, turn.number, "b").skipped


def test_a_gate_can_be_overridden_on_the_record(cohort_syncs):
    there = cohort_syncs
    turn, gate = stopped_turn(there)
    said = Override("ann", "The campaign is over.")
    passed = there.check(STRICT, turn.number, "b", override=said)
    assert (passed.id, passed.state, passed.decided_by, passed.reason) == (
        gate.id, "overridden", "ann", "The campaign is over.",
    )  # fmt: skip
    assert there.deliver(STRICT, turn.number, "b", checked=False).outcome == "delivered"


def test_a_run_that_is_cleared_whole_makes_its_turn_anew(cohort_syncs):
    there = cohort_syncs
    turn, gate = stopped_turn(there)
    again = fixed(there, STRICT, 2, "b", PEOPLE)
    assert (again.number, again.state, again.baseline) == (turn.number + 1, "fixed", 1)
    assert there.deliver(STRICT, again.number, "b").outcome == "delivered"
    assert syncs.turn_of(there.ledger, turn.chain, turn.number).state == "superseded"
    there.turn(STRICT, hour(3), "c", PEOPLE)
    assert quality.by_id(there.ledger, gate.id).state == "discarded"


def test_approval_and_gate_cannot_do_for_one_another(cohort_syncs):
    there = cohort_syncs
    sync = s3_sync(max_exit_share=0.1, approval_hours=3, cohort=SUITE)
    turn, gate = stopped_turn(there, sync)
    assert turn.reason == "2 of 4 members leave, 50.0%; max_exit_share allows 10.0%."
    with pytest.raises(syncs.SyncBusy, match="approval does not release it"):
        approve(sync, there.ledger, number=turn.number, by="bob")
    quality.release(there.ledger, gate, "ann", "They are right.")
    there.check(sync, turn.number, "b")
    waiting = syncs.turn_of(there.ledger, turn.chain, turn.number)
    assert waiting.state == "held"
    # The time to answer begins when there is something to answer.
    assert waiting.held_until - there.ledger.now() > timedelta(hours=2, minutes=50)
    with pytest.raises(SluiceError, match="approval"):
        there.deliver(sync, turn.number, "b", checked=False)
    assert len(there.bucket.puts) == 3
    approve(sync, there.ledger, number=turn.number, by="bob")
    assert there.deliver(sync, turn.number, "b", checked=False).outcome == "delivered"


def test_approval_alone_sends_nothing_that_was_not_checked(cohort_syncs):
    there = cohort_syncs
    sync = s3_sync(max_exit_share=0.1)
    there.turn(sync, hour(1), "a", PEOPLE)
    turn = fixed(there, sync, 2, "b", PEOPLE[:2])
    approve(sync, there.ledger, number=turn.number, by="bob")
    with pytest.raises(QualityNotChecked):
        there.deliver(sync, turn.number, "b", checked=False)


def test_what_passed_its_gate_is_not_checked_again_whoever_sends_it(cohort_syncs):
    """The run that fixed it ends; another one of the same time takes the turn over."""
    there = cohort_syncs
    turn, gate = stopped_turn(there)
    quality.release(there.ledger, gate, "ann", "They are right.")
    there.check(STRICT, turn.number, "b")
    there.end_claims()
    taken = there.fix(STRICT, hour(2), "c").turn
    assert (taken.number, taken.run) == (turn.number, "c")
    assert there.check(STRICT, turn.number, "c").id == gate.id
    assert there.deliver(STRICT, turn.number, "c", checked=False).outcome == "delivered"


def test_sent_and_half_sent_bytes_stand_before_no_gate(cohort_syncs):
    there = cohort_syncs
    there.turn(FILES, hour(1), "a", PEOPLE)
    again = fixed(there, FILES, 1, "a again", PEOPLE)
    assert again.kind == "resend"
    assert there.check(FILES, again.number, "a again") is None
    assert there.deliver(FILES, again.number, "a again", checked=False).outcome == "delivered"
    turn = fixed(there, FILES, 2, "b", LATER)
    there.check(FILES, turn.number, "b")
    there.bucket.on_put = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        there.deliver(FILES, turn.number, "b", checked=False)
    there.bucket.on_put = lambda: None
    assert there.check(FILES, turn.number, "b") is None
    assert there.deliver(FILES, turn.number, "b", checked=False).outcome == "delivered"


def test_a_gate_that_another_run_overtook_stops_nothing(cohort_syncs, monkeypatch):
    there = cohort_syncs
    there.turn(STRICT, hour(1), "a", PEOPLE)
    turn = fixed(there, STRICT, 2, "b", PEOPLE[:2])
    stop = syncs.stop

    def slow(*args):
        there.end_claims()
        assert there.turn(STRICT, hour(3), "c", PEOPLE).outcome == "delivered"
        return stop(*args)

    monkeypatch.setattr(syncs, "stop", slow)
    with pytest.raises(syncs.TurnLost):
        there.check(STRICT, turn.number, "b")
    assert there.deliver(STRICT, turn.number, "b", checked=False).skipped
    there.turn(STRICT, hour(4), "d", PEOPLE)
    assert quality.held(there.ledger) == []


def test_a_turn_is_left_alone_while_another_run_has_the_sync(cohort_syncs):
    there = cohort_syncs
    turn = fixed(there, FILES, 1, "a", PEOPLE)
    there.end_claims()
    other = syncs.claim(there.ledger, turn.chain, "b", 60)
    with pytest.raises(syncs.SyncBusy):
        there.check(FILES, turn.number, "a")
    (state,) = syncs.chains(there.ledger)
    assert (state.note.kind, state.note.run) == ("skipped", "a")
    syncs.release(there.ledger, other)
    # Cleared once more, the run goes on.
    assert there.deliver(FILES, turn.number, "a").outcome == "delivered"


def test_a_check_that_slept_past_its_claim_leaves_the_turn_alone(cohort_syncs, monkeypatch):
    """The other run of the meantime died: the turn is still this run's, and has passed no gate."""
    there = cohort_syncs
    turn = fixed(there, FILES, 1, "a", PEOPLE)
    record = quality.record

    def slow(*args, **keys):
        there.end_claims()
        syncs.claim(there.ledger, turn.chain, "b", 60)
        there.end_claims()
        return record(*args, **keys)

    monkeypatch.setattr(quality, "record", slow)
    with pytest.raises(syncs.TurnLost):
        there.check(FILES, turn.number, "a")
    monkeypatch.undo()
    assert there.deliver(FILES, turn.number, "a").outcome == "delivered"


def test_the_clean_up_leaves_a_stopped_turn_alone(cohort_syncs):
    there = cohort_syncs
    turn, gate = stopped_turn(there)
    clean(SimpleNamespace(syncs=()), there.lake, there.ledger)
    assert len(list(staged_rows(there.lake, f"{turn.folder}/members.parquet"))) == 2
    discard(there, gate)
    clean(SimpleNamespace(syncs=()), there.lake, there.ledger)
    assert syncs.turn_of(there.ledger, turn.chain, turn.number).members_gone_at is not None


# --- Switched off ---


def test_without_a_gate_the_sets_are_compared_nevertheless(cohort_syncs, monkeypatch):
    there = cohort_syncs
    off = {"quality": QualityConfig(enabled=False).model_dump()}
    for sync in (s3_sync(cohort=off), kinesis_sync(cohort=off)):
        assert there.turn(sync, hour(1), "a", PEOPLE).outcome == "delivered"
        assert there.check(sync, fixed(there, sync, 2, "b", LATER).number, "b") is None
        there.end_claims()
    before = sent(there)
    find = comparing.find

    def finds_too_much(rows, among):
        places = find(rows, among)
        places[:1] = 0
        return places

    monkeypatch.setattr(comparing, "find", finds_too_much)
    there.members = [(0, "new"), *PEOPLE]
    with pytest.raises(NotReconciled, match="follow from no change"):
        there.fix(s3_sync(cohort=off), hour(3), "c")
    assert sent(there) == before
    assert quality.newest(there.ledger, 9) == []

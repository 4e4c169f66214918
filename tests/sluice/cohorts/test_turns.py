import json
from dataclasses import replace
from datetime import timedelta

import pytest
from cohort_turns import Syncs, hour, kinesis_sync, s3_sync, staged_rows

from sluice.access.streams import StreamFacts
from sluice.cohorts import fix as fixing
from sluice.cohorts.chains import chain_of
from sluice.cohorts.deliver_messages import MessageTooLarge, PartlyDelivered
from sluice.cohorts.fix import SyncRefused
from sluice.cohorts.guard import exit_share
from sluice.cohorts.row_log import UNRESOLVED
from sluice.cohorts.turns import approve, decline
from sluice.errors import SluiceError
from sluice.ledger import syncs

FILES = s3_sync()
STREAM = kinesis_sync()
PEOPLE = [(1, "ann"), (2, "bob"), (3, None)]
# What the CSV files say of them.
BOTH = 'amplitudeID,userID\n"1","ann"\n"2","bob"\n"3",""\n'


def name(number, difftype):
    return f"cohorts/187520_vips_{hour(number):%Y-%m-%dT%H-%M}_{difftype}.csv"


def text(there: Syncs, number, difftype):
    return there.bucket.objects[name(number, difftype)].decode()


def messages(there: Syncs):
    return [json.loads(record) for record in there.stream.records]


class Ended(BaseException):
    """What ends a task from outside."""


def stop_after(there: Syncs, puts):
    """End whoever sends files after so many PUTs (each calls twice)."""
    calls = iter(range(10**6))

    def on_put():
        if next(calls) == 2 * puts:
            there.bucket.on_put = lambda: None
            raise Ended

    there.bucket.on_put = on_put


def test_a_first_sync_lets_everybody_in(cohort_syncs):
    done = cohort_syncs.turn(FILES, hour(1), "a", PEOPLE)
    assert cohort_syncs.bucket.puts == [name(1, kind) for kind in ("exiting", "entering", "existing")]
    assert text(cohort_syncs, 1, "exiting") == "amplitudeID,userID\n"
    assert text(cohort_syncs, 1, "entering") == text(cohort_syncs, 1, "existing") == BOTH
    assert (done.turn.state, done.turn.files_delivered) == ("delivered", 3)
    assert done.turn.counts == {"existing": 3, "entering": 3, "exiting": 0, "skipped": 1}
    assert done.turn.folder.startswith(f"_syncs/files/{done.turn.computed_time}-")


def test_an_empty_cohort_has_three_files_as_well(cohort_syncs):
    cohort_syncs.turn(FILES, hour(1), "a", [])
    assert [text(cohort_syncs, 1, kind) for kind in ("exiting", "entering", "existing")] == [
        "amplitudeID,userID\n"
    ] * 3


def test_a_second_sync_tells_what_changed(cohort_syncs):
    cohort_syncs.turn(FILES, hour(1), "a", PEOPLE)
    done = cohort_syncs.turn(FILES, hour(2), "b", [(2, "bob"), (3, None), (4, "dan")])
    assert text(cohort_syncs, 2, "exiting").splitlines()[1:] == ['"1","ann"']
    assert text(cohort_syncs, 2, "entering").splitlines()[1:] == ['"4","dan"']
    assert done.turn.baseline == 1


def test_a_killed_delivery_goes_on_with_the_same_bytes(cohort_syncs):
    there = cohort_syncs
    there.members = PEOPLE
    fixed = there.fix(FILES, hour(1), "a")
    stop_after(there, 2)
    with pytest.raises(Ended):
        there.deliver(FILES, fixed.turn.number, "a")
    before = dict(there.bucket.objects)
    assert set(before) == {name(1, "exiting"), name(1, "entering")}
    # Whoever is in the cohort by now, the turn is what was fixed.
    there.members = [(9, "zoe")]
    again = there.fix(FILES, hour(1), "a")
    as_before = {"state": "fixed", "sent": False, "sending_at": None, "files_delivered": 0, "gate": None}
    assert replace(again.turn, **as_before) == fixed.turn
    done = there.deliver(FILES, again.turn.number, "a")
    assert done.outcome == "delivered"
    assert text(there, 1, "existing") == BOTH
    assert {key: there.bucket.objects[key] for key in before} == before
    # A task that was ended after its work was done finds it done.
    assert there.deliver(FILES, again.turn.number, "a").turn.state == "delivered"
    assert len(there.bucket.puts) == 2 + 3


def test_what_a_given_up_turn_may_have_told_is_made_good(cohort_syncs):
    there = cohort_syncs
    there.turn(FILES, hour(1), "a", PEOPLE)
    there.members = [(2, "bob"), (4, "dan")]
    fixed = there.fix(FILES, hour(2), "b")
    stop_after(there, 2)
    with pytest.raises(Ended):
        there.deliver(FILES, fixed.turn.number, "b")
    # The next finds everybody back, and nobody new: yet (1) and (3) were told to leave, (4) to enter.
    done = there.turn(FILES, hour(3), "c", PEOPLE)
    assert text(there, 3, "entering").splitlines()[1:] == ['"1","ann"', '"3",""']
    assert text(there, 3, "exiting").splitlines()[1:] == ['"4","dan"']
    assert done.turn.baseline == 1
    late = there.deliver(FILES, fixed.turn.number, "b")
    assert late.skipped
    assert "superseded" in late.reason
    assert "(run c)" in late.reason
    assert there.turn(FILES, hour(4), "d", PEOPLE).turn.counts["entering"] == 0


def test_many_turns_that_were_given_up_cost_what_one_does(cohort_syncs, monkeypatch):
    there = cohort_syncs
    there.turn(FILES, hour(0), "first", PEOPLE)
    for number, members in enumerate(([(1, "ann")], [(1, "ann"), (4, "dan")], [(2, "bob")]), 1):
        stop_after(there, 1)
        with pytest.raises(Ended):
            there.turn(FILES, hour(number), f"run {number}", members)
    fetched = []
    download = fixing.download

    def watched(lake, turn, *more):
        fetched.append(turn.number)
        return download(lake, turn, *more)

    monkeypatch.setattr(fixing, "download", watched)
    there.turn(FILES, hour(4), "last", [(1, "ann"), (5, "eve")])
    assert set(fetched) == {1, 4}
    assert text(there, 4, "entering") == 'amplitudeID,userID\n"1","ann"\n"5","eve"\n'
    assert text(there, 4, "exiting") == 'amplitudeID,userID\n"2","bob"\n"3",""\n"4","dan"\n'


def test_a_turn_of_which_nothing_left_needs_no_making_good(cohort_syncs):
    there = cohort_syncs
    there.turn(FILES, hour(1), "a", PEOPLE)
    there.members = [(4, "dan")]
    there.fix(FILES, hour(2), "b")
    there.end_claims()
    done = there.turn(FILES, hour(3), "c", PEOPLE)
    assert (done.turn.counts["entering"], done.turn.counts["exiting"]) == (0, 0)


def test_a_run_that_slept_marks_nothing_delivered(cohort_syncs):
    """Another run fixes and delivers in the middle of its files; its late files are older than the others."""
    there = cohort_syncs
    there.turn(FILES, hour(1), "a", PEOPLE)
    there.members = [(4, "dan")]
    fixed = there.fix(FILES, hour(2), "b")

    def sleep():
        there.bucket.on_put = lambda: None
        there.end_claims()
        assert there.turn(FILES, hour(3), "c", [(5, "eva")]).outcome == "delivered"

    there.bucket.on_put = sleep
    late = there.deliver(FILES, fixed.turn.number, "b")
    assert late.skipped
    assert "The run c has taken over" in late.reason
    assert late.turn.state == "superseded"
    assert late.turn.sent
    assert text(there, 3, "exiting").splitlines()[1:] == ['"1","ann"', '"2","bob"', '"3",""', '"4","dan"']


def test_another_runs_live_claim_skips_this_sync_alone(cohort_syncs):
    there = cohort_syncs
    there.members = PEOPLE
    there.fix(FILES, hour(1), "scheduled at one")
    met = there.fix(FILES, hour(2), "scheduled at two")
    assert met.skipped
    assert "scheduled at one" in met.reason
    (state,) = syncs.chains(there.ledger)
    assert (state.note.kind, state.note.run) == ("skipped", "scheduled at two")
    assert not there.fix(STREAM, hour(2), "scheduled at two").skipped


def test_a_failed_fix_lets_the_next_run_in_at_once(cohort_syncs, monkeypatch):
    there = cohort_syncs
    monkeypatch.setattr(there, "take_snapshot", None)
    monkeypatch.setattr("sluice.cohorts.snapshot.take_snapshot", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        there.fix(FILES, hour(1), "a")
    (state,) = syncs.chains(there.ledger)
    assert (state.run, state.note.kind, state.note.reason) == (None, "failed", "division by zero")
    assert syncs.turns(there.ledger) == []


def test_two_runs_that_fix_at_one_moment(cohort_syncs, monkeypatch):
    """The first is so slow that its claim ends before it is done: it fixes nothing, and says who did."""
    there = cohort_syncs
    there.members = PEOPLE
    upload = fixing.upload

    def slow(*args):
        monkeypatch.setattr(fixing, "upload", upload)
        there.end_claims()
        assert there.turn(FILES, hour(2), "b").outcome == "delivered"
        return upload(*args)

    monkeypatch.setattr(fixing, "upload", slow)
    lost = there.fix(FILES, hour(1), "a")
    assert lost.skipped
    assert "The run b has taken over" in lost.reason
    assert [turn.run for turn in syncs.turns(there.ledger)] == ["b"]


def test_computed_time_rises_with_every_turn(cohort_syncs):
    there = cohort_syncs
    turns = [there.turn(FILES, hour(number), f"run {number}", PEOPLE).turn for number in range(4)]
    times = [turn.computed_time for turn in turns]
    assert times == sorted(set(times))


# --- A person's answer ---


def test_a_turn_beyond_its_limits_waits_for_a_person(cohort_syncs):
    there = cohort_syncs
    sync = s3_sync(max_exit_share=0.5, approval_hours=3)
    there.turn(sync, hour(1), "a", PEOPLE)
    there.members = [(2, "bob")]
    fixed = there.fix(sync, hour(2), "b")
    assert fixed.held
    assert fixed.reason == "2 of 3 members leave, 66.7%; max_exit_share allows 50.0%."
    assert fixed.turn.held_until - fixed.turn.fixed_at == pytest.approx(
        timedelta(hours=3), abs=timedelta(seconds=30)
    )
    given_up = f"waits for a person.*given up at {fixed.turn.held_until:%Y-%m-%d %H:%M} UTC"
    with pytest.raises(SluiceError, match=given_up):
        there.deliver(sync, fixed.turn.number, "b")
    other = there.fix(sync, hour(3), "c")
    assert other.skipped
    assert "approval" in other.reason
    assert there.fix(sync, hour(2), "b").held
    assert len(there.bucket.puts) == 3
    approve(sync, there.ledger, number=fixed.turn.number, by="ann")
    assert there.deliver(sync, fixed.turn.number, "b").outcome == "delivered"
    assert text(there, 2, "exiting").splitlines()[1:] == ['"1","ann"', '"3",""']


def test_a_declined_turn_leaves_the_baseline_as_it_was(cohort_syncs):
    there = cohort_syncs
    sync = s3_sync(max_entering=3)
    there.turn(sync, hour(1), "a", PEOPLE)
    there.members = [(number, f"n{number}") for number in range(10, 20)]
    fixed = there.fix(sync, hour(2), "b")
    assert fixed.held
    assert "10 members enter; max_entering allows 3" in fixed.reason
    decline(sync, there.ledger, number=fixed.turn.number, reason="Nobody answered within 12 hours.")
    late = there.deliver(sync, fixed.turn.number, "b")
    assert late.skipped
    assert "Nobody answered" in late.reason
    done = there.turn(sync, hour(3), "c", PEOPLE)
    assert (done.turn.counts["entering"], done.turn.counts["exiting"]) == (0, 0)
    assert done.turn.baseline == 1


def test_a_declined_turn_may_be_made_anew_for_its_time(cohort_syncs):
    """A person declines, raises the limit, and clears the run: nothing of that time has left yet."""
    there = cohort_syncs
    there.members = PEOPLE
    held = there.fix(s3_sync(max_entering=1), hour(1), "a")
    decline(s3_sync(), there.ledger, number=held.turn.number, reason="Too many.")
    assert there.turn(s3_sync(), hour(1), "a").outcome == "delivered"
    assert text(there, 1, "existing") == BOTH


def test_within_the_limits_nobody_is_asked(cohort_syncs):
    there = cohort_syncs
    sync = s3_sync(max_exit_share=0.5, max_entering=3)
    there.turn(sync, hour(1), "a", PEOPLE)
    assert there.turn(sync, hour(2), "b", PEOPLE[:2]).outcome == "delivered"


def test_the_share_counts_those_that_the_destination_may_have():
    class Counts:
        entering, exiting, existing = 50, 0, 100

    assert exit_share(Counts) == 0
    Counts.exiting, Counts.entering, Counts.existing = 10, 0, 0
    assert exit_share(Counts) == 1
    Counts.exiting = 0
    assert exit_share(Counts) == 0


# --- Past and repeated runs (decisions K-18) ---


def test_a_delivered_turns_time_run_again_sends_the_same_bytes(cohort_syncs):
    there = cohort_syncs
    there.turn(FILES, hour(1), "a", PEOPLE)
    there.turn(FILES, hour(2), "b", [(4, "dan")])
    sent = dict(there.bucket.objects)
    there.bucket.objects.clear()
    again = there.turn(FILES, hour(1), "backfill", [(9, "zoe")])
    assert (again.turn.kind, again.turn.source, again.turn.state) == ("resend", 1, "delivered")
    assert there.bucket.objects == {key: data for key, data in sent.items() if "T01-00" in key}
    after = there.turn(FILES, hour(3), "c", [(4, "dan")]).turn
    assert (after.baseline, after.counts["entering"], after.counts["exiting"]) == (2, 0, 0)


def test_the_same_run_cleared_after_its_delivery_sends_the_same_bytes(cohort_syncs):
    there = cohort_syncs
    there.turn(STREAM, hour(1), "a", PEOPLE)
    again = there.turn(STREAM, hour(1), "a", [(9, "zoe")])
    assert again.turn.kind == "resend"
    first, second = messages(there)
    assert first == second


def test_a_past_time_without_a_delivery_gets_only_the_full_list(cohort_syncs):
    there = cohort_syncs
    there.turn(FILES, hour(5), "a", PEOPLE)
    past = there.turn(FILES, hour(3), "backfill", PEOPLE[:1])
    assert past.turn.kind == "existing"
    assert [key for key in there.bucket.objects if "T03-00" in key] == [name(3, "existing")]
    assert text(there, 3, "existing").splitlines()[1:] == ['"1","ann"']
    after = there.turn(FILES, hour(6), "b", PEOPLE).turn
    assert (after.baseline, after.counts["entering"], after.counts["exiting"]) == (1, 0, 0)


def test_a_stream_takes_no_past(cohort_syncs):
    there = cohort_syncs
    there.turn(STREAM, hour(5), "a", PEOPLE)
    with pytest.raises(SyncRefused, match="takes no changes of the past"):
        there.fix(STREAM, hour(3), "backfill")
    assert len(there.stream.records) == 1


def test_bytes_that_were_cleaned_up_cannot_be_sent_again(cohort_syncs):
    there = cohort_syncs
    turn = there.turn(FILES, hour(1), "a", PEOPLE).turn
    syncs.record_gone(there.ledger, turn, bytes_gone=True)
    with pytest.raises(SyncRefused, match="row_log_days"):
        there.fix(FILES, hour(1), "b")


def test_two_runs_in_one_minute_do_not_share_their_names(cohort_syncs):
    there = cohort_syncs
    there.turn(FILES, hour(1), "a", PEOPLE)
    there.members = PEOPLE[:1]
    with pytest.raises(syncs.NameTaken, match="timestamp_format"):
        there.fix(FILES, hour(1) + timedelta(seconds=30), "b")
    assert text(there, 1, "existing") == BOTH


def test_another_run_of_the_same_time_finishes_what_the_first_gave_up(cohort_syncs):
    there = cohort_syncs
    there.members = PEOPLE
    first = there.fix(FILES, hour(1), "a")
    there.end_claims()
    there.members = []
    done = there.turn(FILES, hour(1), "b")
    assert (done.turn.number, done.turn.run) == (first.turn.number, "b")
    assert text(there, 1, "existing") == BOTH
    late = there.deliver(FILES, first.turn.number, "a")
    assert late.skipped
    assert "run b has taken over" in late.reason


# --- Configuration that changes in between ---


def test_fixed_bytes_are_sent_as_fixed_whatever_else_changes(cohort_syncs):
    there = cohort_syncs
    there.members = PEOPLE
    fixed = there.fix(FILES, hour(1), "a")
    changed = s3_sync(routing_key="crm", destination={"header_style": "api"})
    assert there.deliver(changed, fixed.turn.number, "a").outcome == "delivered"
    assert text(there, 1, "existing") == BOTH


def test_fixed_bytes_go_to_no_other_place(cohort_syncs):
    there = cohort_syncs
    there.members = PEOPLE
    fixed = there.fix(FILES, hour(1), "a")
    moved = s3_sync(destination={"bucket": "elsewhere"})
    result = there.deliver(moved, fixed.turn.number, "a")
    assert result.skipped
    assert "s3://audiences/cohorts/" in result.reason
    assert there.bucket.objects == {}
    done = there.turn(moved, hour(1), "a")
    assert done.outcome == "delivered"
    assert done.turn.number == 2


def test_a_destination_made_again_under_its_name_keeps_the_baseline(cohort_syncs):
    there = cohort_syncs
    there.turn(FILES, hour(1), "a", PEOPLE)
    again = s3_sync(destination={"id": "new_id", "bucket": "elsewhere"})
    assert there.turn(again, hour(2), "b", PEOPLE).turn.counts["entering"] == 0
    renamed = s3_sync(destination={"name": "Another"})
    first = there.turn(renamed, hour(3), "c", PEOPLE).turn
    assert (first.baseline, first.counts["entering"]) == (None, 3)
    assert first.computed_time > syncs.turn_of(there.ledger, chain_of(again), 2).computed_time


def test_properties_that_come_and_go_keep_the_members(cohort_syncs):
    there = cohort_syncs
    cohort = {"properties": ["plan", "city"]}
    with_plan = s3_sync(cohort=cohort, user_properties=["plan"])
    there.properties = {"plan": ["gold", "tin", None], "city": ["Bern", None, "Genf"]}
    there.turn(with_plan, hour(1), "a", PEOPLE)
    with_city = s3_sync(cohort=cohort, user_properties=["city"])
    there.properties = {"plan": ["gold"], "city": ["Bern"]}
    there.turn(with_city, hour(2), "b", PEOPLE[:1])
    assert text(there, 2, "exiting").splitlines() == [
        "amplitudeID,userID,city",
        '"2","bob",""',
        '"3","",""',
    ]
    assert text(there, 2, "entering").splitlines()[1:] == []


# --- Kinesis ---


def test_a_stream_gets_whom_it_can_match(cohort_syncs):
    there = cohort_syncs
    done = there.turn(STREAM, hour(1), "a", [*PEOPLE, (4, "bob")])
    (message,) = messages(there)
    assert [user["user_id"] for user in message["users"]] == ["ann", "bob"]
    assert message["computed_time"] == str(done.turn.computed_time)
    assert done.turn.counts["skipped"] == 1
    # One of two members with one value leaves: the value stays.
    there.turn(STREAM, hour(2), "b", [*PEOPLE])
    assert len(there.stream.records) == 1


@pytest.mark.usefixtures("waiting_time")
def test_half_a_stream_of_messages_is_finished_by_the_next_run(cohort_syncs, monkeypatch):
    there = cohort_syncs
    there.members = [(number, f"n{number}") for number in range(10)]
    fixed = there.fix(STREAM, hour(1), "a")
    budget = iter([3, 0])
    there.stream.on_put = lambda records: next(budget, 0) if records > 0 else 0
    with pytest.raises(PartlyDelivered):
        there.deliver(STREAM, fixed.turn.number, "a", budget_seconds=1.0)
    partial = syncs.turn_of(there.ledger, chain_of(STREAM), 1)
    assert (partial.state, partial.messages_delivered) == ("sending", 3)
    (state,) = syncs.chains(there.ledger)
    assert state.note.kind == "failed"
    assert "3 of 5" in state.note.reason
    there.stream.on_put = lambda records: records
    done = there.turn(STREAM, hour(2), "b", there.members[:9])
    assert (done.turn.number, done.turn.state, done.turn.run) == (1, "delivered", "b")
    ids = [message["message_id"] for message in messages(there)]
    assert len(ids) == len(set(ids)) == 5
    # What changed meanwhile is for the turn after it.
    there.turn(STREAM, hour(3), "c", there.members[:9])
    last = messages(there)[-1]
    assert (last["in_cohort"], [user["user_id"] for user in last["users"]]) == (False, ["n9"])


@pytest.mark.usefixtures("waiting_time")
def test_half_a_stream_that_never_gets_through_is_not_taken_up(cohort_syncs):
    there, sync = cohort_syncs, kinesis_sync(destination={"shards": None})
    there.members = [(number, f"n{number}") for number in range(10)]
    fixed = there.fix(sync, hour(1), "a")
    budget = iter([3, 0])
    there.stream.on_put = lambda records: next(budget, 0) if records > 0 else 0
    with pytest.raises(PartlyDelivered):
        there.deliver(sync, fixed.turn.number, "a", budget_seconds=1.0)
    there.stream.on_put = lambda records: records
    there.stream.facts = lambda client: StreamFacts(1, 50)
    with pytest.raises(MessageTooLarge, match="The next run writes new messages"):
        there.turn(sync, hour(2), "b")
    assert syncs.turn_of(there.ledger, chain_of(sync), 1).state == "superseded"
    there.stream.facts = lambda client: StreamFacts(1, None)
    done = there.turn(sync, hour(3), "c", there.members[1:])
    assert (done.turn.number, done.turn.state) == (2, "delivered")
    now = str(done.turn.computed_time)
    last = [message for message in messages(there) if message["computed_time"] == now]
    told = {user["user_id"]: message["in_cohort"] for message in last for user in message["users"]}
    assert told == {"n0": False} | {f"n{number}": True for number in range(1, 10)}


def test_a_real_time_sync_of_too_many_is_refused(cohort_syncs, monkeypatch):
    there = cohort_syncs
    monkeypatch.setattr(fixing, "MAX_REAL_TIME_MEMBERS", 2)
    there.members = PEOPLE
    with pytest.raises(SyncRefused, match="cadence: hourly"):
        there.fix(kinesis_sync(cadence="real_time"), hour(1), "a")
    assert not there.fix(STREAM, hour(1), "a").skipped


# --- The row log ---


def test_the_row_log_tells_who_was_added_removed_and_skipped(cohort_syncs):
    there = cohort_syncs
    there.turn(STREAM, hour(1), "a", PEOPLE)
    turn = there.turn(STREAM, hour(2), "b", [(2, "bob"), (4, None), (5, "eva")]).turn
    rows = staged_rows(there.lake, f"{turn.folder}/row_log.parquet")
    assert [tuple(row.values()) for row in rows] == [
        (4, "skipped", None, UNRESOLVED),
        (5, "added", "eva", None),
        (1, "removed", "ann", None),
        (3, "skipped", None, UNRESOLVED),
    ]


def test_a_file_skips_nobody(cohort_syncs):
    there = cohort_syncs
    turn = there.turn(FILES, hour(1), "a", PEOPLE).turn
    rows = staged_rows(there.lake, f"{turn.folder}/row_log.parquet")
    assert [row["operation"] for row in rows] == ["added"] * 3

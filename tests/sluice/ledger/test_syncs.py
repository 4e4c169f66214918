from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from sqlalchemy import update

from sluice.errors import SluiceError
from sluice.ledger import syncs
from sluice.ledger.syncs import Chain, NameTaken, SyncBusy, Turn, TurnFile, TurnLost
from sluice.ledger.tables import sync_chains, sync_turns

CHAIN = Chain("crm_sync", "CRM bucket", "delayed")
NINE = datetime(2013, 1, 2, 9, tzinfo=UTC)
TEN = datetime(2013, 1, 2, 10, tzinfo=UTC)


def turn(ledger, claim, as_of=NINE, **values):
    number = syncs.standing(ledger, claim).number + 1
    computed_time = syncs.next_computed_time(ledger, CHAIN.sync)
    facts = {
        "chain": CHAIN,
        "number": number,
        "kind": "regular",
        "state": "fixed",
        "run": claim.run,
        "cadence": "hourly",
        "as_of": as_of,
        "computed_time": computed_time,
        "folder": f"_syncs/{CHAIN.sync}/{computed_time}-{claim.token}",
        "target": "s3://bucket/",
        "config_hash": "0" * 64,
        "counts": {"existing": 3, "entering": 1, "exiting": 0, "skipped": 0},
        "files": (TurnFile("existing.csv", 3, 30, "ab", sent=True, key="existing.csv"),),
    }
    return Turn(**facts | values)


def fixed(ledger, run, as_of=NINE, **values):
    claim = syncs.claim(ledger, CHAIN, run, 60)
    return claim, syncs.fix(ledger, claim, turn(ledger, claim, as_of, **values), 60, None)


def sending(ledger, run, as_of=NINE):
    claim, one = fixed(ledger, run, as_of)
    return claim, syncs.begin_sending(ledger, claim, one, 60)


def delivered(ledger, run, as_of=NINE):
    claim, one = sending(ledger, run, as_of)
    return syncs.finish(ledger, claim, one)


def end_claim(ledger):
    """Let the time of the chain's claim be over, as it is when its run died."""
    with ledger.begin() as connection:
        connection.execute(update(sync_chains).values(claimed_until=NINE))


def test_a_turn_comes_back_as_it_was_fixed(ledger):
    claim = syncs.claim(ledger, CHAIN, "a", 60)
    one = turn(ledger, claim)
    kept = syncs.fix(ledger, claim, one, 60, {"sync": {"id": "crm_sync"}})
    assert replace(kept, fixed_at=None) == one
    assert syncs.turn_of(ledger, CHAIN, 1) == kept
    assert syncs.recorded_configs(ledger) == {"crm_sync": ({"sync": {"id": "crm_sync"}}, "0" * 64)}
    with pytest.raises(SluiceError, match="no turn 2"):
        syncs.turn_of(ledger, CHAIN, 2)


def test_a_live_claim_of_another_run_is_met_with_its_name(ledger):
    syncs.claim(ledger, CHAIN, "hourly at nine", 60)
    with pytest.raises(SyncBusy, match="hourly at nine"):
        syncs.claim(ledger, CHAIN, "hourly at ten", 60)


def test_another_sync_of_the_cohort_is_not_met(ledger):
    syncs.claim(ledger, CHAIN, "a", 60)
    syncs.claim(ledger, replace(CHAIN, sync="other"), "b", 60)
    syncs.claim(ledger, replace(CHAIN, destination="New name"), "b", 60)


def test_the_same_run_claims_again_and_ends_its_earlier_claim(ledger):
    first = syncs.claim(ledger, CHAIN, "a", 60)
    second = syncs.claim(ledger, CHAIN, "a", 60)
    syncs.renew(ledger, second, 60)
    with pytest.raises(TurnLost):
        syncs.renew(ledger, first, 60)


def test_a_dead_runs_claim_ends(ledger):
    first = syncs.claim(ledger, CHAIN, "a", 60)
    end_claim(ledger)
    syncs.claim(ledger, CHAIN, "b", 60)
    with pytest.raises(TurnLost, match="The run b has taken over"):
        syncs.standing(ledger, first)


def test_a_claim_that_nobody_took_is_good_after_its_time(ledger):
    claim, one = sending(ledger, "a")
    end_claim(ledger)
    assert syncs.finish(ledger, claim, one).state == "delivered"


def test_a_failed_run_gives_its_claim_back_and_says_why(ledger):
    claim = syncs.claim(ledger, CHAIN, "a", 60)
    syncs.note_failed(ledger, claim, "The query has no column.")
    (state,) = syncs.chains(ledger)
    assert (state.run, state.note.kind, state.note.run) == (None, "failed", "a")
    assert state.note.reason == "The query has no column."
    syncs.claim(ledger, CHAIN, "b", 60)


def test_a_run_that_lost_its_claim_gives_nothing_back(ledger):
    first = syncs.claim(ledger, CHAIN, "a", 60)
    end_claim(ledger)
    syncs.claim(ledger, CHAIN, "b", 60)
    syncs.note_failed(ledger, first, "late")
    syncs.release(ledger, first)
    with pytest.raises(SyncBusy, match="The run b"):
        syncs.claim(ledger, CHAIN, "c", 60)


def test_of_two_runs_that_claim_at_one_moment_one_wins(ledger):
    together = Barrier(2)

    def claim(run):
        together.wait()
        try:
            return syncs.claim(ledger, CHAIN, run, 60)
        except SyncBusy as busy:
            return str(busy)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(claim, ["a", "b"]))
    lost = [result for result in results if isinstance(result, str)]
    (won,) = [result for result in results if not isinstance(result, str)]
    assert len(lost) == 1
    assert f"The run {won.run}" in lost[0]


def test_computed_times_rise_strictly_whatever_the_clock_says(ledger):
    taken = [syncs.next_computed_time(ledger, "crm_sync") for _ in range(5)]
    assert taken == sorted(set(taken))
    assert abs(taken[0] - datetime.now(UTC).timestamp()) < 60


def test_a_run_that_lost_its_claim_fixes_nothing(ledger):
    first = syncs.claim(ledger, CHAIN, "a", 60)
    late = turn(ledger, first)
    end_claim(ledger)
    fixed(ledger, "b")
    with pytest.raises(TurnLost):
        syncs.fix(ledger, first, late, 60, None)
    assert [one.run for one in syncs.turns(ledger, chain=CHAIN)] == ["b"]


def test_fixing_supersedes_what_was_not_delivered_at_once(ledger):
    claim, first = sending(ledger, "a")
    end_claim(ledger)
    fixed(ledger, "b", TEN)
    assert [one.state for one in syncs.turns(ledger, chain=CHAIN)] == ["fixed", "superseded"]
    with pytest.raises(TurnLost):
        syncs.finish(ledger, claim, first)
    assert "(run b)" in syncs.turn_of(ledger, CHAIN, 1).reason


def test_a_superseded_turn_is_not_marked_delivered_even_under_a_claim(ledger):
    """The same run may hold the newest token and still come too late for an old turn."""
    _, first = sending(ledger, "a")
    end_claim(ledger)
    fixed(ledger, "b", TEN)
    end_claim(ledger)
    claim = syncs.claim(ledger, CHAIN, "a", 60)
    with pytest.raises(TurnLost):
        syncs.finish(ledger, claim, first)
    with pytest.raises(TurnLost):
        syncs.begin_sending(ledger, claim, first, 60)
    with pytest.raises(TurnLost):
        syncs.adopt(ledger, claim, first)


def test_the_maybes_are_all_that_were_sending_since_the_baseline(ledger):
    sending(ledger, "given up before the baseline")
    end_claim(ledger)
    delivered(ledger, "baseline", TEN)
    for hour, run in enumerate(["sent", "never sent", "sent again"], 11):
        claim, one = fixed(ledger, run, NINE.replace(hour=hour))
        if run != "never sent":
            syncs.begin_sending(ledger, claim, one, 60)
        end_claim(ledger)
    found = syncs.standing(ledger, syncs.claim(ledger, CHAIN, "next", 60))
    assert found.baseline.run == "baseline"
    assert [one.run for one in found.undelivered] == ["sent", "sent again"]
    assert found.last.run == "sent again"
    assert found.number == 5


def test_a_turn_of_which_nothing_left_is_not_the_last(ledger):
    fixed(ledger, "a", TEN, state="held", held_until=TEN)
    found = syncs.standing(ledger, syncs.claim(ledger, CHAIN, "b", 60))
    assert syncs.turn_of(ledger, CHAIN, 1).state == "declined"
    assert (found.last, found.number) == (None, 1)


def test_a_held_turn_keeps_others_off_until_somebody_answers(ledger):
    soon = ledger.now() + timedelta(hours=1)
    _, held = fixed(ledger, "a", state="held", held_until=soon, reason="9 of 10 leave.")
    with pytest.raises(SyncBusy, match="waits for a person's approval"):
        syncs.claim(ledger, CHAIN, "b", 60)
    assert syncs.approve(ledger, held, "ann", 60).state == "fixed"
    with pytest.raises(SyncBusy, match="The run a is still working"):
        syncs.claim(ledger, CHAIN, "b", 60)
    again = syncs.approve(ledger, held, "ann", 60)
    assert (again.state, again.decided_by) == ("fixed", "ann")
    claim = syncs.claim(ledger, CHAIN, "a", 60)
    assert syncs.begin_sending(ledger, claim, again, 60).sent


def test_a_declined_turn_cannot_be_approved_any_more(ledger):
    soon = ledger.now() + timedelta(hours=1)
    _, held = fixed(ledger, "a", state="held", held_until=soon)
    gone = syncs.decline(ledger, held, "Not today.", "ann")
    assert (gone.state, gone.reason, gone.sent) == ("declined", "Not today.", False)
    assert syncs.decline(ledger, held, "Again.", None).reason == "Not today."
    with pytest.raises(SyncBusy, match="was declined: Not today"):
        syncs.approve(ledger, held, "bob", 60)
    syncs.claim(ledger, CHAIN, "b", 60)


def test_a_stopped_turn_keeps_others_off_until_it_is_passed(ledger):
    soon = ledger.now() + timedelta(hours=1)
    claim, one = fixed(ledger, "a")
    stopped = syncs.stop(ledger, claim, one, "gate 1", soon)
    assert (stopped.state, stopped.gate, stopped.gate_until) == ("stopped", "gate 1", soon)
    with pytest.raises(SyncBusy, match="says why, and how to release or discard it"):
        syncs.claim(ledger, CHAIN, "b", 60)
    with pytest.raises(SyncBusy, match="approval does not release it"):
        syncs.approve(ledger, stopped, "ann", 60)
    claim = syncs.claim(ledger, CHAIN, "a", 60)
    with pytest.raises(TurnLost):
        syncs.begin_sending(ledger, claim, stopped, 60)
    passed = syncs.pass_gate(ledger, claim, stopped, "gate 1", 60)
    assert (passed.state, passed.gate, passed.gate_until) == ("fixed", "gate 1", None)
    with pytest.raises(SyncBusy, match="still working"):
        syncs.claim(ledger, CHAIN, "b", 60)
    assert syncs.begin_sending(ledger, claim, passed, 60).sent


def test_a_stopped_turn_goes_on_waiting_for_its_approval(ledger):
    until = ledger.now() + timedelta(hours=3)
    claim, held = fixed(ledger, "a", state="held", held_until=until)
    syncs.stop(ledger, claim, held, "gate 1", until)
    claim = syncs.claim(ledger, CHAIN, "a", 60)
    passed = syncs.pass_gate(ledger, claim, held, "gate 1", 60)
    assert passed.state == "held"
    assert passed.held_until >= until
    with pytest.raises(SyncBusy, match="approval"):
        syncs.claim(ledger, CHAIN, "b", 60)
    assert syncs.approve(ledger, passed, "ann", 60).state == "fixed"


def test_a_turn_that_was_stopped_long_enough_is_given_up(ledger):
    claim, one = fixed(ledger, "a")
    syncs.stop(ledger, claim, one, "gate 1", NINE)
    found = syncs.standing(ledger, syncs.claim(ledger, CHAIN, "b", 60))
    assert syncs.turn_of(ledger, CHAIN, 1).state == "declined"
    assert found.last is None


def test_no_gate_stops_what_has_begun_to_leave_or_is_anothers(ledger):
    claim, one = sending(ledger, "a")
    with pytest.raises(TurnLost):
        syncs.stop(ledger, claim, one, "gate 1", TEN)
    end_claim(ledger)
    _, other = fixed(ledger, "b", TEN)
    with pytest.raises(TurnLost):
        syncs.pass_gate(ledger, claim, other, "gate 1", 60)
    end_claim(ledger)
    with pytest.raises(TurnLost):
        syncs.stop(ledger, syncs.claim(ledger, CHAIN, "a", 60), other, "gate 1", TEN)


def test_a_run_that_fixes_anew_supersedes_what_its_gate_stopped(ledger):
    claim, one = fixed(ledger, "a", kind="existing")
    syncs.stop(ledger, claim, one, "gate 1", ledger.now() + timedelta(hours=1))
    # A full list of the past is no step of the chain: others go on.
    fixed(ledger, "b", TEN)
    assert syncs.turn_of(ledger, CHAIN, 1).state == "stopped"
    end_claim(ledger)
    fixed(ledger, "a", kind="existing")
    assert [syncs.turn_of(ledger, CHAIN, number).state for number in (1, 2, 3)] == [
        "superseded", "fixed", "fixed",
    ]  # fmt: skip


def test_names_that_were_sent_for_another_moment_are_refused(ledger):
    claim, one = fixed(ledger, "a", commit_key="x_2013-01-02T09-00_existing.csv")
    syncs.finish(ledger, claim, syncs.begin_sending(ledger, claim, one, 60))
    with pytest.raises(NameTaken, match="09:00:00"):
        fixed(ledger, "b", NINE.replace(second=30), commit_key="x_2013-01-02T09-00_existing.csv")
    end_claim(ledger)
    fixed(ledger, "c", TEN, commit_key="x_2013-01-02T10-00_existing.csv")


def test_names_of_a_turn_of_which_nothing_left_are_free(ledger):
    fixed(ledger, "a", commit_key="x_2013-01-02T09-00_existing.csv")
    end_claim(ledger)
    fixed(ledger, "b", NINE.replace(second=30), commit_key="x_2013-01-02T09-00_existing.csv")


def test_progress_is_recorded_and_kept(ledger):
    claim, one = sending(ledger, "a")
    syncs.record_progress(ledger, claim, one, 60, files=2)
    assert syncs.turn_of(ledger, CHAIN, 1).files_delivered == 2
    end_claim(ledger)
    fixed(ledger, "b", TEN)
    with pytest.raises(TurnLost):
        syncs.record_progress(ledger, claim, one, 60, files=3)
    assert syncs.turn_of(ledger, CHAIN, 1).files_delivered == 2


def test_giving_up_keeps_what_left_among_the_maybes(ledger):
    claim, one = sending(ledger, "a")
    syncs.give_up(ledger, claim, one, "The destination moved.")
    found = syncs.standing(ledger, syncs.claim(ledger, CHAIN, "b", 60))
    assert [(turn.state, turn.reason) for turn in found.undelivered] == [
        ("superseded", "The destination moved.")
    ]


def test_a_delivered_turn_of_a_time_is_found(ledger):
    delivered(ledger, "a", NINE)
    sending(ledger, "b", TEN)
    assert syncs.delivered_as_of(ledger, CHAIN, NINE).run == "a"
    assert syncs.delivered_as_of(ledger, CHAIN, TEN) is None


def test_only_turns_that_ever_were_sending_count_as_sent(ledger):
    delivered(ledger, "a")
    with ledger.begin() as connection:
        assert connection.execute(sync_turns.select()).one().sent is True

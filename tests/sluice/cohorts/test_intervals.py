import random

import pytest
from cohort_turns import hour, kinesis_sync, s3_sync

from sluice.cohorts.intervals import members_at, synced_turn
from sluice.errors import SluiceError
from sluice.ledger import syncs

FILES = s3_sync()
STREAM = kinesis_sync()


def who(there, at, sync=None):
    turn = synced_turn(there.ledger, "vips", at, sync)
    rows = [row for batch in members_at(there.lake, there.ledger, turn) for row in batch.to_pylist()]
    assert len(rows) == turn.counts["existing"]
    return {(row["amplitude_id"], row["value"]) for row in rows}


def test_every_synced_time_has_its_members(cohort_syncs):
    """Who comes back, who changes the value, turns that are given up: each delivered time is as it was."""
    there = cohort_syncs
    rng = random.Random(6)
    people = [(number, value) for number in range(4) for value in ("x", None)]
    delivered = {}
    for number in range(1, 9):
        members = rng.sample(people, rng.randint(0, len(people)))
        if number % 3:
            there.turn(FILES, hour(number), f"run {number}", members)
            delivered[number] = set(members)
        else:
            there.members = members
            fixed = there.fix(FILES, hour(number), f"run {number}").turn
            claim = syncs.claim(there.ledger, fixed.chain, fixed.run, 60)
            syncs.begin_sending(there.ledger, claim, fixed, 60)
            there.end_claims()
    last = 0
    for number in range(1, 10):
        last = number if number in delivered else last
        assert who(there, hour(number)) == delivered[last]


def test_before_the_first_sync_there_is_nothing_to_tell(cohort_syncs):
    cohort_syncs.turn(FILES, hour(2), "a", [(1, "ann")])
    with pytest.raises(SluiceError, match="sluice cohort history vips"):
        synced_turn(cohort_syncs.ledger, "vips", hour(1))


def test_of_several_syncs_one_must_be_named(cohort_syncs):
    cohort_syncs.turn(FILES, hour(1), "a", [(1, "ann")])
    cohort_syncs.turn(STREAM, hour(1), "a", [(2, "bob"), (3, None)])
    with pytest.raises(SluiceError, match=r"--sync files \| stream"):
        synced_turn(cohort_syncs.ledger, "vips", hour(1))
    assert who(cohort_syncs, hour(1), "stream") == {(2, "bob"), (3, None)}


def test_a_past_or_repeated_run_is_no_step_of_the_history(cohort_syncs):
    there = cohort_syncs
    there.turn(FILES, hour(2), "a", [(1, "ann")])
    there.turn(FILES, hour(1), "past", [(9, "zoe")])
    there.turn(FILES, hour(2), "again", [(9, "zoe")])
    assert who(there, hour(3)) == {(1, "ann")}
    with pytest.raises(SluiceError, match="no delivered sync"):
        synced_turn(there.ledger, "vips", hour(1))

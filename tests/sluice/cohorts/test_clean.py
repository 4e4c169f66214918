from datetime import timedelta
from types import SimpleNamespace

import pytest
from cohort_turns import Syncs, hour, kinesis_sync, s3_sync
from pyarrow.fs import FileSelector
from sqlalchemy import update

from sluice.cohorts.chains import chain_of
from sluice.cohorts.clean import Cleaned, clean
from sluice.cohorts.fix import SyncRefused
from sluice.cohorts.staged_file import StagingError
from sluice.cohorts.staging import download
from sluice.ledger import syncs
from sluice.ledger.tables import sync_turns

FILES = s3_sync(row_log_days=3)
STREAM = kinesis_sync(row_log_days=3)
CONFIG = SimpleNamespace(syncs=(FILES, STREAM))
PEOPLE = [(1, "ann"), (2, "bob")]


def staged(there: Syncs, turn):
    found = there.lake.filesystem().get_file_info(FileSelector(turn.folder, allow_not_found=True))
    return {info.base_name for info in found}


def folders(there: Syncs, sync):
    return {info.base_name for info in there.lake.filesystem().get_file_info(FileSelector(f"_syncs/{sync}"))}


def grow_old(there: Syncs):
    """Let all turns have ended four days ago."""
    then = there.ledger.now() - timedelta(days=4)
    with there.ledger.begin() as connection:
        ended = sync_turns.c.finished_at.is_not(None)
        connection.execute(update(sync_turns).where(ended).values(finished_at=then))


def test_a_delivery_leaves_one_list_of_members_and_every_exit(cohort_syncs):
    there = cohort_syncs
    first = there.turn(FILES, hour(1), "a", PEOPLE).turn
    assert {"members.parquet", "entering.parquet", "exiting.parquet"} <= staged(there, first)
    second = there.turn(FILES, hour(2), "b", PEOPLE[:1]).turn
    third = there.turn(FILES, hour(3), "c", PEOPLE[:1]).turn
    lists = ("members.parquet", "entering.parquet", "exiting.parquet")
    found = [[name for name in lists if name in staged(there, turn)] for turn in (first, second, third)]
    assert found == [[], ["exiting.parquet"], list(lists)]


def test_bytes_and_row_logs_stay_their_days(cohort_syncs):
    there = cohort_syncs
    turn = there.turn(FILES, hour(1), "a", PEOPLE).turn
    assert clean(CONFIG, there.lake, there.ledger) == Cleaned()
    before = staged(there, turn)
    grow_old(there)
    assert clean(CONFIG, there.lake, there.ledger) == Cleaned(bytes_of=1)
    assert staged(there, turn) == {"members.parquet", "entering.parquet", "exiting.parquet"} < before
    assert clean(CONFIG, there.lake, there.ledger) == Cleaned()
    with pytest.raises(SyncRefused, match="row_log_days"):
        there.fix(FILES, hour(1), "b")
    # The baseline is what it was.
    assert there.turn(FILES, hour(2), "c", PEOPLE).turn.counts["entering"] == 0


def test_what_was_cleaned_up_is_not_looked_at_again(cohort_syncs, monkeypatch):
    there = cohort_syncs
    for number in range(1, 5):
        there.turn(FILES, hour(number), f"run {number}", PEOPLE)
    grow_old(there)
    assert clean(CONFIG, there.lake, there.ledger).bytes_of == 4
    looked_at = []
    read = syncs._turn
    monkeypatch.setattr(syncs, "_turn", lambda row: looked_at.append(row.number) or read(row))
    assert clean(CONFIG, there.lake, there.ledger) == Cleaned()
    # The baseline still has its list.
    assert looked_at == [4]


def test_what_a_maybe_needs_stays_however_old(cohort_syncs):
    there = cohort_syncs
    there.turn(STREAM, hour(1), "a", PEOPLE)
    there.members = [(3, "cai")]
    fixed = there.fix(STREAM, hour(2), "b").turn
    chain = chain_of(STREAM)
    claim = syncs.claim(there.ledger, chain, "b", 60)
    syncs.begin_sending(there.ledger, claim, fixed, 60)
    there.end_claims()
    there.members = PEOPLE
    unsent = there.fix(STREAM, hour(3), "c").turn
    grow_old(there)
    clean(CONFIG, there.lake, there.ledger)
    there.end_claims()
    last = there.turn(STREAM, hour(4), "d", PEOPLE).turn
    assert (last.counts["enter_values"], last.counts["exit_values"]) == (2, 1)
    # Delivered: now what was given up is needed no more.
    clean(CONFIG, there.lake, there.ledger)
    assert staged(there, fixed) == set()
    assert fixed.folder.rpartition("/")[2] not in folders(there, "stream")
    assert staged(there, unsent) == {"messages.jsonl", "row_log.parquet"}


def test_a_turn_that_is_still_open_keeps_everything(cohort_syncs):
    there = cohort_syncs
    there.members = PEOPLE
    turn = there.fix(FILES, hour(1), "a").turn
    before = staged(there, turn)
    grow_old(there)
    clean(CONFIG, there.lake, there.ledger)
    assert staged(there, turn) == before
    assert there.deliver(FILES, turn.number, "a").outcome == "delivered"


def test_bytes_that_are_being_sent_again_stay(cohort_syncs):
    there = cohort_syncs
    first = there.turn(FILES, hour(1), "a", PEOPLE).turn
    again = there.fix(FILES, hour(1), "b").turn
    grow_old(there)
    clean(CONFIG, there.lake, there.ledger)
    assert there.deliver(FILES, again.number, "b").outcome == "delivered"
    grow_old(there)
    assert clean(CONFIG, there.lake, there.ledger).bytes_of == 1
    assert "existing.csv" not in staged(there, first)


def test_what_a_killed_try_left_goes_after_two_days(cohort_syncs):
    there = cohort_syncs
    turn = there.turn(FILES, hour(1), "a", PEOPLE).turn
    moment = int(there.ledger.now().timestamp())
    files = there.lake.filesystem()
    for began in (moment - 3 * 86_400, moment):
        files.create_dir(f"_syncs/files/{began}-7")
        with files.open_output_stream(f"_syncs/files/{began}-7/members.parquet") as out:
            out.write(b"half")
    assert clean(CONFIG, there.lake, there.ledger).folders == 1
    assert staged(there, turn)
    assert folders(there, "files") == {turn.folder.rpartition("/")[2], f"{moment}-7"}


def test_a_baseline_that_somebody_changed_is_told_from_what_was_fixed(cohort_syncs, tmp_path):
    there = cohort_syncs
    turn = there.turn(FILES, hour(1), "a", PEOPLE).turn
    with there.lake.filesystem().open_output_stream(f"{turn.folder}/members.parquet") as out:
        out.write(b"other")
    with pytest.raises(StagingError, match="not what was fixed"):
        download(there.lake, turn, "members.parquet", tmp_path / "copy")
    there.lake.filesystem().delete_file(f"{turn.folder}/members.parquet")
    with pytest.raises(StagingError, match=r"is gone.*Restore it.*a new name"):
        there.fix(FILES, hour(2), "b")

"""Backfills of ranges on SeaweedFS with a real lake: what the plan says, and what is there afterwards."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from backfilling import backfill, done, hour, plan, states
from exporting import HOUR, PROJECT, Killed, Template
from fresh import fresh_ledger
from lake_staging import stage
from sqlalchemy import delete, update

from sluice.access.errors import BucketUnavailable
from sluice.exports.chunks import chunks_of
from sluice.exports.errors import WindowError
from sluice.exports.ranges import HourRange
from sluice.lake import LoadRequest, load
from sluice.lake.snapshot import Snapshot
from sluice.ledger import Ledger
from sluice.ledger.exported import HourHeld
from sluice.ledger.registry import record_destination
from sluice.ledger.tables import exported_hours, leases

RANGE = HourRange(HOUR, hour(HOUR, 4))


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    return Template.make(tmp_path_factory.mktemp("empty"))


@pytest.fixture
def make(empty, s3, bucket, tmp_path):
    with empty.maker(s3, bucket, tmp_path / "made") as make:
        yield make


def fill(made):
    for n, ids in ((0, ["a", "b"]), (1, [f"e{i}" for i in range(9)]), (4, ["z"])):
        made.add_events(ids, hour(HOUR, n))


@pytest.fixture(scope="module")
def three_hours(tmp_path_factory):
    return Template.make(tmp_path_factory.mktemp("filled"), fill, partition_bytes=5_000)


@pytest.fixture
def filled(three_hours, s3, bucket, tmp_path):
    """Events in the hours 0, 1 and 4 of the range; 2 and 3 have none."""
    with three_hours.copy(s3, bucket, tmp_path / "copy") as destination:
        yield destination


def ids_of(destination):
    """The insert ids in the bucket by the hour in their file's name."""
    found = {}
    for key in destination.data_keys():
        stem = key.rpartition("/")[2].partition("#")[0]
        found.setdefault(stem, []).extend(event["$insert_id"] for event in destination.events(key))
    return {stem: sorted(ids) for stem, ids in found.items()}


def test_everything_is_exported_once_and_left_alone_afterwards(filled):
    found = plan(filled, RANGE)
    assert states(found) == dict.fromkeys(range(5), "missing")
    assert found.totals()["events"] == 12
    assert done(backfill(filled, "first", RANGE)) == {"published": 5}
    for n in range(5):
        filled.assert_consistent(hour(HOUR, n))
    before = filled.listing()
    bucket = filled.scripted()
    methods = []

    def count(request, **_):
        methods.append(request.method)

    filled.client.meta.events.register("before-send.s3.*", count)
    try:
        assert backfill(filled, "second", RANGE, bucket=bucket) == []
    finally:
        filled.client.meta.events.unregister("before-send.s3.*", count)
    assert set(methods) == {"GET"}, "no marker's metadata is asked for"
    assert filled.listing() == before


def test_the_bytes_are_those_of_the_hourly_export(filled):
    for n in range(5):
        filled.run(f"hourly-{n}", hour=hour(HOUR, n))
    hourly = {key: filled.body(key) for key in filled.object_keys()}
    filled.configure(id="another", prefix="other")
    backfill(filled, "backfill", RANGE)
    assert {key.replace("other/", "events/"): filled.body(key) for key in filled.object_keys()} == hourly
    assert len(hourly) > 8


def test_a_filter_counts_what_it_keeps_back_in_every_hour_of_a_day(filled):
    filled.configure(filter={"where": [{"column": "$insert_id", "in": ["a", "z", "e3"]}]})
    assert done(backfill(filled, "run", RANGE)) == {"published": 5}
    assert sorted(filled.all_ids()) == ["a", "e3", "z"]
    assert [filled.record(hour(HOUR, n)).content_rows for n in range(5)] == [2, 9, 0, 0, 1]
    for n in range(5):
        filled.assert_consistent(hour(HOUR, n))


def test_the_plan_tells_every_state_apart(filled):
    backfill(filled, "first", RANGE)
    client, bucket = filled.client, filled.bucket
    stem = "events/187520/187520_2013-01-02"
    filled.add_events(["late"], HOUR)
    client.delete_object(Bucket=bucket, Key=f"{stem}_13#1.json.gz")
    client.put_object(Bucket=bucket, Key=f"{stem}_14_complete", Body=b"by hand")
    with filled.ledger.begin() as connection:
        connection.execute(delete(exported_hours).where(exported_hours.c.hour == hour(HOUR, 3)))
    wider = HourRange(hour(HOUR, -1), hour(HOUR, 5))
    now = filled.ledger.now()
    found = plan(filled, wider)
    assert states(found) == {
        0: "outside the lake",
        1: "changed (more events)",
        2: "broken",
        3: "foreign",
        4: "foreign",
        5: "unchanged",
        6: "outside the lake",
    }
    assert found.totals()["hours"] == 4
    assert found.totals()["events"] == 12
    filled.configure(compression_level=0)
    assert states(plan(filled, wider))[5] == "reshaped"
    today = now.replace(minute=0, second=0, microsecond=0)
    found = plan(filled, HourRange(today - timedelta(hours=1), today))
    assert states(found)[1] == "not closed"
    assert "1 hours from" in found.notes[0]
    assert json.loads(json.dumps(found.totals()))["destination"] == filled.config.id


def test_an_unfinished_publication_is_told_by_the_markers_metadata(filled):
    """Killed between the marker and the ledger: the record knows what it was about to publish."""
    bucket = filled.scripted()
    marker = filled.config.folder(PROJECT) + "187520_2013-01-02_12_complete"

    def kill(n, request, key):
        if (request, key) == ("complete", marker):
            raise Killed

    bucket.after = kill
    with pytest.raises(Killed):
        backfill(filled, "run", HourRange(HOUR, HOUR), bucket=bucket)
    assert states(plan(filled, HourRange(HOUR, HOUR))) == {0: "broken"}
    assert done(backfill(filled, "run", HourRange(HOUR, HOUR))) == {"published": 1}
    filled.assert_consistent()


@pytest.mark.parametrize(
    ("settings", "others"),
    [
        pytest.param({"dialect": "documented"}, {"dialect": "observed"}, id="dialect"),
        pytest.param({"flat_layout": True}, {"flat_layout": False}, id="layout"),
        pytest.param({"partition_bytes": 1_500}, {"partition_bytes": 10**9}, id="cap"),
    ],
)
def test_what_another_form_left_goes_after_the_ledger_is_lost(make, tmp_path, settings, others):
    destination = make(**settings)
    destination.add_events([f"e{n}" for n in range(6)])
    destination.add_events(["f"], hour(HOUR, 1))
    hours = HourRange(HOUR, hour(HOUR, 1))
    backfill(destination, "first", hours)
    old = destination.object_keys()
    destination.ledger = fresh_ledger(tmp_path / "new.db")
    config = destination.config.model_dump(by_alias=True, exclude={"first_partition", "flat_layout", *others})
    destination.config = type(destination.config)(**config | others)
    assert states(plan(destination, hours)) == {0: "foreign", 1: "foreign"}
    assert done(backfill(destination, "second", hours)) == {"published": 2}
    for n in range(2):
        destination.assert_consistent(hour(HOUR, n))
    assert sorted(destination.all_ids()) == ["e0", "e1", "e2", "e3", "e4", "e5", "f"]
    new = destination.object_keys()
    assert len(new) == 4
    assert set(old) - set(new) or "flat_layout" not in settings
    assert states(plan(destination, hours)) == {0: "unchanged", 1: "unchanged"}


def test_another_systems_history_outside_the_lake_is_not_touched(filled):
    before_lake = HourRange(hour(HOUR, -3), hour(HOUR, -1))
    key = "events/187520/187520_2013-01-02_10#0.json.gz"
    filled.client.put_object(Bucket=filled.bucket, Key=key, Body=b"a year before Sluice")
    found = plan(filled, before_lake)
    assert states(found) == dict.fromkeys(range(3), "outside the lake")
    assert "3 hours before it have nothing to export" in found.notes[-1]
    assert backfill(filled, "run", before_lake) == []
    (left,) = filled.run("native", hour=hour(HOUR, -2))
    assert (left.action, left.note[:26]) == ("left", "outside the lake's events:")
    assert filled.object_keys() == [key]
    # Within the schedule's time an hour without events is exported as such.
    record_destination(filled.ledger, filled.config.id, {}, "hash", hour(HOUR, -2))
    assert states(plan(filled, before_lake)) == {0: "outside the lake", 1: "foreign", 2: "missing"}


def test_a_range_in_the_future_is_refused(filled):
    coming = filled.ledger.now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=2)
    with pytest.raises(WindowError, match="lies in the future"):
        plan(filled, HourRange(coming, coming))


def test_force_exports_unchanged_hours_once_more_and_goes_on_where_it_was(filled):
    def stagings():
        heads = {
            key: filled.client.head_object(Bucket=filled.bucket, Key=key) for key in filled.object_keys()
        }
        return {key: head["Metadata"]["sluice-staging"] for key, head in heads.items()}

    backfill(filled, "first", RANGE)
    before = stagings()
    bucket = filled.scripted()

    def fail(n, request, key):
        # Past the uploads of all hours of the batch, among their publications.
        if n == 27:
            raise BucketUnavailable("the store is down")

    bucket.before = fail
    forced_before = filled.ledger.now()
    found = plan(filled, RANGE, forced_before=forced_before)
    assert found.totals()["states"] == {"unchanged": 5}
    assert found.totals()["hours"] == 5
    with pytest.raises(BucketUnavailable):
        backfill(filled, "forced", RANGE, bucket=bucket, force=True, parallelism=1)
    left = [item.hour for item in plan(filled, RANGE, forced_before=forced_before).todo]
    assert 0 < len(left) < 5
    (chunk,) = chunks_of(plan(filled, RANGE, forced_before=forced_before), forced_before=forced_before)
    assert chunk.hours == len(left)
    backfill(filled, "again", RANGE, force=True)
    for n in range(5):
        filled.assert_consistent(hour(HOUR, n))
    after = stagings()
    assert after.keys() == before.keys()
    assert all(after[key] != before[key] for key in before)


@pytest.mark.parametrize("order", ["oldest first", "newest first"])
def test_the_order_is_the_one_asked_for(filled, order):
    outcomes = backfill(filled, "run", RANGE, order=order, parallelism=1)
    hours = [outcome.hour for outcome in outcomes]
    assert hours == sorted(hours, reverse=order == "newest first")
    assert len(hours) == 5


@pytest.fixture(scope="module")
def one_outdated(s3, tmp_path_factory):
    def export(made):
        fill(made)
        made.run("hourly", hour=hour(HOUR, 1))
        made.add_events(["late"], hour(HOUR, 1))

    return Template.make(tmp_path_factory.mktemp("outdated"), export, s3, partition_bytes=5_000)


@pytest.fixture
def outdated(one_outdated, s3, bucket, tmp_path):
    """The same, and the hour 1 was exported before an event came late."""
    with one_outdated.copy(s3, bucket, tmp_path / "copy") as destination:
        yield destination


@pytest.mark.parametrize("at", [0, 4, 9, 13, 18, 23])
def test_killed_anywhere_it_goes_on_where_it_was(outdated, at):
    """As many steps further each time; the machine that was killed reaches nobody any more."""
    bucket = outdated.scripted()

    def kill(n, request, key):
        if n >= at:
            raise Killed

    bucket.before = kill
    with pytest.raises(Killed):
        backfill(outdated, "run", RANGE, bucket=bucket)
    done_before = {item.hour for item in plan(outdated, RANGE).hours if not item.writes}
    retry = outdated.scripted()
    backfill(outdated, "run", RANGE, bucket=retry)
    for n in range(5):
        outdated.assert_consistent(hour(HOUR, n))
    assert ids_of(outdated)["187520_2013-01-02_13"] == sorted([*(f"e{i}" for i in range(9)), "late"])
    for moment in done_before:
        name = f"_{moment:%Y-%m-%d}_{moment.hour}"
        assert not [key for _, key in retry.calls if name in key], "a finished hour was written again"


def test_one_writer_publishes_and_the_others_say_so(filled):
    """The hourly run sleeps with the hour staged; a backfill's chunk and a native backfill come by."""
    hours = HourRange(HOUR, hour(HOUR, 1))
    record_destination(filled.ledger, filled.config.id, {}, "hash", HOUR)
    filled.configure(start=HOUR, catch_up_hours=0)
    sleeper = filled.exporter("hourly", "scheduled")
    sleeper.export(HOUR)
    with pytest.raises(HourHeld, match=r"Another writer holds the hour 2013-01-02 12:00.*the run hourly"):
        backfill(filled, "chunk", hours)
    with pytest.raises(HourHeld, match="Another writer holds the hour"):
        filled.run("native")
    # The chunk did what it could.
    assert set(ids_of(filled)) == {"187520_2013-01-02_13"}
    assert [outcome.action for outcome in filled.publish("hourly", "scheduled")] == ["published"]
    assert backfill(filled, "chunk", hours) == []
    assert [outcome.action for outcome in filled.run("native")] == ["unchanged"]
    for n in range(2):
        filled.assert_consistent(hour(HOUR, n))


@pytest.mark.parametrize("asleep_at", ["create_upload", "upload_part", "complete"])
def test_a_chunk_that_sleeps_past_its_claims_publishes_nothing_of_a_lost_hour(filled, asleep_at):
    """While it sleeps, the hourly run takes the hour over and publishes it."""
    bucket = filled.scripted()
    other = []

    def sleep(n, request, key):
        if request == asleep_at and not other:
            filled.expire_claims()
            other.extend(filled.run("native"))

    bucket.before = sleep
    with pytest.raises(HourHeld, match="Another writer"):
        backfill(filled, "chunk", HourRange(HOUR, HOUR), bucket=bucket)
    assert [outcome.action for outcome in other] == ["published"]
    record = filled.record()
    if record.state == "unpublished":
        # It may have completed a file right before it was found out; the next run puts that right.
        backfill(filled, "next", HourRange(HOUR, HOUR))
    filled.assert_consistent()
    assert ids_of(filled) == {"187520_2013-01-02_12": ["a", "b"]}


def test_a_loader_that_sleeps_past_the_export_lands_in_the_next_hour_once(make, monkeypatch):
    destination = make()
    real_now = Ledger.now
    moment = real_now(destination.ledger)
    this_hour = moment.replace(minute=0, second=0, microsecond=0)
    shift = [this_hour + timedelta(minutes=59) - moment]
    monkeypatch.setattr(Ledger, "now", lambda self: real_now(self) + shift[0])
    commit = Snapshot.commit
    exported = []

    def sleep_then_commit(self, actions, entry):
        if entry.kind == "load" and not exported:
            past = datetime(2000, 1, 1, tzinfo=UTC)
            with destination.ledger.begin() as connection:
                connection.execute(update(leases).values(expires_at=past))
            shift[0] += timedelta(minutes=2)
            exported.extend(destination.run("hourly", hour=this_hour))
        commit(self, actions, entry)

    monkeypatch.setattr(Snapshot, "commit", sleep_then_commit)
    file = stage(destination.lake, "late.csv", ["slow"])
    load(destination.lake, destination.ledger, LoadRequest(PROJECT, "s", [file]))
    assert [(outcome.action, outcome.rows) for outcome in exported] == [("published", 0)]
    shift[0] += timedelta(hours=1)
    hours = HourRange(this_hour, hour(this_hour, 1))
    assert states(plan(destination, hours))[1] == "missing"
    backfill(destination, "backfill", hours)
    assert list(ids_of(destination).values()) == [["slow"]]
    (name,) = ids_of(destination)
    assert name.endswith(f"_{hour(this_hour, 1).hour}")
    destination.assert_consistent(hour(this_hour, 1))


def test_ten_years_are_planned_in_few_requests_and_chunks(make):
    first, last = datetime(2003, 1, 1, tzinfo=UTC), datetime(2012, 12, 31, 23, tzinfo=UTC)
    destination = make()
    destination.add_events(["first"], first)
    destination.add_events(["last"], last)
    requests = []

    def count(**_):
        requests.append(1)

    destination.client.meta.events.register("before-send.s3.*", count)
    try:
        found = plan(destination, HourRange(first, last))
    finally:
        destination.client.meta.events.unregister("before-send.s3.*", count)
    assert len(found.hours) == 87_672
    assert found.totals()["states"] == {"missing": 87_672}
    assert len(requests) == 2 * 120
    chunks = chunks_of(found)
    assert len(chunks) == 118
    assert sum(chunk.hours for chunk in chunks) == 87_672

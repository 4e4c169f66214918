"""Which hours a run exports and what their objects hold, on SeaweedFS with a real lake."""

import gzip
from datetime import UTC, datetime, timedelta

import pytest
from exporting import HOUR, PROJECT, Template
from sqlalchemy import update

from sluice.exports.errors import ContentMismatch
from sluice.lake import HourNotOver, close_until, closed_until
from sluice.lake.schema import EXPORT_KEYS
from sluice.ledger import exported
from sluice.ledger.exported import HourHeld
from sluice.ledger.tables import hours
from sluice.quality.gate import QualityStopped

STEM = "events/187520/187520_2013-01-02"
NEXT = HOUR + timedelta(hours=1)


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    return Template.make(tmp_path_factory.mktemp("empty"))


@pytest.fixture
def make(empty, s3, bucket, tmp_path):
    with empty.maker(s3, bucket, tmp_path / "made") as make:
        yield make


def actions(outcomes):
    return [(outcome.hour.hour, outcome.action) for outcome in outcomes]


def test_an_hour_is_written_with_names_keys_and_metadata(make):
    destination = make()
    destination.add_events(["a", "b", "c"])
    destination.add_events(["before"], HOUR - timedelta(hours=1))
    destination.add_events(["after"], NEXT)
    destination.run("dag/run 1")
    assert destination.object_keys() == [f"{STEM}_12#0.json.gz", f"{STEM}_12_complete"]
    events = destination.events(f"{STEM}_12#0.json.gz")
    assert [event["$insert_id"] for event in events] == ["a", "b", "c"]
    assert all(tuple(event) == EXPORT_KEYS for event in events)
    assert events[1]["server_upload_time"] == "2013-01-02 12:00:01.000000"
    assert events[0]["app"] == PROJECT
    data = destination.client.head_object(Bucket=destination.bucket, Key=f"{STEM}_12#0.json.gz")
    assert data["ContentType"] == "application/gzip"
    assert "ContentEncoding" not in data
    marker = destination.client.head_object(Bucket=destination.bucket, Key=f"{STEM}_12_complete")
    assert marker["ContentLength"] == 0
    assert marker["Metadata"]["sluice-run"] == "dag%2Frun%201"
    assert marker["Metadata"]["sluice-rows"] == "3"
    record = destination.record()
    assert (record.rows, record.files, record.content_rows) == (3, 1, 3)
    assert record.bytes == data["ContentLength"]
    (file,) = exported.published_files(destination.ledger, destination.id())
    assert file.first_upload_time == HOUR
    assert file.last_upload_time == HOUR + timedelta(seconds=2)
    destination.assert_consistent()


def test_the_documented_dialect(make):
    destination = make(dialect="documented", prefix="")
    destination.add_events(["a"])
    destination.run("run")
    assert destination.object_keys() == ["187520_2013-01-02_12#1.json.gz", "187520_2013-01-02_12_complete"]
    (event,) = destination.events("187520_2013-01-02_12#1.json.gz")
    assert len(event) == 48
    assert event["server_upload_time"] == "2013-01-02T12:00:00.000000"
    destination.assert_consistent()


def test_an_hour_without_events_has_only_its_marker(make):
    destination = make()
    (outcome,) = destination.run("run")
    assert (outcome.action, outcome.rows, outcome.files) == ("published", 0, 0)
    assert destination.object_keys() == [f"{STEM}_12_complete"]
    destination.assert_consistent()
    before = destination.listing()
    assert actions(destination.run("again")) == [(12, "unchanged")]
    assert destination.listing() == before


def test_without_markers_the_ledger_says_what_is_finished(make):
    destination = make(marker=False)
    destination.add_events(["a"])
    destination.run("run")
    assert destination.object_keys() == [f"{STEM}_12#0.json.gz"]
    destination.assert_consistent()
    bucket = destination.scripted()
    assert actions(destination.run("again", bucket=bucket)) == [(12, "unchanged")]
    assert bucket.calls == []
    destination.run("empty", hour=NEXT)
    assert destination.record(NEXT).state == "published"
    assert destination.object_keys() == [f"{STEM}_12#0.json.gz"]
    destination.configure(marker=True)
    destination.run("with-marker")
    destination.assert_consistent()
    destination.configure(marker=False)
    destination.run("without-marker")
    destination.assert_consistent()


def test_several_projects_share_a_destination(make):
    destination = make(projects=(PROJECT, 5))
    destination.add_events(["a"])
    destination.add_events(["b", "c"], project=5)
    outcomes = destination.run("run")
    assert [(outcome.project, outcome.rows) for outcome in outcomes] == [(PROJECT, 1), (5, 2)]
    assert destination.object_keys() == [
        f"{STEM}_12#0.json.gz",
        f"{STEM}_12_complete",
        "events/5/5_2013-01-02_12#0.json.gz",
        "events/5/5_2013-01-02_12_complete",
    ]
    destination.assert_consistent(project=5)


def test_the_schedule_catches_up_from_the_ledger_and_a_backfill_does_not(make):
    destination = make(start=HOUR - timedelta(hours=3), catch_up_hours=24)
    for n in range(5):
        destination.add_events([f"event-{n}"], HOUR - timedelta(hours=n))
    destination.run("backfill", "backfill", HOUR - timedelta(hours=2))
    assert [key for key in destination.object_keys() if key.endswith("_complete")] == [f"{STEM}_10_complete"]
    outcomes = destination.run("scheduled", "scheduled")
    # Its own first, then oldest first; the start cuts off hour 8, the backfill did hour 10.
    assert actions(outcomes) == [(12, "published"), (9, "published"), (11, "published")]
    bucket = destination.scripted()
    assert actions(destination.run("scheduled-again", "scheduled", bucket=bucket)) == [(12, "unchanged")]
    assert bucket.calls == []


def test_the_schedule_looks_no_further_back_than_told(make):
    destination = make(start=HOUR - timedelta(days=30), catch_up_hours=2)
    assert actions(destination.run("s", "scheduled")) == [
        (12, "published"),
        (10, "published"),
        (11, "published"),
    ]


def test_the_schedule_puts_back_a_marker_that_is_not_listed(make):
    destination = make(start=HOUR)
    destination.add_events(["a"])
    destination.run("s1", "scheduled")
    destination.client.delete_object(Bucket=destination.bucket, Key=f"{STEM}_12_complete")
    assert actions(destination.run("s2", "scheduled", NEXT)) == [(13, "published"), (12, "published")]
    destination.assert_consistent()


def test_the_schedule_exports_nothing_before_the_start(make):
    destination = make(start=NEXT)
    assert destination.run("s", "scheduled") == []
    assert destination.object_keys() == []
    assert actions(destination.run("b", "backfill")) == [(12, "published")]


def test_the_start_is_the_day_of_the_first_scheduled_run(make):
    destination = make(catch_up_hours=24)
    assert destination.run("s", "scheduled", datetime(2013, 1, 2, 12, tzinfo=UTC)) == []


@pytest.mark.parametrize("reexport", [False, True])
def test_a_changed_hour_waits_for_a_backfill_unless_the_schedule_is_told(make, reexport):
    destination = make(start=HOUR, reexport_changed=reexport)
    destination.add_events(["a"])
    destination.run("s1", "scheduled")
    destination.add_events(["late"])
    assert actions(destination.run("s1-again", "scheduled")) == [(12, "published" if reexport else "left")]
    destination.add_events(["later"])
    assert actions(destination.run("s2", "scheduled", NEXT)) == [
        (13, "published"),
        *([(12, "published")] if reexport else []),
    ]
    assert sorted(destination.all_ids()) == (["a", "late", "later"] if reexport else ["a"])
    destination.run("b")
    assert sorted(destination.all_ids()) == ["a", "late", "later"]
    destination.assert_consistent()


def test_an_hour_that_another_writer_holds_does_not_stop_the_schedule(make):
    destination = make(start=HOUR)
    destination.add_events(["a"])
    destination.exporter("backfill").export(HOUR)
    outcomes = destination.exporter("s", "scheduled").export(NEXT)
    assert actions(outcomes) == [(13, "staged"), (12, "held")]
    assert "backfill" in outcomes[1].note
    destination.publish("s", "scheduled", hour=NEXT)
    destination.publish("backfill", hour=HOUR)
    destination.assert_consistent()
    destination.assert_consistent(NEXT)


def test_a_foreign_hour_does_not_stop_the_schedule_of_later_ones(make):
    destination = make(start=HOUR)
    destination.client.put_object(Bucket=destination.bucket, Key=f"{STEM}_12_complete", Body=b"")
    assert actions(destination.exporter("s", "scheduled").export(NEXT)) == [(13, "staged"), (12, "foreign")]


def test_a_second_backfill_sends_not_one_writing_request(make):
    """Counted where they leave the process, whatever method made them."""
    destination = make(partition_bytes=5_000)
    destination.add_events([f"e{n}" for n in range(30)])
    destination.run("one")
    before = destination.listing()
    methods = []

    def count(request, **_):
        methods.append(request.method)

    destination.client.meta.events.register("before-send.s3.*", count)
    try:
        destination.run("two")
    finally:
        destination.client.meta.events.unregister("before-send.s3.*", count)
    assert set(methods) == {"GET", "HEAD"}
    assert destination.listing() == before


def test_objects_are_a_function_of_the_hour(make):
    """Exported again from nothing, every object has the same bytes."""
    destination = make(partition_bytes=5_000)
    destination.add_events([f"e{n}" for n in range(30)])
    destination.run("one")
    first = {key: destination.body(key) for key in destination.object_keys()}
    for key in first:
        destination.client.delete_object(Bucket=destination.bucket, Key=key)
    destination.run("two")
    assert {key: destination.body(key) for key in destination.object_keys()} == first


def test_an_hour_that_is_not_over_is_refused(make):
    destination = make()
    hour = destination.ledger.now().replace(minute=0, second=0, microsecond=0)
    with pytest.raises(HourNotOver, match="is not over"):
        destination.exporter("run").export(hour)
    assert destination.object_keys() == []


def test_rows_that_do_not_add_up_are_not_published(make):
    destination = make()
    destination.add_events(["a", "b"])
    close_until(destination.lake, destination.ledger, PROJECT, NEXT, 0)
    with destination.ledger.begin() as connection:
        connection.execute(update(hours).where(hours.c.hour == HOUR).values(rows=3))
    with pytest.raises(ContentMismatch, match=r"gave 2 events.*the ledger has 3"):
        destination.exporter("run").export(HOUR)
    assert destination.object_keys() == []
    assert destination.open_uploads() == []


def test_a_load_that_comes_while_an_hour_is_staged_marks_it_changed(make):
    destination = make()
    destination.add_events(["a"])
    destination.exporter("run").export(HOUR)
    destination.add_events(["late"])
    destination.publish("run", hour=HOUR)
    assert destination.all_ids() == ["a"]
    assert destination.record().content_rows == 1
    assert actions(destination.run("again")) == [(12, "published")]
    assert destination.all_ids() == ["a", "late"]


def test_many_events_come_out_whole_and_in_order(make):
    destination = make(partition_bytes=400_000)
    ids = [f"{n:06}" for n in range(3_600)]
    destination.add_events(ids)
    destination.run("run")
    assert destination.all_ids() == ids
    *full, last = [
        gzip.decompress(destination.body(key)).splitlines(keepends=True) for key in destination.data_keys()
    ]
    assert len(full) > 5
    for lines in full:
        size = sum(map(len, lines))
        assert size >= 400_000 > size - len(lines[-1])
    assert 0 < sum(map(len, last)) <= 400_000
    destination.assert_consistent()


def test_a_live_writers_own_hour_is_an_error_for_the_others(make):
    destination = make(start=HOUR)
    destination.exporter("one").export(HOUR)
    with pytest.raises(HourHeld, match="the run one"):
        destination.exporter("two", "scheduled").export(HOUR)


def test_the_publish_task_alone_closes_the_hour_before_it_exports_it(make):
    """Somebody may mark the first task as done by hand."""
    destination = make()
    destination.add_events(["a"])
    # What it stages has passed no gate yet.
    with pytest.raises(QualityStopped, match="check_quality"):
        destination.publish("run", hour=HOUR)
    assert destination.object_keys() == []
    assert actions(destination.publish("run", hour=HOUR)) == [(12, "published")]
    assert closed_until(destination.ledger, PROJECT) == NEXT
    destination.assert_consistent()
    hour = destination.ledger.now().replace(minute=0, second=0, microsecond=0)
    with pytest.raises(HourNotOver):
        destination.publish("run", hour=hour)


def test_a_filter_is_part_of_an_hours_identity(make):
    destination = make(filter={"where": [{"column": "$insert_id", "in": ["a", "c"]}]})
    destination.add_events(["a", "b", "c"])
    destination.run("first")
    assert destination.all_ids() == ["a", "c"]
    assert (destination.record().rows, destination.record().content_rows) == (2, 3)
    destination.assert_consistent()
    assert actions(destination.run("again")) == [(12, "unchanged")]

    destination.configure(filter={"where": [{"column": "$insert_id", "equals": "nothing"}]})
    assert actions(destination.run("emptied")) == [(12, "published")]
    assert destination.object_keys() == [f"{STEM}_12_complete"]
    destination.assert_consistent()

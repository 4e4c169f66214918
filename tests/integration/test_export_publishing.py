"""The publish protocol on real stores: killed anywhere, met by another writer anywhere (invariant 3)."""

import uuid

import boto3
import pytest
from botocore.config import Config
from exporting import HOUR, Killed, Template

from sluice.access.errors import BucketUnavailable
from sluice.exports.errors import ForeignHour
from sluice.ledger import exported
from sluice.ledger.exported import HourHeld

IDS = [f"event-{n:03}" for n in range(40)]

# What a replacement writes two files with, where there were three.
REPLACED = {"partition_bytes": 40_000}

# A replacement takes eleven changes (see below); after the last one only the ledger's record is missing.
STAGING, PUBLISHING = range(6), range(6, 11)
EVERYWHERE = [("seaweedfs", n) for n in (*STAGING, *PUBLISHING)] + [("moto", n) for n in (0, 6, 7, 9, 10)]
on_both_stores = pytest.mark.parametrize("store", ["seaweedfs", "moto"], indirect=True)


@pytest.fixture(scope="module")
def stores():
    """A client of each store and a bucket there, made when first asked for; tests differ by prefix."""
    return {}


@pytest.fixture
def store(request, stores):
    """A client of a store, SeaweedFS unless the test says otherwise, and a bucket there."""
    name = getattr(request, "param", "seaweedfs")
    if name not in stores:
        if name == "seaweedfs":
            client = request.getfixturevalue("s3")
        else:
            client = boto3.session.Session().client(
                "s3",
                endpoint_url=request.getfixturevalue("moto_endpoint"),
                aws_access_key_id="test",
                aws_secret_access_key="test",
                region_name="us-east-1",
                # moto answers 500 where S3 says NoSuchUpload; more attempts only take longer.
                config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
            )
        stores[name] = client, f"test-{uuid.uuid4().hex[:20]}"
        client.create_bucket(Bucket=stores[name][1])
    return stores[name]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """40 events of about 1.3 KB in the hour."""
    return Template.make(tmp_path_factory.mktemp("loaded"), lambda made: made.add_events(IDS))


@pytest.fixture(scope="module")
def first_exported(s3, tmp_path_factory):
    return exported_once(s3, tmp_path_factory.mktemp("exported"), lambda made: None)


@pytest.fixture(scope="module")
def then_changed(s3, tmp_path_factory):
    return exported_once(s3, tmp_path_factory.mktemp("changed"), replace_hour)


def exported_once(client, folder, and_then):
    def fill(made):
        made.add_events(IDS)
        export_first(made)
        and_then(made)

    return Template.make(folder, fill, client, partition_bytes=20_000)


def export_first(destination):
    destination.run("first")
    stem = stem_of(destination)
    assert destination.object_keys() == [
        f"{stem}#0.json.gz",
        f"{stem}#1.json.gz",
        f"{stem}#2.json.gz",
        f"{stem}_complete",
    ]
    destination.assert_consistent()


@pytest.fixture
def make(store, loaded, tmp_path):
    """A destination with the 40 events in its hour, and nothing in its part of the bucket."""
    with loaded.maker(*store, tmp_path / "copy") as copy:
        yield lambda **settings: copy(**{"prefix": f"{uuid.uuid4().hex[:12]}/events"} | settings)


@pytest.fixture
def published(store, first_exported, tmp_path):
    """The hour published in three files by an earlier run."""
    with first_exported.copy(*store, tmp_path / "copy") as destination:
        yield destination
        # The ledger names its objects, so the tests have a part of the bucket one after the other.
        destination.clear()


@pytest.fixture
def destination(store, then_changed, tmp_path):
    """The same, and what the next run has to write is changed since."""
    with then_changed.copy(*store, tmp_path / "copy", **REPLACED) as destination:
        yield destination
        destination.clear()


def stem_of(destination):
    return f"{destination.config.prefix}187520/187520_2013-01-02_12"


def replace_hour(destination):
    """Change what the next run has to write: other content, in two files instead of three."""
    destination.add_events(["late-1", "late-2"])
    destination.configure(**REPLACED)


def killer(n):
    """Stop a writer after its n-th change: what comes after it never happens."""
    dead = False

    def before(count, request, key):
        if dead:
            raise Killed

    def after(count, request, key):
        nonlocal dead
        if count == n:
            dead = True
            raise Killed

    return before, after


def changes_of_a_replacement(destination):
    bucket = destination.scripted()
    destination.run("second", bucket=bucket)
    return bucket.calls


@on_both_stores
def test_a_replacement_takes_the_marker_off_first_and_completes_it_last(make):
    destination = make(partition_bytes=20_000)
    export_first(destination)
    replace_hour(destination)
    calls = changes_of_a_replacement(destination)
    assert calls == [
        ("create_upload", f"{stem_of(destination)}#0.json.gz"),
        ("upload_part", f"{stem_of(destination)}#0.json.gz"),
        ("create_upload", f"{stem_of(destination)}#1.json.gz"),
        ("upload_part", f"{stem_of(destination)}#1.json.gz"),
        ("create_upload", f"{stem_of(destination)}_complete"),
        ("upload_part", f"{stem_of(destination)}_complete"),
        ("delete", f"{stem_of(destination)}_complete"),
        ("complete", f"{stem_of(destination)}#0.json.gz"),
        ("complete", f"{stem_of(destination)}#1.json.gz"),
        ("delete", f"{stem_of(destination)}#2.json.gz"),
        ("complete", f"{stem_of(destination)}_complete"),
    ]
    destination.assert_consistent()
    assert sorted(destination.all_ids()) == sorted([*IDS, "late-1", "late-2"])


@pytest.mark.parametrize(
    ("store", "n", "same_run"),
    [(store, n, True) for store, n in EVERYWHERE] + [("seaweedfs", n, False) for n in (1, 5, *PUBLISHING)],
    indirect=["store"],
)
def test_a_writer_killed_after_any_change_is_made_good(destination, n, same_run):
    bucket = destination.scripted()
    bucket.before, bucket.after = killer(n)
    with pytest.raises(Killed):
        destination.run("second", bucket=bucket)
    assert len(bucket.calls) >= n + 1
    if not same_run:
        destination.expire_claims()
    destination.run("second" if same_run else "third")
    destination.assert_consistent()
    assert destination.object_keys() == [
        f"{stem_of(destination)}#0.json.gz",
        f"{stem_of(destination)}#1.json.gz",
        f"{stem_of(destination)}_complete",
    ]
    assert sorted(destination.all_ids()) == sorted([*IDS, "late-1", "late-2"])


@pytest.mark.parametrize("n", PUBLISHING)
def test_a_publish_task_killed_after_any_change_goes_on_alone(destination, n):
    """Airflow retries the task that died, not the one before it."""
    destination.exporter("second").export(HOUR)
    bucket = destination.scripted()
    bucket.before, bucket.after = killer(n - len(STAGING))
    with pytest.raises(Killed):
        destination.publish("second", bucket=bucket, hour=HOUR)
    retry = destination.scripted()
    destination.publish("second", bucket=retry, hour=HOUR)
    destination.assert_consistent()
    assert "create_upload" not in {request for request, _ in retry.calls}


@pytest.mark.parametrize(("store", "n"), EVERYWHERE, indirect=["store"])
def test_a_writer_that_sleeps_before_any_change_while_another_publishes_publishes_nothing(destination, n):
    sleeper = destination.scripted()
    others = []

    def sleep(count, request, key):
        if count == n and not others:
            destination.expire_claims()
            others.append(destination.run("other"))

    sleeper.before = sleep
    # moto answers 500 where S3 says NoSuchUpload: another error, and just as little is published.
    with pytest.raises((HourHeld, BucketUnavailable)):
        destination.run("sleeper", bucket=sleeper)
    assert [outcome.action for outcome in others[0]] == ["published"]
    record = destination.record()
    if record.state == "published":
        assert record.published_run == "other"
    else:
        # The sleeper woke up on its way to delete something: the ledger says so, and a run repairs it.
        assert sleeper.calls[n][0] == "delete"
        destination.run("other")
    assert record.published_run != "sleeper"
    destination.assert_consistent()
    assert sorted(destination.all_ids()) == sorted([*IDS, "late-1", "late-2"])


@on_both_stores
def test_a_live_claim_is_respected(destination):
    destination.exporter("second").export(HOUR)
    before = destination.listing()
    other = destination.scripted()
    with pytest.raises(
        HourHeld, match="Another writer holds the hour 2013-01-02 12:00 UTC of project 187520"
    ):
        destination.exporter("third", bucket=other).export(HOUR)
    assert other.calls == []
    destination.publish("second", hour=HOUR)
    destination.assert_consistent()
    assert destination.listing() != before


@on_both_stores
def test_two_sleeping_writers_one_publishes(destination):
    """Both have staged; the second took over. The first publishes nothing, whenever it wakes up."""
    destination.exporter("first-writer").export(HOUR)
    destination.expire_claims()
    destination.exporter("second-writer").export(HOUR)
    with pytest.raises(HourHeld, match="second-writer"):
        destination.publish("first-writer", hour=HOUR)
    destination.publish("second-writer", hour=HOUR)
    assert destination.record().published_run == "second-writer"
    destination.assert_consistent()
    (outcome,) = destination.publish("first-writer", hour=HOUR)
    assert outcome.action == "unchanged"


@pytest.mark.parametrize("lost", [slice(0, 1), slice(None)])
def test_uploads_that_the_store_threw_away_are_staged_again(destination, lost):
    """A lifecycle rule may abort uploads that wait: it is seen before the old hour is touched."""
    destination.exporter("second").export(HOUR)
    for upload in destination.client.list_multipart_uploads(
        Bucket=destination.bucket, Prefix=destination.config.prefix
    )["Uploads"][lost]:
        destination.client.abort_multipart_upload(
            Bucket=destination.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
        )
    before = destination.listing()
    seen = []
    bucket = destination.scripted()
    bucket.before = lambda n, request, key: seen.append((request, destination.listing() == before))
    (outcome,) = destination.publish("second", hour=HOUR, bucket=bucket)
    assert outcome.action == "published"
    # What there was stays whole until all that takes its place has been uploaded.
    requests = [request for request, _ in seen]
    taken_off = requests.index("delete")
    assert requests.index("create_upload") < taken_off
    assert all(whole for _, whole in seen[: taken_off + 1])
    destination.assert_consistent()


@on_both_stores
def test_an_unchanged_hour_is_neither_read_nor_written(make):
    destination = make(partition_bytes=20_000)
    export_first(destination)
    before = destination.listing()
    bucket = destination.scripted()
    outcomes = destination.run("again", bucket=bucket)
    assert [(o.action, o.rows, o.files) for o in outcomes] == [("unchanged", 40, 3)]
    assert bucket.calls == []
    assert destination.listing() == before


def test_the_copied_hour_is_as_good_as_exported(published):
    bucket = published.scripted()
    assert [outcome.action for outcome in published.run("again", bucket=bucket)] == ["unchanged"]
    assert bucket.calls == []
    published.assert_consistent()


def test_an_export_task_run_twice_keeps_what_it_staged(destination):
    destination.exporter("second").export(HOUR)
    retry = destination.scripted()
    (outcome,) = destination.exporter("second", bucket=retry).export(HOUR)
    assert outcome.action == "staged"
    assert outcome.rows == 42
    assert retry.calls == []
    destination.publish("second", hour=HOUR)
    destination.assert_consistent()


@pytest.mark.parametrize("victim", ["#1.json.gz", "_complete"])
def test_an_object_deleted_by_hand_is_put_back(published, victim):
    published.client.delete_object(Bucket=published.bucket, Key=f"{stem_of(published)}{victim}")
    published.run("repair")
    published.assert_consistent()
    assert published.all_ids() == IDS


def test_an_object_overwritten_by_hand_is_replaced(published):
    published.client.put_object(
        Bucket=published.bucket, Key=f"{stem_of(published)}#1.json.gz", Body=b"not ours"
    )
    published.run("again")
    published.assert_consistent()
    assert sorted(published.all_ids()) == IDS


def test_every_object_of_the_hour_by_any_writer_goes(published):
    """Another dialect's files, more partitions, a flat layout and its marker: replaced whole (E-10)."""
    prefix = published.config.prefix
    keep = [f"{prefix}187520/187520_2013-01-02_1#0.json.gz", f"{prefix}187520/187520_2013-01-02_12.json.gz"]
    strays = [
        f"{stem_of(published)}#7.json.gz",
        f"{prefix}187520_2013-01-02_12#1.json.gz",
        f"{prefix}187520_2013-01-02_12_complete",
    ]
    for key in [*keep, *strays]:
        published.client.put_object(Bucket=published.bucket, Key=key, Body=b"")
    published.run("again")
    assert published.object_keys() == sorted(
        [
            *keep,
            f"{stem_of(published)}#0.json.gz",
            f"{stem_of(published)}#1.json.gz",
            f"{stem_of(published)}#2.json.gz",
            f"{stem_of(published)}_complete",
        ]
    )


def test_the_schedule_does_not_touch_a_foreign_hour(make):
    destination = make(start=HOUR)
    for key in (f"{stem_of(destination)}#0.json.gz", f"{stem_of(destination)}_complete"):
        destination.client.put_object(Bucket=destination.bucket, Key=key, Body=b"")
    bucket = destination.scripted()
    with pytest.raises(
        ForeignHour,
        match=f"{stem_of(destination)}_complete.*airflow dags trigger export_backfill --conf",
    ):
        destination.exporter("s", "scheduled", bucket).export(HOUR)
    assert bucket.calls == []
    destination.run("b", "backfill")
    destination.assert_consistent()
    assert destination.all_ids() == IDS


def test_objects_without_a_marker_are_a_broken_run(make):
    destination = make(start=HOUR)
    destination.client.put_object(
        Bucket=destination.bucket, Key=f"{stem_of(destination)}#5.json.gz", Body=b""
    )
    destination.run("s", "scheduled")
    destination.assert_consistent()


@on_both_stores
def test_a_store_that_takes_no_empty_part_gets_a_marker_by_conditional_put(store, make):
    client, _ = store
    other = boto3.session.Session().client(
        "s3",
        endpoint_url=client.meta.endpoint_url,
        aws_access_key_id=client._get_credentials().access_key,
        aws_secret_access_key=client._get_credentials().secret_key,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )

    def refuse_empty_part(request, **_):
        from botocore.awsrequest import AWSResponse

        if request.headers.get("Content-Length") in ("0", b"0"):
            body = b"<Error><Code>EntityTooSmall</Code><Message>no empty part</Message></Error>"

            class Raw:
                def stream(self, **_):
                    yield body

            return AWSResponse(request.url, 400, {"Content-Type": "application/xml"}, Raw())
        return None

    other.meta.events.register("before-send.s3.UploadPart", refuse_empty_part)
    destination = make()
    destination.client = other
    destination.run("r/1 ü")
    destination.assert_consistent()
    assert destination.body(f"{stem_of(destination)}_complete") == b"r%2F1%20%C3%BC"
    destination.add_events(["late"])
    destination.run("second")
    destination.assert_consistent()
    assert destination.body(f"{stem_of(destination)}_complete") == b"second"


def test_a_crash_between_the_marker_and_the_ledger_is_recorded_by_the_retry(destination, monkeypatch):
    destination.exporter("second").export(HOUR)
    with monkeypatch.context() as patch:
        patch.setattr(exported, "publish", lambda *args: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            destination.publish("second", hour=HOUR)
    assert destination.record().state == "unpublished"
    before = destination.listing()
    destination.publish("second", hour=HOUR)
    destination.assert_consistent()
    assert destination.listing() == before

"""The cohort DAGs as Airflow runs them: each cadence, to S3 and Kinesis, beside syncs that fail or wait."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from cohort_config import PROJECT, write_cohort, write_cohort_config
from cohort_consumer import FilesConsumer, StreamConsumer
from dag_runs import DagRuns
from lake_staging import stage
from sqlalchemy.engine import make_url

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.integration

FILE = "cohort_sync.py"
TEN = datetime(2013, 1, 2, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
Seen = Callable[..., None]


@pytest.fixture
def folder(
    tmp_path: Path,
    bucket: str,
    stream: str,
    monkeypatch: pytest.MonkeyPatch,
    airflow_db: str,
    airflow_connections: dict[str, str],
) -> Iterator[Path]:
    """A configuration with two destinations and no cohort yet; the lake is a folder."""
    from airflow import settings

    folder = tmp_path / "config"
    write_cohort_config(folder, lake=str(tmp_path / "lake"), bucket=bucket, stream=stream)
    monkeypatch.setenv("SLUICE_CONFIG", str(folder))
    yield folder
    # The database server may end before this process does.
    settings.Session.remove()


@pytest.fixture
def kinesis(moto_endpoint: str) -> Any:
    return boto3.client(
        "kinesis",
        region_name="us-east-1",
        endpoint_url=moto_endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="testing",
    )


@pytest.fixture
def stream(kinesis: Any) -> Iterator[str]:
    name = "people-" + datetime.now(UTC).strftime("%H%M%S%f")
    kinesis.create_stream(StreamName=name, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    yield name
    kinesis.delete_stream(StreamName=name)


@pytest.fixture
def seen(folder: Path) -> Seen:
    """Load an event of each of some users at a time."""
    from sluice.lake import LoadRequest, load
    from sluice_airflow.hooks.sluice import SluiceHook

    def seen(at: datetime, *users: str) -> None:
        hook = SluiceHook()
        file = stage(
            hook.lake,
            f"{at.isoformat()}.csv",
            [f"{user}-{at:%H%M}" for user in users],
            user=lambda id: id.partition("-")[0],
            at=lambda _: at,
        )
        load(hook.lake, hook.ledger, LoadRequest(PROJECT, "test", [file], upload_time="event_time"))

    return seen


@pytest.fixture
def audience(s3: S3Client, bucket: str) -> Callable[[str], set[str]]:
    """Return who is in a cohort for a reader of the bucket."""
    consumer = FilesConsumer(s3, bucket, "audiences/")

    def audience(cohort: str) -> set[str]:
        consumer.poll()
        found = consumer.audiences[str(PROJECT), cohort, None]
        assert found.differences == []
        return {user for _, user in found.members}

    return audience


def files(s3: S3Client, bucket: str) -> dict[str, Any]:
    """Return the bucket's files with the time at which each was written."""
    found = s3.list_objects_v2(Bucket=bucket, Prefix="audiences/").get("Contents", [])
    return {item["Key"].rpartition("/")[2]: (item["ETag"], item["LastModified"]) for item in found}


def asset_events(name: str) -> list[dict[str, Any]]:
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = session.execute(
            select(AssetEvent.extra)
            .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
            .where(AssetModel.name == name)
            .order_by(AssetEvent.id)
        )
        return [row.extra for row in rows]


def hourly(id: str, destination: str = "crm", **keys: Any) -> dict[str, Any]:
    return {"id": id, "destination": destination, "cadence": "hourly", **keys}


def test_one_sync_fails_and_the_others_go_on_to_the_bucket_and_to_the_stream(
    folder: Path, seen: Seen, audience: Any, kinesis: Any, stream: str
) -> None:
    write_cohort(folder, "recent", hourly("recent_crm"), hourly("recent_push", "push"))
    broken = "SELECT amplitude_id, user_id FROM events WHERE user_id::INT > 0 AND server_upload_time < $as_of"
    write_cohort(folder, "broken", hourly("broken_crm"), sql=broken)
    seen(TEN - HOUR, "ann", "bob")
    runs = DagRuns(FILE, "cohort_sync_hourly")

    first = runs.run(TEN)
    assert runs.states(first) == {
        "recent_crm.fix_sync": "success",
        "recent_crm.check_quality": "success",
        "recent_crm.deliver_sync": "success",
        "recent_push.fix_sync": "success",
        "recent_push.check_quality": "success",
        "recent_push.deliver_sync": "success",
        "broken_crm.fix_sync": "failed",
        "broken_crm.check_quality": "upstream_failed",
        "broken_crm.deliver_sync": "upstream_failed",
        "cohort_sync_hourly": "failed",
    }
    assert runs.note(first).splitlines() == [
        "broken_crm: fix_sync failed (CohortQueryError).",
        "recent_crm: 2 members, 2 entered and 0 left.",
        "recent_push: 2 members, 2 entered and 0 left.",
    ]
    assert audience("recent") == {"ann", "bob"}
    consumer = StreamConsumer(kinesis, stream)
    consumer.poll()
    assert consumer.members("recent") == {"ann", "bob"}
    # Ids and counts, and nobody's name.
    returned = runs.returned(first, "recent_push.deliver_sync")
    assert {
        "turn": 1,
        "kind": "regular",
        "existing": 2,
        "entering": 2,
        "exiting": 0,
    }.items() <= returned.items()
    assert "ann" not in json.dumps(returned)

    seen(TEN + HOUR / 2, "cyd")
    day = runs.run(TEN + 24 * HOUR)
    assert audience("recent") == {"cyd"}
    consumer.poll()
    assert consumer.members("recent") == {"cyd"}
    assert runs.note(day).splitlines()[1] == "recent_crm: 1 members, 1 entered and 2 left."
    events = asset_events("cohort_sync_recent_crm")
    assert [(event["turn"], event["existing"]) for event in events] == [(1, 2), (2, 1)]


def test_a_sync_beyond_its_limits_waits_alone_until_a_person_answers_or_nobody_does(
    folder: Path, seen: Seen, audience: Any, s3: S3Client, bucket: str
) -> None:
    write_cohort(folder, "guarded", hourly("guarded_crm", max_exit_share=0.5, approval_hours=2))
    write_cohort(folder, "free", hourly("free_crm"))
    seen(TEN - HOUR, "ann", "bob", "`eve`")
    seen(TEN, "dan")
    runs = DagRuns(FILE, "cohort_sync_hourly")
    first = runs.run(TEN + HOUR)
    assert set(runs.states(first).values()) == {"success"}
    assert runs.returned(first, "guarded_crm.approve_sync") == {"approved_by": None}

    # A day after the three came, three of four are out.
    held = runs.run(TEN + 24 * HOUR)
    waiting = {
        "guarded_crm.fix_sync": "success",
        "guarded_crm.check_quality": "success",
        "guarded_crm.approve_sync": "awaiting_input",
        "guarded_crm.deliver_sync": "None",
        "free_crm.fix_sync": "success",
        "free_crm.check_quality": "success",
        "free_crm.deliver_sync": "success",
        "cohort_sync_hourly": "running",
    }
    assert runs.states(held) == waiting
    assert (audience("guarded"), audience("free")) == ({"ann", "bob", "`eve`", "dan"}, {"dan"})
    question = runs.question(held, "guarded_crm.approve_sync")
    assert question.subject == "Send guarded_crm? 3 of 4 leave, 0 enter"
    assert "`` `eve` ``" in question.body
    assert question.options == ["Approve", "Reject"]

    # Its next turn is skipped alone, and says so; the other sync has its own.
    skipped = runs.run(TEN + 25 * HOUR)
    states = runs.states(skipped)
    assert states["guarded_crm.fix_sync"] == states["guarded_crm.deliver_sync"] == "skipped"
    assert states["free_crm.deliver_sync"] == states["cohort_sync_hourly"] == "success"
    assert "guarded_crm: skipped. " in runs.note(skipped)
    assert "approval" in runs.note(skipped)

    # Nobody answers: the task fails, the next turn asks again.
    runs.time_out(held, "guarded_crm.approve_sync")
    states = runs.states(held)
    assert states["guarded_crm.approve_sync"] == "failed"
    assert states["cohort_sync_hourly"] == "failed"
    assert "guarded_crm: Nobody answered within 2 hours" in runs.note(held)
    again = runs.run(TEN + 26 * HOUR, "backfill", syncs=["guarded_crm"])
    assert runs.states(again)["guarded_crm.approve_sync"] == "awaiting_input"

    runs.answer(again, "guarded_crm.approve_sync", "Reject", who="ann")
    states = runs.states(again)
    assert states["guarded_crm.approve_sync"] == states["guarded_crm.deliver_sync"] == "skipped"
    assert states["cohort_sync_hourly"] == "success"
    assert "guarded_crm: ann rejected the sync" in runs.note(again)
    # To clear the rejected task alone changes nothing.
    runs.clear(again, "guarded_crm.approve_sync", "guarded_crm.deliver_sync")
    assert runs.states(again)["guarded_crm.approve_sync"] == "skipped"

    third = runs.run(TEN + 27 * HOUR, "backfill", syncs=["guarded_crm"])
    assert len([name for name in files(s3, bucket) if "_guarded_" in name]) == 3
    runs.answer(third, "guarded_crm.approve_sync", "Approve", who="bob")
    assert runs.states(third)["guarded_crm.deliver_sync"] == "success"
    assert runs.returned(third, "guarded_crm.approve_sync") == {"approved_by": "bob"}
    assert runs.note(third).splitlines()[0] == "guarded_crm: approved by bob."
    assert audience("guarded") == set()


def test_a_backfill_goes_oldest_first_and_what_is_past_moves_no_baseline(
    folder: Path, seen: Seen, audience: Any, kinesis: Any, stream: str, s3: S3Client, bucket: str
) -> None:
    write_cohort(
        folder, "recent", hourly("recent_crm", enabled=False), hourly("recent_push", "push", enabled=False)
    )
    seen(TEN - HOUR, "ann")
    seen(TEN, "bob")
    runs = DagRuns(FILE, "cohort_sync_hourly")
    # Switched off: the schedule leaves them alone, the backfill does not.
    live = runs.run(datetime(2026, 1, 1, tzinfo=UTC))
    assert set(runs.states(live).values()) == {"skipped", "success"}
    one, two = (runs.run(TEN + n * HOUR, "backfill") for n in range(2))
    assert set(runs.states(one).values()) | set(runs.states(two).values()) == {"success"}
    assert audience("recent") == {"ann", "bob"}
    before = files(s3, bucket)
    stem = f"{PROJECT}_recent_2013-01-02T"
    assert sorted(before) == [
        f"{stem}{hour}-00_{difftype}.csv"
        for hour in (10, 11)
        for difftype in ("entering", "existing", "exiting")
    ]
    consumer = StreamConsumer(kinesis, stream)
    consumer.poll()
    sent = len(consumer.messages)

    # Again: the same bytes under the same names and ids.
    runs.clear(one)
    assert set(runs.states(one).values()) == {"success"}
    after = files(s3, bucket)
    assert {name: etag for name, (etag, _) in after.items()} == {
        name: etag for name, (etag, _) in before.items()
    }
    consumer.poll()
    assert (len(consumer.messages), consumer.repeated) == (sent, 1)
    assert "Sent again." in runs.note(one)

    # An hour before them, which was never sent: the full list alone, and nothing for the stream.
    older = runs.run(TEN - HOUR, "backfill")
    assert runs.states(older) == {
        "recent_crm.fix_sync": "success",
        "recent_crm.check_quality": "success",
        "recent_crm.deliver_sync": "success",
        "recent_push.fix_sync": "failed",
        "recent_push.check_quality": "upstream_failed",
        "recent_push.deliver_sync": "upstream_failed",
        "cohort_sync_hourly": "failed",
    }
    assert set(files(s3, bucket)) - set(after) == {f"{PROJECT}_recent_2013-01-02T09-00_existing.csv"}

    # Only one of them, and as of now.
    by_hand = runs.run(syncs=["recent_crm"])
    states = runs.states(by_hand)
    assert (states["recent_crm.deliver_sync"], states["recent_push.fix_sync"]) == ("success", "skipped")
    assert runs.returned(by_hand, "recent_crm.deliver_sync")["as_of"] > "2026"
    assert audience("recent") == set()


def test_a_turn_of_a_sync_that_is_under_way_is_skipped_and_a_retry_sends_the_same_bytes(
    folder: Path, seen: Seen, audience: Any, s3: S3Client, bucket: str
) -> None:
    write_cohort(folder, "recent", hourly("recent_crm"))
    seen(TEN - HOUR, "ann")
    runs = DagRuns(FILE, "cohort_sync_hourly")
    slow = runs.start(TEN)
    runs.advance(slow, only="recent_crm.fix_sync")
    seen(TEN, "bob")
    skipped = runs.run(TEN + HOUR)
    assert runs.states(skipped) == {
        "recent_crm.fix_sync": "skipped",
        "recent_crm.check_quality": "skipped",
        "recent_crm.deliver_sync": "skipped",
        "cohort_sync_hourly": "success",
    }
    assert "is still working on" in runs.note(skipped)
    runs.advance(slow)
    assert runs.states(slow)["cohort_sync_hourly"] == "success"
    assert audience("recent") == {"ann"}

    # The bucket refuses: red, and free for others; cleared, it goes on with what was fixed.
    refusal = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    policy = {"Version": "2012-10-17", "Statement": [refusal]}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    refused = runs.run(TEN + 2 * HOUR)
    assert runs.states(refused)["recent_crm.deliver_sync"] == "up_for_retry"
    s3.delete_bucket_policy(Bucket=bucket)
    runs.clear(refused, "recent_crm.fix_sync", "recent_crm.deliver_sync")
    assert set(runs.states(refused).values()) == {"success"}
    assert runs.returned(refused, "recent_crm.deliver_sync")["turn"] == 2
    assert audience("recent") == {"ann", "bob"}


def test_every_other_cadence_and_a_cohort_of_another_database(
    folder: Path,
    seen: Seen,
    audience: Any,
    kinesis: Any,
    stream: str,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = make_url(postgres_url)
    extra = {"host": url.query["host"]} | {key: str(url.query[key]) for key in url.query}
    warehouse = {"conn_type": "postgres", "login": url.username, "schema": url.database, "extra": {}}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(warehouse | {"host": extra["host"]}))
    write_cohort(
        folder,
        "vips",
        {"id": "vips_crm", "destination": "crm", "cadence": "daily"},
        sql="SELECT 100 + n AS amplitude_id, 'vip' || n AS user_id FROM generate_series(1, 3) AS n",
        connection="warehouse",
    )
    write_cohort(
        folder,
        "recent",
        {"id": "recent_push", "destination": "push", "cadence": "real_time"},
        {"id": "recent_crm", "destination": "crm", "cadence": "one_time"},
    )
    daily = DagRuns(FILE, "cohort_sync_daily")
    run = daily.run(TEN.replace(hour=0))
    assert set(daily.states(run).values()) == {"success"}
    assert audience("vips") == {"vip1", "vip2", "vip3"}

    seen(TEN - HOUR, "ann", "bob")
    minutes = DagRuns(FILE, "cohort_sync_real_time")
    for minute in range(2):
        run = minutes.run(TEN + minute * timedelta(minutes=1))
        assert set(minutes.states(run).values()) == {"success"}
    consumer = StreamConsumer(kinesis, stream)
    consumer.poll()
    assert consumer.members("recent") == {"ann", "bob"}
    assert len(consumer.messages) == 1

    once = DagRuns(FILE, "cohort_sync_once")
    now = datetime.now(UTC)
    run = once.run(sync="recent_crm")
    assert once.states(run) == {
        "fix_sync": "success",
        "check_quality": "success",
        "approve_sync": "success",
        "deliver_sync": "success",
        "cohort_sync_once": "success",
    }
    as_of = datetime.fromisoformat(once.returned(run, "deliver_sync")["as_of"])
    assert now <= as_of <= datetime.now(UTC)
    assert audience("recent") == set()
    assert [event["existing"] for event in asset_events("cohort_sync_recent_crm")][-1:] == [0]

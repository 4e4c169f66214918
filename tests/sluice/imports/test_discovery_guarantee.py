"""The guarantee: whatever arrives, in whatever order and however late, the next sweep has seen it, once.

Objects of any name and any LastModified arrive between polls; notifications are lost, doubled and reordered.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import boto3
import pytest
from fresh import fresh_lake, fresh_ledger
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws
from moto.s3.models import s3_backends
from sqlalchemy import update

from sluice.access.queues import SqsQueue
from sluice.access.storage import S3Store
from sluice.config import ImportConfig
from sluice.errors import TransientError
from sluice.imports import discovery as discovery_module
from sluice.imports import inbox as inbox_module
from sluice.imports.discovery import discover
from sluice.imports.inbox import Inbox
from sluice.imports.messages import Message
from sluice.imports.session import ImportRun
from sluice.lake import Lake
from sluice.ledger import Ledger, files
from sluice.ledger import tables as ledger_tables

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "customer"
ACCOUNT = "123456789012"
LAYOUT = "{yyyy}/{MM}/{dd}/{HH}/"
CONVERTER = {
    "converterConfig": {"fileType": "json", "compressionType": "none", "convertToAmplitudeFunc": {}},
    "keyValidatorConfig": {"filterPattern": r"(?s).*"},
}

# Names that a URL, a glob or a sorted listing might trip over (one that ends in a slash is a folder's
# placeholder); hours before now whose folder an object is in.
NAMES = st.text(st.sampled_from("aZ0_#+%& é/~"), max_size=6).map(lambda name: f"{name}x")
AGES = st.none() | st.integers(-3, 12)
ARRIVAL = st.tuples(st.just("put"), NAMES, AGES, st.integers(-1000, 1000), st.integers(0, 2))
STEPS = st.lists(ARRIVAL | st.tuples(st.just("poll")) | st.tuples(st.just("sweep")), max_size=10)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "_WAIT_SECONDS", 0)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A lake and a ledger: each example is a source of its own in them."""
    folder = tmp_path_factory.mktemp("guarantee")
    converter = folder / "converter.json"
    converter.write_text(json.dumps(CONVERTER))
    lake = fresh_lake(folder / "lake")
    session = boto3.Session("emulated", "emulated", region_name="us-east-1")
    return Home(lake, fresh_ledger(folder / "ledger.db"), converter, session)


@pytest.mark.parametrize("discovery", ["scan", "layout", "notifications"])
@settings(max_examples=6, deadline=None)
@given(steps=STEPS)
def test_nothing_is_missed_after_a_sweep_and_nothing_taken_twice(
    home: Home, discovery: str, steps: list[Any]
) -> None:
    with mock_aws():
        bucket = Bucket(home, discovery)
        for step in steps:
            if step[0] == "put":
                bucket.put(*step[1:])
            else:
                bucket.poll(sweep=step[0] == "sweep")
        bucket.poll(sweep=True)
        assert bucket.taken == Counter(bucket.keys)
        bucket.poll(sweep=True)
        assert bucket.taken == Counter(bucket.keys)


@dataclass(frozen=True)
class OneClient(S3Store):
    """A store whose client is made once, not by each of hundreds of polls."""

    @cached_property
    def _client(self) -> S3Client:
        return super().client()

    def client(self) -> S3Client:
        return self._client


@dataclass
class Home:
    lake: Lake
    ledger: Ledger
    converter: Path
    # One for all examples: a session reads botocore's models anew.
    session: boto3.Session
    sources: int = 0

    def __post_init__(self) -> None:
        self.store = OneClient(self.session)
        self.sqs = self.session.client("sqs")


class Bucket:
    """A customer's bucket, and everything that was ever taken from it."""

    def __init__(self, home: Home, discovery: str) -> None:
        self.s3 = home.store.client()
        self.s3.create_bucket(Bucket=BUCKET)
        url = home.sqs.create_queue(QueueName="files")["QueueUrl"]
        self.queue = SqsQueue(url, "us-east-1", home.session)
        home.sources += 1
        source = _source(f"source_{home.sources}", discovery, url)
        self.run = ImportRun(source, "run", home.store, home.lake, home.ledger, home.converter)
        self.keys: set[str] = set()
        self.taken: Counter[str] = Counter()
        self.pending: list[Message] = []

    def put(self, name: str, age: int | None, modified: int, notified: int) -> None:
        now = datetime.now(UTC)
        place = "" if age is None else f"{now - timedelta(hours=age):%Y/%m/%d/%H}/"
        key = f"in/{place}{name}"
        if key in self.keys:
            return
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=b"1")
        stored = s3_backends[ACCOUNT]["aws"].get_object(BUCKET, key)
        stored.last_modified = now.replace(tzinfo=None) + timedelta(minutes=modified)
        self.keys.add(key)
        named = {"bucket": {"name": BUCKET}, "object": {"key": quote_plus(key)}}
        record = {"eventName": "ObjectCreated:Put", "s3": named}
        self.pending[:0] = [Message(json.dumps({"Records": [record]}))] * notified

    def poll(self, *, sweep: bool) -> None:
        inbox = Inbox(self.queue, self.pending) if self.run.source.queue else None
        new = discover(self.run, inbox, sweep=sweep).new
        self.pending = []
        waiting = list(files.waiting(self.run.ledger, self.run.source.id))
        assert len(waiting) == new
        for file in waiting:
            self.taken[file.key] += 1
            self._finish(file.key)

    def _finish(self, key: str) -> None:
        with self.run.ledger.begin() as connection:
            table = ledger_tables.files
            connection.execute(
                update(table)
                .where(table.c.source == self.run.source.id, table.c.key == key)
                .values(state="done")
            )


def _source(id: str, discovery: str, url: str) -> ImportConfig:
    ways = {
        "scan": {},
        "layout": {"layout": LAYOUT, "recent_hours": 4},
        "notifications": {"discovery": "notifications", "queue": url},
    }
    return ImportConfig.model_validate(
        {
            "id": id,
            "name": "Small files",
            "owner": "data@example.com",
            "project": 1,
            "bucket": BUCKET,
            "prefix": "in/",
            "region": "us-east-1",
            "account": "own",
            "converter": "converter.json",
            "size_policy": "ignore",
            **ways[discovery],
        }
    )


def test_between_sweeps_a_poll_lists_the_recent_folders_only(home: Home) -> None:
    with mock_aws():
        bucket = Bucket(home, "layout")
        bucket.poll(sweep=False)  # the first of all lists everything
        bucket.put("recent", 4, 0, 0)
        bucket.put("late", 8, 0, 0)
        bucket.put("astray", None, 0, 0)
        bucket.poll(sweep=False)
        assert [key.rpartition("/")[2] for key in bucket.taken] == ["recent"]
        bucket.poll(sweep=True)
        assert bucket.taken == Counter(bucket.keys)


def test_between_sweeps_a_poll_looks_only_at_what_was_notified(home: Home) -> None:
    with mock_aws():
        bucket = Bucket(home, "notifications")
        bucket.poll(sweep=False)
        bucket.put("told#twice +", None, 0, 2)
        bucket.put("untold", None, 0, 0)
        bucket.poll(sweep=False)
        assert list(bucket.taken) == ["in/told#twice +"]
        bucket.poll(sweep=True)
        assert bucket.taken == Counter(bucket.keys)


def test_a_sweep_that_failed_is_made_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(*arguments: Any) -> Iterator[Any]:
        yield from ()
        raise TransientError("the connection broke")

    with mock_aws():
        bucket = Bucket(home, "layout")
        bucket.put("late", 8, 0, 0)
        with monkeypatch.context() as patch, pytest.raises(TransientError):
            patch.setattr(discovery_module, "list_objects", stops)
            bucket.poll(sweep=False)
        bucket.poll(sweep=False)
        assert bucket.taken == Counter(bucket.keys)

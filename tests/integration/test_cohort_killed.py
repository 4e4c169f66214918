"""Processes killed while they fix or send a turn, on real servers: consumers end with the members."""

from __future__ import annotations

import signal
import uuid
from pathlib import Path
from typing import Any

import boto3
import pytest
from cohort_consumer import FilesConsumer, StreamConsumer
from cohort_worker import Ends, Work

from sluice.access.storage import S3Store
from sluice.cohorts.clean import clean
from sluice.cohorts.staging import remove
from sluice.ledger import syncs

pytestmark = pytest.mark.integration

# How a try ends: none at all, or killed at one of its steps.
STAGING = ("sluice.cohorts.fix:upload", "before", 1)
FIXED = ("sluice.ledger.syncs:fix", "after", 1)
CHECKED = ("sluice.ledger.quality:record", "after", 1)
PASSED = ("sluice.ledger.syncs:pass_gate", "after", 1)
SENT = {
    "s3": ("sluice.cohorts.deliver_files:_Bucket.put", "after", 2),
    "kinesis": ("sluice.cohorts.deliver_messages:_Courier._put", "after", 1),
}
ALL_SENT = ("sluice.ledger.syncs:finish", "before", 1)

FIRST = [(1, "ann"), (2, "bob"), (3, None), (4, "dan")]
SECOND = [(1, "ann"), (5, "eva"), (6, "fay"), (7, "gus")]


@pytest.fixture
def ends(s3_access: Any, s3_store: S3Store, bucket: str, moto_endpoint: str, tmp_path: Path) -> Ends:
    stream = f"people-{uuid.uuid4().hex[:12]}"
    ends = Ends(
        f"s3://{bucket}/lake",
        s3_store.delta_options(),
        f"sqlite:///{tmp_path}/ledger.db",
        {
            "aws_access_key_id": s3_access.access_key,
            "aws_secret_access_key": s3_access.secret_key,
            "endpoint_url": s3_access.endpoint_url,
            "region_name": s3_access.region,
        },
        bucket,
        moto_endpoint,
        stream,
    )
    _kinesis(ends).create_stream(StreamName=stream, ShardCount=1)
    _kinesis(ends).get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1})
    return ends


def _kinesis(ends: Ends) -> Any:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    return boto3.client("kinesis", endpoint_url=ends.kinesis, **keys)


@pytest.mark.parametrize("kind", ["s3", "kinesis"])
def test_a_killed_process_harms_nobody(ends: Ends, kind: str) -> None:
    there = ends.open()
    # The first turn is killed everywhere, and each time tried again: one turn, sent once.
    for die in (STAGING, FIXED, CHECKED, PASSED, SENT[kind], ALL_SENT):
        assert Work(kind, 1, "first", FIRST, die).start(ends) == -signal.SIGKILL
    assert Work(kind, 1, "first", FIRST).start(ends) == 0
    (turn,) = syncs.turns(there.ledger)
    assert (turn.state, turn.counts["entering"]) == ("delivered", 4)
    # The second is given up when a part of it has left; the third finds other members.
    assert Work(kind, 2, "second", SECOND, SENT[kind]).start(ends) == -signal.SIGKILL
    there.end_claims()
    assert Work(kind, 3, "third", FIRST[:3]).start(ends) == 0
    if kind == "s3":
        files = FilesConsumer(there.bucket, ends.bucket, "cohorts/")
        files.poll()
        (audience,) = files.audiences.values()
        assert audience.members == audience.existing == {("1", "ann"), ("2", "bob"), ("3", "")}
        assert audience.differences == []
    else:
        messages = StreamConsumer(_kinesis(ends), ends.stream)
        messages.poll()
        assert messages.members("vips") == {"ann", "bob"}
    assert [turn.state for turn in syncs.turns(there.ledger)] == ["delivered", "superseded", "delivered"]
    # What the killed tries left behind is not old enough to be taken away.
    assert clean(_NoSyncs, there.lake, there.ledger).folders == 0  # type: ignore[arg-type]
    turns = syncs.turns(there.ledger)
    remove(there.lake, turns[1], [file.name for file in turns[1].files])
    listed = there.bucket.list_objects_v2(Bucket=ends.bucket, Prefix="lake/_syncs/")["Contents"]
    folders = {entry["Key"].split("/")[3] for entry in listed}
    assert {turn.folder.split("/")[2] in folders for turn in (turns[0], turns[2])} == {True}
    assert turns[1].folder.split("/")[2] not in folders


class _NoSyncs:
    syncs = ()

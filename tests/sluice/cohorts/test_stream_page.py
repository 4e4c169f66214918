"""The page on the stream: its example is a message, and its consumer ends with the cohort's members."""

import json
import random
import re
import uuid
from pathlib import Path

import boto3
import pytest
from streaming import REGION, Folder, Turn, kinesis_sync, message_lines, reach, users_messages, value_lists

from sluice.cohorts.deliver_messages import deliver_messages
from sluice.cohorts.messages import write_messages

PAGE = Path(__file__).parents[3] / "docs" / "cohorts.md"


def code(language: str, containing: str) -> str:
    """Return the page's code block of a language that has a text."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (found,) = [block for block in blocks if containing in block]
    return found


def consumer():
    """Run the page's consumer, as a module."""
    names = {"__name__": "consumer"}
    exec(compile(code("python", "def apply"), str(PAGE), "exec"), names)
    return names


def test_the_example_is_what_is_written(tmp_path):
    example = code("json", '"message_id"').strip()
    said = json.loads(example)
    sync = kinesis_sync(cohort_id=said["cohort_id"], cohort_name=said["cohort_name"], properties=["carrier"])
    users = said["users"]
    lists = value_lists(
        tmp_path,
        {
            "value": [user["user_id"] for user in users],
            "carrier": [user["user_properties"]["carrier"] for user in users],
        },
        {},
    )
    write_messages(lists, sync, sync.destination, Turn(int(said["computed_time"])), tmp_path)
    (line,) = message_lines(tmp_path)
    written = json.loads(line)["message_id"].partition("::")[0]
    assert line.decode() == example.replace(said["message_id"].partition("::")[0], written)


@pytest.mark.integration
def test_the_consumer_reads_the_shards(moto_endpoint, tmp_path):
    session = boto3.Session("testing", "testing", region_name=REGION)
    kinesis = session.client("kinesis", endpoint_url=moto_endpoint)
    stream = f"audiences-{uuid.uuid4().hex[:12]}"
    kinesis.create_stream(StreamName=stream, ShardCount=3)
    sync = kinesis_sync(stream, max_users=3)
    for n, (entering, exiting) in enumerate([(["a", "b", "c", "d"], []), (["e"], ["a"])]):
        file = users_messages(tmp_path, sync, entering, exiting, Turn(100 + n)).file
        deliver_messages(
            file, Folder(tmp_path), reach(stream, moto_endpoint), sync.destination, budget_seconds=30
        )
    names = consumer()
    names["read"](stream, kinesis)
    names["read"](stream, kinesis)
    assert names["members"]("gs72ns") == {"b", "c", "d", "e"}
    kinesis.delete_stream(StreamName=stream)


def test_the_consumer_needs_no_order(tmp_path):
    sync = kinesis_sync(max_users=2)
    turns = [(["a", "b", "c"], []), (["d"], ["a", "c"]), (["a"], ["b"]), (["c"], [])]
    lines = []
    for n, (entering, exiting) in enumerate(turns):
        # Numbers of different lengths: as texts they would sort otherwise.
        users_messages(tmp_path, sync, entering, exiting, Turn(98 + n))
        lines += message_lines(tmp_path)
    for seed in range(20):
        some = lines + random.Random(seed).sample(lines, 3)
        random.Random(seed).shuffle(some)
        names = consumer()
        for line in some:
            names["apply"](line)
        assert names["members"]("gs72ns") == {"a", "c", "d"}

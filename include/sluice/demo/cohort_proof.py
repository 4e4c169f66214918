"""Proves what the demo's cohort syncs sent, from the bucket's files and the stream's records alone.

What was found is compared with the raw file of the flights; nothing of the sync's code has a part in it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sluice.demo.departures import Departures

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# What a consumer knows: the vendor's form of a name, and the ids and the routing key of the configuration.
KEY = "cohorts/187520_delayed_{as_of:%Y-%m-%dT%H-%M}_{difftype}_crm.csv"
DIFFTYPES = ("exiting", "entering", "existing")
COHORT_ID = "busy"

# A row of a file: amplitudeID and userID.
Member = tuple[str, str]


@dataclass(frozen=True)
class Flow:
    """How many members there are as of an hour, how many of them came, and how many left."""

    members: int
    entering: int
    exiting: int


@dataclass
class CohortProof:
    """What the files or the messages say of each hour, and what is wrong, each as one sentence."""

    flows: dict[datetime, Flow] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    # Files of the last hour in which somebody came and somebody left, by key; or the shortest message.
    sample: dict[str, str] = field(default_factory=dict)
    # How many files or different messages there are, and how many bytes they have.
    count: int = 0
    bytes: int = 0

    def require(self, holds: bool, as_of: datetime, problem: str) -> None:
        """Note what is wrong as of an hour, unless something holds."""
        if not holds:
            self.problems.append(f"As of {as_of:%Y-%m-%d %H:%M} {problem}")


def prove_files(
    client: S3Client, bucket: str, hours: Sequence[datetime], departures: Departures
) -> CohortProof:
    """Apply the files of each hour to those of the hour before, and compare with who is delayed."""
    proof = CohortProof()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    sizes = {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", ())}
    proof.count, proof.bytes = len(sizes), sum(sizes.values())
    members: set[Member] = set()
    delayed: set[str] = set()
    for as_of in hours:
        keys = [KEY.format(as_of=as_of, difftype=difftype) for difftype in DIFFTYPES]
        missing = [key for key in keys if sizes.pop(key, None) is None]
        if missing:
            proof.require(False, as_of, f"there is no {', '.join(missing)}")
            continue
        texts = {key: _text(client, bucket, key) for key in keys}
        exiting, entering, existing = (_rows(proof, as_of, key, texts[key]) for key in keys)
        members = (members | entering) - exiting
        proof.require(existing == members, as_of, "`existing` is not what `entering` and `exiting` make")
        before, delayed = delayed, departures.delayed(as_of)
        for found, expected, name in (
            (existing, delayed, "existing"),
            (entering, delayed - before, "entering"),
            (exiting, before - delayed, "exiting"),
        ):
            users = sorted(user_id for _, user_id in found)
            proof.require(users == sorted(expected), as_of, f"`{name}` is not what the flights say")
        proof.flows[as_of] = Flow(len(existing), len(entering), len(exiting))
        if (entering and exiting) or not proof.sample:
            proof.sample = texts
    proof.problems += [f"There is {key}, of no hour that was synced" for key in sizes]
    return proof


def prove_messages(
    records: Collection[bytes], hours: Sequence[datetime], departures: Departures
) -> CohortProof:
    """Apply the messages in the order of `computed_time`, and compare each state with who is busy.

    An hour in which nobody comes or leaves has no message.
    """
    proof = CohortProof()
    different: dict[str, bytes] = {}
    for record in records:
        message_id = json.loads(record)["message_id"]
        if different.setdefault(message_id, record) != record:
            proof.problems.append(f"The message {message_id} came with two contents")
    messages = [json.loads(record) for record in different.values()]
    turns = _turns(messages)
    members: set[str] = set()
    busy: dict[str, str] = {}
    for as_of in hours:
        before, busy = busy, departures.busy(as_of)
        entering: dict[str, Any] = {}
        exiting: set[str] = set()
        if turns and busy.keys() != before.keys():
            entering, exiting = turns.pop(0)
        members = (members | entering.keys()) - exiting
        expected = {user: {"carrier": busy[user]} for user in busy.keys() - before.keys()}
        proof.require(members == busy.keys(), as_of, "the messages do not make what the flights say")
        proof.require(entering == expected, as_of, "other users or properties came than the flights say")
        proof.require(exiting == before.keys() - busy.keys(), as_of, "other users left than the flights say")
        proof.flows[as_of] = Flow(len(members), len(entering), len(exiting))
    if turns:
        proof.problems.append(f"There are messages of {len(turns)} turns more than anything changed")
    proof.count, proof.bytes = len(different), sum(map(len, different.values()))
    came = [different[message["message_id"]] for message in messages if message["in_cohort"]]
    proof.sample = {"message": min(came, key=len).decode()} if came else {}
    return proof


def read_stream(client: Any, stream: str) -> list[bytes]:
    """Read the data of all records of a stream, shard by shard."""
    records = []
    for shard in client.list_shards(StreamName=stream)["Shards"]:
        iterator = client.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while iterator:
            answer = client.get_records(ShardIterator=iterator)
            records += [record["Data"] for record in answer["Records"]]
            at_the_end = not answer["Records"] and not answer["MillisBehindLatest"]
            iterator = None if at_the_end else answer.get("NextShardIterator")
    return records


def _turns(messages: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], set[str]]]:
    """Return who entered, with their properties, and who left at each `computed_time`, in its order."""
    turns: dict[int, tuple[dict[str, Any], set[str]]] = {}
    for message in messages:
        if message["cohort_id"] != COHORT_ID:
            continue
        entering, exiting = turns.setdefault(int(message["computed_time"]), ({}, set()))
        for user in message["users"]:
            if message["in_cohort"]:
                entering[user["user_id"]] = user.get("user_properties")
            else:
                exiting.add(user["user_id"])
    return [turns[computed_time] for computed_time in sorted(turns)]


def _text(client: S3Client, bucket: str, key: str) -> str:
    return client.get_object(Bucket=bucket, Key=key)["Body"].read().decode()


def _rows(proof: CohortProof, as_of: datetime, key: str, text: str) -> set[Member]:
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    proof.require(header == ["amplitudeID", "userID"], as_of, f"{key} has another header: {header}")
    members = {(row[0], row[1]) for row in rows}
    proof.require(len(members) == len(rows), as_of, f"{key} has a member twice")
    return members

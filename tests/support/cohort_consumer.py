"""Two consumers of cohort syncs that know nothing but the public format: CSV files in a bucket, a stream.

They import nothing of Sluice on purpose: what they end with is what a customer's system would end with.
Either may be asked to look (`poll`) at any time, as often as wanted, and takes in what is new.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass, field
from typing import Any

# A member in a file: amplitudeID and userID, the latter empty where there is none.
Member = tuple[str, str]

# projectID_cohortID_<timestamp>_difftype[_routingkey].csv: neither id nor timestamp has an underscore.
_FILE_NAME = re.compile(
    r"(?P<project>\d+)_(?P<cohort>[^_/]+)_(?P<timestamp>[^_/]+)_(?P<difftype>entering|exiting|existing)"
    r"(?:_(?P<routing_key>[^_/]+))?\.csv"
)
# Who leaves comes before who enters; the full list says that both are there.
_ORDER = {"exiting": 0, "entering": 1, "existing": 2}


@dataclass
class Audience:
    """What a consumer of files knows of one cohort: who is in it, and the last full list that it saw."""

    members: set[Member] = field(default_factory=set)
    existing: set[Member] | None = None
    timestamp: str = ""
    # Times at which the changes, applied, gave another set than the full list: (timestamp, more, fewer).
    differences: list[tuple[str, int, int]] = field(default_factory=list)


class FilesConsumer:
    """Applies `exiting` and `entering` of each timestamp, in their order, and compares with `existing`.

    With `patient` it starts on a timestamp when its `existing` is there, which is the commit; without, it
    applies each file as soon as it sees it. `audiences` is by (project, cohort, routing key or None).
    """

    def __init__(self, s3: Any, bucket: str, prefix: str = "", *, patient: bool = True) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._prefix = prefix
        self._patient = patient
        self._taken: set[tuple[str, str]] = set()
        self.audiences: dict[tuple[str, str, str | None], Audience] = {}

    def poll(self) -> None:
        """Take in the files that came since the last look."""
        found: dict[tuple[str, str, str | None], list[tuple[str, str, str, str]]] = {}
        for page in self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix
        ):
            for entry in page.get("Contents", []):
                name = _FILE_NAME.fullmatch(entry["Key"].rpartition("/")[2])
                if name and (entry["Key"], entry["ETag"]) not in self._taken:
                    audience = name["project"], name["cohort"], name["routing_key"]
                    file = name["timestamp"], name["difftype"], entry["Key"], entry["ETag"]
                    found.setdefault(audience, []).append(file)
        for audience, files in found.items():
            self._apply(self.audiences.setdefault(audience, Audience()), files)

    def _apply(self, audience: Audience, files: list[tuple[str, str, str, str]]) -> None:
        complete = {timestamp for timestamp, difftype, *_ in files if difftype == "existing"}
        for timestamp, difftype, key, etag in sorted(files, key=lambda file: (file[0], _ORDER[file[1]])):
            if self._patient and timestamp not in complete:
                continue
            self._taken.add((key, etag))
            if timestamp < audience.timestamp:
                continue  # older than what was applied
            audience.timestamp = timestamp
            rows = self._rows(key)
            if difftype == "exiting":
                audience.members -= rows
            elif difftype == "entering":
                audience.members |= rows
            else:
                audience.existing = rows
                if rows != audience.members:
                    more, fewer = len(audience.members - rows), len(rows - audience.members)
                    audience.differences.append((timestamp, more, fewer))

    def _rows(self, key: str) -> set[Member]:
        text = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read().decode()
        rows = csv.reader(io.StringIO(text, newline=""))
        next(rows)
        return {(row[0], row[1]) for row in rows}


@dataclass
class User:
    """The last that was said of a user: since when (epoch seconds) they are in or out, and what they have."""

    computed_time: int
    is_in: bool
    properties: dict[str, Any]


class StreamConsumer:
    """Applies messages by `computed_time` and drops repeated `message_id`s; order of arrival means nothing.

    `cohorts` is by cohort_id, then user_id. `messages` are all different ones, as they were read, and
    `repeated` says how many came again.
    """

    def __init__(self, kinesis: Any, stream: str) -> None:
        self._kinesis = kinesis
        self._stream = stream
        # Per shard the last sequence number that was read.
        self._positions: dict[str, str] = {}
        self._seen: dict[str, bytes] = {}
        self.cohorts: dict[str, dict[str, User]] = {}
        self.messages: list[dict[str, Any]] = []
        self.repeated = 0

    def members(self, cohort_id: str) -> set[str]:
        """Who is in a cohort, by all that was read."""
        return {user_id for user_id, user in self.cohorts.get(cohort_id, {}).items() if user.is_in}

    def poll(self) -> None:
        """Read every shard to its end."""
        for page in self._kinesis.get_paginator("list_shards").paginate(StreamName=self._stream):
            for shard in page["Shards"]:
                self._read(shard["ShardId"])

    def _read(self, shard: str) -> None:
        position = self._positions.get(shard)
        start = (
            {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": position}
            if position
            else {"ShardIteratorType": "TRIM_HORIZON"}
        )
        answer = self._kinesis.get_shard_iterator(StreamName=self._stream, ShardId=shard, **start)
        iterator = answer["ShardIterator"]
        while iterator:
            answer = self._kinesis.get_records(ShardIterator=iterator)
            for record in answer["Records"]:
                self._positions[shard] = record["SequenceNumber"]
                self.take(record["Data"])
            if not answer["Records"] and not answer.get("MillisBehindLatest"):
                return
            iterator = answer.get("NextShardIterator")

    def take(self, data: bytes) -> None:
        """Apply one message. Raises ValueError where an id comes again with another content."""
        message = json.loads(data)
        known = self._seen.setdefault(message["message_id"], data)
        if known is not data:
            if known != data:
                raise ValueError(f"The message {message['message_id']} came with two contents.")
            self.repeated += 1
            return
        self.messages.append(message)
        computed_time = int(message["computed_time"])
        users = self.cohorts.setdefault(message["cohort_id"], {})
        for user in message["users"]:
            last = users.get(user["user_id"])
            if last is None or computed_time > last.computed_time:
                users[user["user_id"]] = User(
                    computed_time, message["in_cohort"], user.get("user_properties", {})
                )

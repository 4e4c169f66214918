"""Turns of cohort syncs without a lake of events: who is a member is said by the test, the rest is real.

Also a bucket and a stream in memory, that take what the deliveries send and give it to the consumers.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import update

from sluice.access.streams import StreamFacts
from sluice.cohorts.fix import Fixed, fix
from sluice.cohorts.gate import check_turn
from sluice.cohorts.turns import Delivery, deliver
from sluice.config.cohort_destinations import KinesisCohortDestination, S3CohortDestination
from sluice.config.cohorts import CohortConfig, SyncConfig
from sluice.config.syncs import Sync
from sluice.lake import Lake
from sluice.ledger import Ledger
from sluice.ledger.quality import Gate
from sluice.ledger.tables import quality_gates, sync_chains, sync_turns

PROJECT = 187520
START = datetime(2013, 1, 2, tzinfo=UTC)
# A member: amplitude_id and user_id.
Member = tuple[int, str | None]


def hour(number: int) -> datetime:
    """The as-of time of an hourly run."""
    return START + timedelta(hours=number)


def s3_sync(**keys: Any) -> Sync:
    """A sync to a bucket; keys of its destination are given as `destination`."""
    destination = {"bucket": "audiences", "path": "cohorts"} | keys.pop("destination", {})
    return _sync(S3CohortDestination, "s3", "files", keys, destination)


def kinesis_sync(**keys: Any) -> Sync:
    """A sync to a stream; keys of its destination are given as `destination`."""
    destination = {"stream": "people", "max_users": 2, "shards": 1} | keys.pop("destination", {})
    return _sync(KinesisCohortDestination, "kinesis", "stream", keys, destination)


def _sync(model: Any, kind: str, id: str, keys: dict[str, Any], destination: dict[str, Any]) -> Sync:
    owner = "data@example.com"
    facts = {"id": kind, "name": f"The {kind}", "owner": owner, "kind": kind, "projects": [PROJECT]}
    cohort = {"id": "vips", "name": "Our VIPs", "owner": owner, "project": PROJECT, "sql": "SELECT 1"}
    cohort |= keys.pop("cohort", {})
    config = {"id": id, "destination": kind, "cadence": "hourly"} | keys
    return Sync(
        SyncConfig.model_validate(config),
        CohortConfig.model_validate(cohort),
        model.model_validate(facts | destination),
    )


class MemoryBucket:
    """A bucket for small objects; `on_put` is called around each PUT and may raise."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._metadata: dict[str, dict[str, str]] = {}
        self.puts: list[str] = []
        self.on_put: Callable[[], None] = lambda: None

    def put_object(
        self, *, Bucket: str, Key: str, Body: bytes, Metadata: dict[str, str], **_: Any
    ) -> dict[str, str]:
        self.on_put()
        self.objects[Key] = Body
        self._metadata[Key] = Metadata
        self.puts.append(Key)
        self.on_put()
        return {"ETag": "etag"}

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        return {"ContentLength": len(self.objects[Key]), "Metadata": self._metadata[Key]}

    def get_paginator(self, _: str) -> MemoryBucket:
        return self

    def paginate(self, *, Bucket: str, Prefix: str = "") -> Iterable[dict[str, Any]]:
        found = [(key, data) for key, data in sorted(self.objects.items()) if key.startswith(Prefix)]
        return [{"Contents": [{"Key": key, "ETag": hashlib.md5(data).hexdigest()} for key, data in found]}]

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        return {"Body": io.BytesIO(self.objects[Key])}


class MemoryStream:
    """A stream; `on_put` is called before each PutRecords with the number of records, and says how many of
    them it takes; then with -1 after it. It may raise.
    """

    name = "people"

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.on_put: Callable[[int], int] = lambda records: records

    def client(self, timeout_seconds: float = 10.0) -> MemoryStream:
        return self

    def facts(self, client: Any) -> StreamFacts:
        return StreamFacts(1, None)

    def put_records(self, *, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:
        taken = self.on_put(len(Records))
        self.records += [record["Data"] for record in Records[:taken]]
        self.on_put(-1)
        return {
            "Records": [
                {"SequenceNumber": "1"} if place < taken else {"ErrorCode": "InternalFailure"}
                for place in range(len(Records))
            ]
        }


@dataclass
class Syncs:
    """A lake, a ledger and both ends; `members` are what the next fix finds."""

    lake: Lake
    ledger: Ledger
    members: list[Member] = field(default_factory=list)
    properties: dict[str, list[Any]] = field(default_factory=dict)
    bucket: Any = field(default_factory=MemoryBucket)
    stream: Any = field(default_factory=MemoryStream)

    def take_snapshot(
        self, cohort: Any, config: Any, lake: Lake, as_of: datetime, path: Path, **_: Any
    ) -> SimpleNamespace:
        """Stand where the cohort's query is: write the members that the test says."""
        order = sorted(
            range(len(self.members)),
            key=lambda n: (self.members[n][0], self.members[n][1] is None, self.members[n][1] or ""),
        )
        table = pa.table(
            {
                "amplitude_id": pa.array([self.members[n][0] for n in order], pa.int64()),
                "user_id": pa.array([self.members[n][1] for n in order], pa.string()),
            }
            | {name: pa.array([values[n] for n in order]) for name, values in self.properties.items()}
        )
        pq.write_table(table, path)
        return SimpleNamespace(path=path, members=len(order))

    def fix(self, sync: Sync, as_of: datetime, run: str) -> Fixed:
        return fix(sync, None, self.lake, self.ledger, as_of=as_of, run=run)  # type: ignore[arg-type]

    def check(self, sync: Sync, number: int, run: str, **keys: Any) -> Gate | None:
        """Let a fixed turn pass its gate, if it does."""
        return check_turn(sync, self.lake, self.ledger, number=number, run=run, **keys)

    def deliver(self, sync: Sync, number: int, run: str, *, checked: bool = True, **keys: Any) -> Delivery:
        """Deliver a turn; as in a run of the DAG, its gate comes before."""
        if checked:
            self.check(sync, number, run)
        ends = {"client": self.bucket} if sync.destination.kind == "s3" else {"stream": self.stream}
        return deliver(sync, self.lake, self.ledger, number=number, run=run, **ends, **keys)

    def turn(
        self, sync: Sync, as_of: datetime, run: str, members: Iterable[Member] | None = None
    ) -> Delivery:
        """Fix and deliver a turn that nothing comes between."""
        if members is not None:
            self.members = list(members)
        fixed = self.fix(sync, as_of, run)
        assert fixed.turn is not None, fixed.reason
        return self.deliver(sync, fixed.turn.number, run)

    def end_waiting(self) -> None:
        """Let the time be over in which a person may answer, to a gate as well."""
        with self.ledger.begin() as connection:
            connection.execute(update(sync_turns).values(held_until=START, gate_until=START))
            connection.execute(update(quality_gates).values(held_until=START))

    def end_claims(self) -> None:
        """Let the time of every claim be over, as it is when a run has died."""
        with self.ledger.begin() as connection:
            connection.execute(update(sync_chains).values(claimed_until=START))


def staged_rows(lake: Lake, path: str) -> Iterator[dict[str, Any]]:
    """Give the rows of a staged Parquet file."""
    with lake.filesystem().open_input_file(path) as file:
        yield from pq.read_table(file).to_pylist()

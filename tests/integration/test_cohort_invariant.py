"""Invariant 7 on real servers: lake and bucket on SeaweedFS, moto's stream, a ledger in PostgreSQL.

People join and leave by events of the lake, hour by hour; every hour both syncs run against proxies that
break off, lose answers, throttle and refuse records, and some turns are never finished. The consumers know
the public format only.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config as ClientConfig
from cohort_consumer import FilesConsumer, StreamConsumer
from cohort_events import PROJECT, add_events, cohort_of, config_of
from fault_proxy import FaultProxy
from stream_proxy import INTERNAL, THROTTLED, StreamProxy
from streaming import REGION, WaitingTime, reach

from sluice.access.storage import S3Store
from sluice.cohorts.fix import fix
from sluice.cohorts.gate import check_turn
from sluice.cohorts.turns import deliver
from sluice.config.cohort_destinations import KinesisCohortDestination, S3CohortDestination
from sluice.config.syncs import Sync
from sluice.errors import TransientError
from sluice.lake import Lake
from sluice.ledger import Ledger, syncs

START = datetime(2013, 1, 2, tzinfo=UTC)
HOURS, PEOPLE, FIRST_ID = 6, 12, 1 << 40
# A history in which both syncs give turns up after some of them has left.
SEED = 5
# Few, so that people share them (decisions K-15); some have none (K-11).
USER_IDS = ["ann", "bob", 'c"d', "é", None]
SQL = """
SELECT amplitude_id, last.user_id AS user_id
FROM (
  SELECT amplitude_id, arg_max({'user_id': user_id, 'type': event_type}, server_upload_time) AS last
  FROM events
  GROUP BY amplitude_id
)
WHERE last.type = 'joined'
"""
OWNER = {"owner": "data@example.com", "projects": [PROJECT]}


class World:
    """Both syncs with their servers behind proxies, and who the events say is a member."""

    def __init__(self, store: S3Store, bucket: str, stream: str, moto: str, ledger: Ledger) -> None:
        self.dice = random.Random(SEED)
        self.lake = Lake(f"s3://{bucket}/lake", store.delta_options())
        self.lake.create()
        self.ledger = ledger
        files = S3CohortDestination(
            id="files", name="Files", kind="s3", bucket=bucket, path="audiences", **OWNER
        )
        messages = KinesisCohortDestination(
            id="messages", name="Messages", kind="kinesis", stream=stream, max_users=1, **OWNER
        )
        wanted = [
            {"id": f"to_{to.id}", "destination": to.id, "cadence": "hourly"} for to in (files, messages)
        ]
        cohort = cohort_of(id="vips", sql=SQL, syncs=wanted)
        self.config = config_of(cohort)
        self.syncs = [Sync(one, cohort, to) for one, to in zip(cohort.syncs, (files, messages), strict=True)]
        self.members: dict[int, str | None] = {}
        self.next_hour: list[dict[str, Any]] = []
        self.faults: list[object] = []
        self._store = store
        self._stream = stream
        self._moto = moto

    def hour_passes(self, hour: int) -> datetime:
        """Let some join under any id, and some leave; return the hour's end.

        The last of them does so at the end itself, which counts from the next hour on.
        """
        end = START + timedelta(hours=hour + 1)
        moments = [end - timedelta(minutes=self.dice.randrange(1, 59)) for _ in range(4)]
        rows = []
        for person, moment in zip(self.dice.sample(range(PEOPLE), 5), [*moments, end], strict=True):
            event = {
                "amplitude_id": FIRST_ID + person,
                "user_id": self.dice.choice(USER_IDS),
                "event_type": "joined" if self.dice.random() < 0.6 else "left",
                "server_upload_time": moment,
            }
            rows.append(event)
        for event in [*self.next_hour, *rows[:-1]]:
            if event["event_type"] == "joined":
                self.members[event["amplitude_id"]] = event["user_id"]
            else:
                self.members.pop(event["amplitude_id"], None)
        self.next_hour = rows[-1:]
        add_events(self.lake, rows)
        return end

    def run(self, sync: Sync, as_of: datetime, tries: int, faulty: bool) -> bool:
        """Try a turn so often; say whether it came through."""
        name = f"run {as_of}"
        for attempt in range(tries):
            # Of its own: how often a busy machine repeats a request must not change the rest of the history.
            dice = random.Random(f"{SEED} {sync.id} {name} {attempt}") if faulty else None
            fixed = fix(sync, self.config, self.lake, self.ledger, as_of=as_of, run=name)
            assert fixed.turn is not None, fixed.reason
            gate = check_turn(sync, self.lake, self.ledger, number=fixed.turn.number, run=name)
            assert gate is None or gate.state == "passed"
            try:
                if sync.destination.kind == "s3":
                    done = self._deliver_files(sync, fixed.turn.number, name, dice)
                else:
                    done = self._deliver_messages(sync, fixed.turn.number, name, dice)
            except TransientError:
                continue
            assert done.outcome == "delivered", done.reason
            return True
        return False

    def _deliver_files(self, sync: Sync, number: int, run: str, dice: random.Random | None) -> Any:
        # What a PUT comes to: refused, done with its answer lost, or done.
        plan = dice.choices(["reset", "cut", None], [1, 2, 5], k=10) if dice else [None] * 10
        puts = iter(plan)
        with FaultProxy(
            self._store.endpoint_url or "", lambda kind, path, before: next(puts) if kind == "put" else None
        ) as proxy:
            # One attempt: what breaks ends the try, as the end of its process would.
            client = self._store.session.client(
                "s3",
                endpoint_url=proxy.url,
                region_name=self._store.region,
                config=ClientConfig(
                    retries={"total_max_attempts": 1},
                    s3={"addressing_style": "path"},
                    request_checksum_calculation="when_required",
                ),
            )
            try:
                return deliver(sync, self.lake, self.ledger, number=number, run=run, client=client)
            finally:
                self.faults += proxy.faults()

    def _deliver_messages(self, sync: Sync, number: int, run: str, dice: random.Random | None) -> Any:
        dead_from = dice.choice([0, 1, 2, 99, 99]) if dice else 99

        def choose(request: int, ids: list[str]) -> Any:
            if request >= dead_from:
                return "unavailable"
            if dice is None:
                return None
            some = {place: dice.choice([THROTTLED, INTERNAL]) for place in range(len(ids))}
            part = {place: code for place, code in some.items() if dice.random() < 0.4}
            return dice.choice([None, part, part, "lost", "reset", "throttled"])

        with StreamProxy(self._moto, choose) as proxy:
            try:
                return deliver(
                    sync,
                    self.lake,
                    self.ledger,
                    number=number,
                    run=run,
                    stream=reach(self._stream, proxy.url),
                    budget_seconds=2.2 if dead_from < 99 else 30.0,
                )
            finally:
                self.faults += [fault for _, fault in proxy.requests if fault]


@pytest.fixture
def stream(moto_endpoint: str, request: pytest.FixtureRequest) -> Iterator[tuple[Any, str]]:
    session = boto3.Session("testing", "testing", region_name=REGION)
    kinesis = session.client("kinesis", endpoint_url=moto_endpoint)
    name = f"invariant-{abs(hash(request.node.name))}"
    kinesis.create_stream(StreamName=name, ShardCount=3)
    yield kinesis, name
    kinesis.delete_stream(StreamName=name)


def test_consumers_of_files_and_of_the_stream_end_with_the_members(
    s3_store, s3, bucket, stream, moto_endpoint, postgres_ledger_url, monkeypatch
):
    # Budgets end by what is refused, not by how fast the machine is.
    monkeypatch.setattr("sluice.cohorts.deliver_messages.time", WaitingTime())
    kinesis, name = stream
    world = World(s3_store, bucket, name, moto_endpoint, Ledger.open(postgres_ledger_url))
    readers = [FilesConsumer(s3, bucket, "audiences/", patient=patient) for patient in (True, False)]
    listener = StreamConsumer(kinesis, name)
    came_through = []
    for hour in range(HOURS):
        as_of = world.hour_passes(hour)
        for sync in world.syncs:
            last = hour == HOURS - 1
            came = world.run(sync, as_of, tries=5 if last else world.dice.choice([1, 2]), faulty=not last)
            came_through.append(came)
        for consumer in (*readers, listener):
            consumer.poll()
    assert came_through[-2:] == [True, True]
    assert world.faults
    # Not only retries: some turns were given up after they began.
    for sync in world.syncs:
        states = {turn.state for turn in syncs.turns(world.ledger, sync=sync.id) if turn.sent}
        assert states == {"delivered", "superseded"}
    expected = {(str(amplitude_id), user_id or "") for amplitude_id, user_id in world.members.items()}
    late = [FilesConsumer(s3, bucket, "audiences/", patient=patient) for patient in (True, False)]
    for reader in (*readers, *late):
        reader.poll()
        (audience,) = reader.audiences.values()
        assert audience.members == audience.existing == expected
        assert audience.differences == []
    again = StreamConsumer(kinesis, name)
    again.poll()
    for consumer in (listener, again):
        assert consumer.members("vips") == {user_id for user_id in world.members.values() if user_id}

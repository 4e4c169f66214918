"""Messages into a stream: each arrives, under its own id, whatever is refused and whoever is killed."""

import itertools
import uuid
from collections import Counter

import boto3
import pytest
from cohort_consumer import StreamConsumer
from importing import forks
from stream_proxy import INTERNAL, THROTTLED, StreamProxy
from streaming import REGION, Folder, kinesis_sync, reach, read_messages, users_messages

from sluice.access.streams import StreamAccessError
from sluice.cohorts.deliver_messages import MessageTooLarge, PartlyDelivered, deliver_messages
from sluice.cohorts.staged_file import StagingError

USERS = [f"user{n}" for n in range(100)]


@pytest.fixture(scope="session")
def kinesis(moto_endpoint):
    session = boto3.Session("testing", "testing", region_name=REGION)
    return session.client("kinesis", endpoint_url=moto_endpoint)


@pytest.fixture
def stream(kinesis):
    """The name of a fresh stream of two shards."""
    name = f"audiences-{uuid.uuid4().hex[:12]}"
    kinesis.create_stream(StreamName=name, ShardCount=2)
    yield name
    kinesis.delete_stream(StreamName=name)


class Delivery:
    """A turn's messages, their stream behind a proxy, and a consumer at its other end."""

    def __init__(self, kinesis, stream, folder, endpoint, *, users=USERS, turn=None, **settings):
        self.sync = kinesis_sync(stream, **{"max_users": 10, **settings})
        self.file = users_messages(folder, self.sync, users, turn=turn).file
        self.messages = [message["message_id"] for message in read_messages(folder)]
        self.folder = folder
        self.endpoint = endpoint
        self.consumer = StreamConsumer(kinesis, stream)
        self.acknowledged = []

    def run(self, choose=lambda number, ids: None, *, start=0, budget=30.0, on_acknowledged=None):
        """Deliver through a proxy; return what the delivery and the proxy say."""
        with StreamProxy(self.endpoint, choose) as self.proxy:
            return deliver_messages(
                self.file,
                Folder(self.folder),
                reach(self.sync.destination.stream, self.proxy.url),
                self.sync.destination,
                start=start,
                budget_seconds=budget,
                on_acknowledged=on_acknowledged or self.acknowledged.append,
            )

    def requests(self):
        return [ids for ids, _ in self.proxy.requests]

    def members(self):
        self.consumer.poll()
        return self.consumer.members("gs72ns")


@pytest.fixture
def delivery(kinesis, stream, tmp_path, moto_endpoint):
    return Delivery(kinesis, stream, tmp_path, moto_endpoint)


def refusing(ids, code=THROTTLED):
    """Refuse some messages whenever they come."""
    return lambda number, sent: {place: code for place, one in enumerate(sent) if one in ids}


def test_every_message_arrives_byte_for_byte(delivery, kinesis, stream, tmp_path):
    delivered = delivery.run()
    assert (delivered.messages, delivered.again) == (10, 0)
    assert delivered.bytes == delivery.file.bytes - 10  # line feeds are not sent
    assert delivery.members() == set(USERS)
    assert Counter(m["message_id"] for m in delivery.consumer.messages) == Counter(delivery.messages)
    assert delivery.consumer.repeated == 0
    assert delivery.acknowledged == [10]
    lines = (tmp_path / "messages.jsonl").read_bytes().splitlines()
    assert sorted(record["Data"] for _, record in _records(kinesis, stream)) == sorted(lines)


def test_only_refused_records_are_sent_again(delivery):
    refusals = [{1: THROTTLED, 4: INTERNAL, 9: THROTTLED}, {0: THROTTLED, 2: INTERNAL}, None]
    delivered = delivery.run(lambda number, ids: refusals[number])
    ids = delivery.messages
    assert delivery.requests() == [ids, [ids[1], ids[4], ids[9]], [ids[1], ids[9]]]
    # What arrived behind a gap counts when the gap is closed.
    assert delivery.acknowledged == [1, 1, 10]
    assert (delivered.messages, delivered.again) == (10, 5)
    assert delivery.members() == set(USERS)
    assert delivery.consumer.repeated == 0


@pytest.mark.parametrize("fault", ["throttled", "unavailable", "reset", "lost"])
def test_a_refused_request_is_sent_again_whole(delivery, fault):
    delivered = delivery.run(lambda number, ids: fault if number < 2 else None)
    assert delivery.requests() == [delivery.messages] * 3
    assert (delivered.messages, delivered.again) == (10, 20)
    assert delivery.members() == set(USERS)
    # The stream had them already where only the answers were lost: the ids are the same, so nobody notices.
    assert delivery.consumer.repeated == (20 if fault == "lost" else 0)


def test_a_request_that_hangs_is_given_up_and_sent_again(delivery):
    delivery.run(lambda number, ids: "hanging" if number == 0 else None, budget=8.0)
    assert delivery.requests() == [delivery.messages] * 2
    assert delivery.members() == set(USERS)


@pytest.mark.usefixtures("waiting_time")
def test_when_the_budget_ends_the_error_says_how_many_arrived(delivery):
    with pytest.raises(PartlyDelivered, match=r"^9 of 10 messages arrived.*behind message 4") as caught:
        delivery.run(refusing(delivery.messages[4:5]), budget=4.0)
    assert (caught.value.acknowledged, caught.value.total) == (4, 10)
    assert THROTTLED in str(caught.value)
    missing = {user["user_id"] for user in read_messages(delivery.folder)[4]["users"]}
    assert delivery.members() == set(USERS) - missing


@pytest.mark.parametrize("budget", [-5.0, 0.0])
def test_without_time_nothing_is_sent(delivery, budget):
    with pytest.raises(PartlyDelivered, match=r"^0 of 10 messages"):
        delivery.run(budget=budget)
    assert delivery.requests() == []


@pytest.mark.usefixtures("waiting_time")
def test_the_next_try_goes_on_behind_what_is_acknowledged(delivery):
    with pytest.raises(PartlyDelivered):
        delivery.run(refusing(delivery.messages[6:]), budget=4.0)
    delivered = delivery.run(start=delivery.acknowledged[-1])
    assert delivery.requests() == [delivery.messages[6:]]
    assert delivered.messages == 4
    assert delivery.members() == set(USERS)
    assert delivery.consumer.repeated == 0


def test_what_is_all_there_is_not_sent_again(delivery):
    delivered = delivery.run(start=10)
    assert (delivered.messages, delivery.requests(), delivery.acknowledged) == (0, [], [])


def test_a_caller_that_lost_its_claim_stops_the_delivery(kinesis, stream, tmp_path, moto_endpoint):
    delivery = Delivery(
        kinesis, stream, tmp_path, moto_endpoint, users=[f"u{n}" for n in range(600)], max_users=1
    )

    class Lost(Exception):
        pass

    def lose(acknowledged):
        raise Lost

    with pytest.raises(Lost):
        delivery.run(on_acknowledged=lose)
    assert len(delivery.requests()) == 1


def _deliver_users(folder, stream, endpoint, acknowledged):
    sync = kinesis_sync(stream, max_users=1, shards=10)
    file = users_messages(folder, sync, [f"u{n}" for n in range(2_000)]).file
    deliver_messages(
        file,
        Folder(folder),
        reach(stream, endpoint),
        sync.destination,
        budget_seconds=60,
        on_acknowledged=acknowledged.send,
    )


def test_a_killed_delivery_goes_on_where_it_was(kinesis, stream, tmp_path, moto_endpoint):
    users = [f"u{n}" for n in range(2_000)]
    delivery = Delivery(kinesis, stream, tmp_path, moto_endpoint, users=users, max_users=1, shards=10)
    child_folder = tmp_path / "child"
    child_folder.mkdir()
    # The fourth request arrives, and its answer never does: that is where the process dies.
    hanging = lambda number, ids: "hanging" if number == 3 else None  # noqa: E731
    with StreamProxy(moto_endpoint, hanging) as proxy:
        receiver, sender = forks().Pipe(duplex=False)
        child = forks().Process(target=_deliver_users, args=(child_folder, stream, proxy.url, sender))
        child.start()
        sender.close()
        acknowledged = [receiver.recv() for _ in range(3)]
        child.kill()
        child.join()
    assert acknowledged == [500, 1_000, 1_500]
    assert (child_folder / "messages.jsonl").read_bytes() == (tmp_path / "messages.jsonl").read_bytes()
    delivery.run(start=acknowledged[-1])
    assert delivery.requests() == [delivery.messages[1_500:]]
    assert delivery.members() == set(users)


@pytest.mark.parametrize(
    ("max_users", "requests", "records"),
    [(10, 2, 500), (900, 2, 9)],
    ids=["500 records", "5 MiB"],
)
def test_requests_hold_the_limits(kinesis, stream, tmp_path, moto_endpoint, max_users, requests, records):
    users = [f"{n}-" + "x" * 600 for n in range(9_000)]
    delivery = Delivery(
        kinesis, stream, tmp_path, moto_endpoint, users=users, max_users=max_users, shards=100
    )
    delivery.run()
    assert len(delivery.requests()) == requests
    assert max(count for count, _ in delivery.proxy.sizes) == records
    assert max(size for _, size in delivery.proxy.sizes) <= 5 << 20
    assert delivery.members() == set(users)


@pytest.mark.parametrize(("settings", "most"), [({}, 2_000_000), ({"partition_key": "cohort_id"}, 1_000_000)])
def test_without_a_setting_the_stream_says_how_many_shards_it_has(
    kinesis, stream, tmp_path, moto_endpoint, settings, most
):
    users = [f"{n}-" + "x" * 900 for n in range(2_500)]
    delivery = Delivery(kinesis, stream, tmp_path, moto_endpoint, users=users, max_users=500, **settings)
    delivery.run()
    sizes = [size for _, size in delivery.proxy.sizes]
    assert most / 2 < max(sizes) <= most


@pytest.mark.parametrize("setting", ["message_id", "cohort_id"])
def test_the_partition_key_is_the_message_or_the_cohort(kinesis, stream, tmp_path, moto_endpoint, setting):
    delivery = Delivery(kinesis, stream, tmp_path, moto_endpoint, partition_key=setting)
    delivery.run()
    records = list(_records(kinesis, stream))
    keys = {record["PartitionKey"] for _, record in records}
    assert keys == (set(delivery.messages) if setting == "message_id" else {"gs72ns"})
    assert len({shard for shard, _ in records}) == (2 if setting == "message_id" else 1)


def test_a_message_above_the_records_limit_is_refused_before_it_is_sent(
    kinesis, stream, tmp_path, moto_endpoint
):
    users = ["x" * 2_000]
    written = Delivery(kinesis, stream, tmp_path, moto_endpoint, users=users)
    written.sync = kinesis_sync(stream, max_message_bytes=1_024, max_record_bytes=2_048)
    with pytest.raises(
        MessageTooLarge, match=r"::enter::0 has 2\d\d\d bytes.*at most 2048.*max_message_bytes"
    ):
        written.run()
    assert written.requests() == []


def test_a_damaged_file_is_not_taken_for_a_whole_one(delivery, tmp_path):
    path = tmp_path / "messages.jsonl"
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:7]))
    with pytest.raises(StagingError, match=r"is not what was fixed: it has .* bytes of"):
        delivery.run()
    assert max(delivery.acknowledged, default=0) < 7
    path.write_bytes(whole.replace(b"{", b"[", 1))
    with pytest.raises(StagingError, match="no message"):
        delivery.run()


@pytest.mark.parametrize("start", [0, 5])
def test_a_file_of_other_messages_is_never_sent_to_its_end(delivery, tmp_path, start):
    path = tmp_path / "messages.jsonl"
    # The same length, and every line a message: only the checksum tells.
    path.write_bytes(path.read_bytes().replace(b'"user42"', b'"user24"'))
    with pytest.raises(StagingError, match="is not what was fixed"):
        delivery.run(start=start)
    assert max(delivery.acknowledged, default=0) < 10
    assert delivery.messages[-1] not in itertools.chain(*delivery.requests())


def test_a_stream_that_is_not_there_is_named(delivery, kinesis, stream, tmp_path, moto_endpoint):
    for settings in ({}, {"shards": 1}):
        delivery.sync = kinesis_sync("nowhere", **settings)
        with pytest.raises(StreamAccessError, match="no stream nowhere in us-east-1: create it"):
            delivery.run()


def _records(kinesis, stream):
    """Shard and record of all that is in a stream."""
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
        start = kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )
        iterator = start["ShardIterator"]
        while True:
            answer = kinesis.get_records(ShardIterator=iterator)
            for record in answer["Records"]:
                yield shard["ShardId"], record
            if not answer["Records"]:
                break
            iterator = answer["NextShardIterator"]

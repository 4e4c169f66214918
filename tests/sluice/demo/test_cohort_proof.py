"""The proof holds for what the demo ought to have sent, and for nothing else."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import boto3
import pytest

from sluice.demo.airflow_api import Run
from sluice.demo.cohort_proof import DIFFTYPES, KEY, Flow, prove_files, prove_messages, read_stream
from sluice.demo.cohorts import order_problems

HOURS = [datetime(2013, 1, 30, hour, tzinfo=UTC) for hour in (1, 2, 3)]
# In the second hour nobody comes and nobody leaves.
MEMBERS = [{"N1", "N2", "N3"}, {"N1", "N2", "N3"}, {"N1", "N4"}]
AIRLINES = {"N1": "UA", "N2": "B6", "N3": "B6", "N4": "9E"}
DEPARTURES = SimpleNamespace(
    delayed=lambda as_of: MEMBERS[HOURS.index(as_of)],
    busy=lambda as_of: {user: AIRLINES[user] for user in MEMBERS[HOURS.index(as_of)]},
)
FLOWS = {HOURS[0]: Flow(3, 3, 0), HOURS[1]: Flow(3, 0, 0), HOURS[2]: Flow(2, 1, 2)}


def files() -> dict[str, list[str]]:
    """The users of each file, by its key."""
    found, before = {}, set()
    for as_of, now in zip(HOURS, MEMBERS, strict=True):
        for difftype, users in zip(DIFFTYPES, (before - now, now - before, now), strict=True):
            found[KEY.format(as_of=as_of, difftype=difftype)] = sorted(users)
        before = now
    return found


def upload(s3, bucket, files):
    for key, users in files.items():
        rows = ['"amplitudeID","userID"', *(f'"10{user[1:]}","{user}"' for user in users)]
        s3.put_object(Bucket=bucket, Key=key, Body="".join(f"{row}\n" for row in rows).encode())


def message(number: int, in_cohort: bool, users: list[str], properties: bool = True, n: int = 0) -> bytes:
    listed = [
        {"user_id": user, "user_properties": {"carrier": AIRLINES[user]}} if properties else {"user_id": user}
        for user in users
    ]
    fields = {
        "cohort_name": "Busy aircraft",
        "cohort_id": "busy",
        "in_cohort": in_cohort,
        "computed_time": str(999_999_999 + number),
        "message_id": f"{number}::{in_cohort}::{n}",
        "users": listed,
    }
    return json.dumps(fields).encode()


FIRST, SECOND = message(1, True, ["N1", "N2"]), message(1, True, ["N3"], n=1)
LEFT, CAME = message(2, False, ["N2", "N3"]), message(2, True, ["N4"])


def test_the_right_files_hold(s3, bucket):
    upload(s3, bucket, files())
    proof = prove_files(s3, bucket, HOURS, DEPARTURES)
    assert proof.problems == []
    assert proof.flows == FLOWS
    assert proof.count == 9
    assert list(proof.sample) == list(files())[-3:]


def change(found, difftype, users, hour=2):
    found[KEY.format(as_of=HOURS[hour], difftype=difftype)] = users


@pytest.mark.parametrize(
    ("difftype", "users", "problem"),
    [
        ("existing", ["N1", "N2", "N4"], "not what `entering` and `exiting` make"),
        ("exiting", ["N2"], "not what `entering` and `exiting` make"),
        ("entering", ["N1", "N4"], "`entering` is not what the flights say"),
        ("existing", ["N1", "N4", "N4"], "a member twice"),
    ],
)
def test_a_file_that_is_not_right_is_noticed(s3, bucket, difftype, users, problem):
    found = files()
    change(found, difftype, users)
    upload(s3, bucket, found)
    assert any(problem in wrong for wrong in prove_files(s3, bucket, HOURS, DEPARTURES).problems)


def test_files_that_agree_with_each_other_must_agree_with_the_flights(s3, bucket):
    found = files()
    change(found, "exiting", ["N2"])
    change(found, "existing", ["N1", "N3", "N4"])
    upload(s3, bucket, found)
    assert [wrong[:23] for wrong in prove_files(s3, bucket, HOURS, DEPARTURES).problems] == [
        "As of 2013-01-30 03:00 "
    ] * 2


def test_a_missing_file_and_one_too_many_are_noticed(s3, bucket):
    found = files()
    del found[KEY.format(as_of=HOURS[1], difftype="existing")]
    late = KEY.format(as_of=HOURS[2] + timedelta(hours=1), difftype="existing")
    upload(s3, bucket, found | {late: []})
    missing, surplus = prove_files(s3, bucket, HOURS, DEPARTURES).problems
    assert "there is no cohorts/187520_delayed_2013-01-30T02-00_existing_crm.csv" in missing
    assert late in surplus


def test_messages_hold_in_any_order_and_however_often(moto_endpoint):
    kinesis = boto3.client(
        "kinesis", "us-east-1", endpoint_url=moto_endpoint, aws_access_key_id="x", aws_secret_access_key="x"
    )
    stream = f"test-{uuid.uuid4().hex}"
    kinesis.create_stream(StreamName=stream, ShardCount=2)
    for number, data in enumerate([CAME, LEFT, SECOND, FIRST, LEFT]):
        kinesis.put_record(StreamName=stream, Data=data, PartitionKey=str(number))
    proof = prove_messages(read_stream(kinesis, stream), HOURS, DEPARTURES)
    assert proof.problems == []
    assert proof.flows == FLOWS
    assert proof.count == 4
    assert next(iter(proof.sample.values())).encode() in (FIRST, SECOND, CAME)


@pytest.mark.parametrize(
    "records",
    [
        pytest.param([FIRST, SECOND, LEFT], id="one missing"),
        pytest.param([FIRST, SECOND], id="a turn missing"),
        pytest.param([], id="all missing"),
        pytest.param([FIRST, SECOND, LEFT, CAME, message(3, True, ["N2"])], id="a turn too many"),
        pytest.param([FIRST, SECOND, LEFT, message(2, True, ["N1", "N4"])], id="a user again"),
        pytest.param([FIRST, SECOND, LEFT, message(2, True, ["N4"], properties=False)], id="no property"),
        pytest.param([FIRST, SECOND, LEFT, CAME, message(2, True, ["N2"])], id="an id with two contents"),
        pytest.param([message(3, True, ["N1", "N2", "N3"]), LEFT, CAME], id="in another order"),
    ],
)
def test_messages_that_are_not_right_are_noticed(records):
    assert prove_messages(records, HOURS, DEPARTURES).problems


def test_runs_come_one_after_the_other():
    times = [datetime(2026, 1, 1, 12, minute, tzinfo=UTC) for minute in range(4)]
    runs = [
        Run("a", "success", HOURS[0], times[0], times[1]),
        Run("b", "success", HOURS[1], times[1], times[3]),
    ]
    assert order_problems(runs) == []
    later = Run("c", "success", HOURS[2], times[2], times[3])
    assert order_problems([*runs, later]) == ["The run c began before b was over."]

"""A stream that cannot be used: the message names the missing permission and the statement that gives it."""

import json
import urllib.request
import uuid

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from sluice.access.streams import KinesisStream, StreamAccessError, StreamUnavailable

REGION = "us-east-1"
ACCOUNT = "123456789012"
SEED_ACTIONS = ["kinesis:PutRecord", "kinesis:PutRecords", "iam:SimulatePrincipalPolicy"]


def client(service, endpoint, *credentials):
    session = boto3.Session(*(credentials or ("testing", "testing")), region_name=REGION)
    return session.client(service, endpoint_url=endpoint)


@pytest.fixture
def stream(moto_endpoint):
    kinesis = client("kinesis", moto_endpoint)
    name = f"audiences-{uuid.uuid4().hex[:12]}"
    kinesis.create_stream(StreamName=name, ShardCount=3)
    yield name
    kinesis.delete_stream(StreamName=name)


@pytest.fixture
def enforced(moto_endpoint):
    """Call it, and the emulator enforces policies until the test ends."""

    def enforce(calls_without=0):
        request = urllib.request.Request(
            f"{moto_endpoint}/moto-api/reset-auth",
            data=str(calls_without).encode(),
            headers={"content-type": "text/plain"},
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request):
            pass

    yield enforce
    enforce(10**9)


@pytest.fixture
def role(moto_endpoint):
    """Credentials of a role whose policy allows an action on all streams."""

    def make(*actions):
        iam = client("iam", moto_endpoint)
        name = f"sender-{uuid.uuid4().hex[:8]}"
        trust = {"Version": "2012-10-17", "Statement": []}
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        document = {"Version": "2012-10-17", "Statement": [statement]}
        iam.put_role_policy(RoleName=name, PolicyName="sending", PolicyDocument=json.dumps(document))
        given = client("sts", moto_endpoint).assume_role(RoleArn=arn, RoleSessionName="sluice")
        keys = given["Credentials"]
        return name, (keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])

    return make


def reach(name, endpoint, *credentials):
    session = boto3.Session(*(credentials or ("testing", "testing")), region_name=REGION)
    return KinesisStream(name, REGION, session, endpoint)


def put(stream):
    """Put one record; raise what its refusal means."""
    try:
        stream.client().put_records(StreamName=stream.name, Records=[{"Data": b"{}", "PartitionKey": "key"}])
    except ClientError as error:
        raise stream.refusal(error) from error


def test_a_stream_says_how_many_shards_it_has(stream, moto_endpoint):
    known = reach(stream, moto_endpoint)
    facts = known.facts(known.client())
    assert (facts.shards, facts.max_record_bytes) == (3, None)


def test_the_missing_permission_and_the_statement_that_gives_it_are_named(
    stream, moto_endpoint, enforced, role
):
    name, credentials = role("kinesis:ListShards")
    sending = reach(stream, moto_endpoint, *credentials)
    enforced()
    with pytest.raises(StreamAccessError) as caught:
        put(sending)
    text = str(caught.value)
    arn = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{stream}"
    assert f"the missing permission is kinesis:PutRecords on {arn}." in text
    statement, _ = json.JSONDecoder().raw_decode(text[text.index("{") :])
    assert statement == {
        "Effect": "Allow",
        "Action": SEED_ACTIONS,
        "Resource": [arn, f"arn:aws:iam::{ACCOUNT}:role/{name}"],
    }


def test_with_the_statement_added_the_records_go(stream, moto_endpoint, enforced, role):
    _, credentials = role("kinesis:PutRecords")
    sending = reach(stream, moto_endpoint, *credentials)
    enforced()
    put(sending)
    # The shards are asked for where that is allowed, and done without where it is not.
    assert sending.facts(sending.client()) is None


def test_a_refusal_without_a_reason_leaves_both_open(stream, moto_endpoint, enforced):
    # The emulator says no more than 403 to an unknown key.
    enforced()
    with pytest.raises(StreamAccessError, match=r"denied \(403\), unless the connection's credentials"):
        put(reach(stream, moto_endpoint, "AKIAIOSFODNN7EXAMPLE", "wrong"))


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("UnrecognizedClientException", "The access key is unknown to AWS"),
        ("InvalidSignatureException", "The secret key does not belong"),
        ("ExpiredTokenException", "The session's token has expired"),
    ],
)
def test_wrong_credentials_are_told_from_missing_permissions(code, fault):
    error = refused(code)
    assert isinstance(error, StreamAccessError)
    assert str(error).startswith(fault)
    assert "correct the Airflow connection" in str(error)


def test_a_stream_that_is_not_there_is_named(moto_endpoint):
    nowhere = reach("nowhere", moto_endpoint)
    with pytest.raises(StreamAccessError, match="no stream nowhere in us-east-1: create it"):
        put(nowhere)
    with pytest.raises(StreamAccessError, match="no stream nowhere"):
        nowhere.facts(nowhere.client())


def refused(code, message="said so"):
    answer = {"Error": {"Code": code, "Message": message}}
    return reach("audiences", None).refusal(ClientError(answer, "PutRecords"))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("KMSAccessDeniedException", "The ciphertext refers to a key that you may not use"),
        ("KMSDisabledException", "arn:aws:kms:us-east-1:123456789012:key/1 is disabled."),
        ("KMSNotFoundException", "Key not found"),
        (
            "AccessDeniedException",
            "User: arn:aws:sts::123456789012:assumed-role/r/s is not authorized to perform:"
            " kms:GenerateDataKey on resource: arn:aws:kms:us-east-1:123456789012:key/1",
        ),
    ],
)
def test_a_key_that_cannot_be_used_is_told_from_the_stream(code, message):
    error = refused(code, message)
    assert isinstance(error, StreamAccessError)
    assert f"the KMS key that encrypts it cannot be used ({code}: {message})" in str(error)


def test_a_user_without_a_role_has_no_role_in_the_statement():
    error = refused(
        "AccessDeniedException",
        "User: arn:aws:iam::123456789012:user/bob is not authorized to perform: kinesis:PutRecords"
        " on resource: arn:aws:kinesis:us-east-1:123456789012:stream/audiences because no identity-based"
        " policy allows the kinesis:PutRecords action",
    )
    statement, _ = json.JSONDecoder().raw_decode(str(error)[str(error).index("{") :])
    assert statement["Action"] == SEED_ACTIONS[:2]
    assert statement["Resource"] == ["arn:aws:kinesis:us-east-1:123456789012:stream/audiences"]


@pytest.mark.parametrize(
    "code",
    [
        *("ProvisionedThroughputExceededException", "LimitExceededException", "ThrottlingException"),
        *("InternalFailure", "ServiceUnavailable", "KMSThrottlingException", "502"),
    ],
)
def test_what_passes_is_worth_another_try(code):
    assert isinstance(refused(code), StreamUnavailable)


def test_records_that_the_stream_never_takes_are_no_reason_to_try_again():
    error = refused("InvalidArgumentException", "Records size exceeds 1 MB limit")
    assert isinstance(error, StreamAccessError)
    assert "max_record_bytes" in str(error)


def test_no_answer_is_worth_another_try_and_no_credentials_are_not():
    stream = reach("audiences", None)
    gone = stream.refusal(EndpointConnectionError(endpoint_url="http://127.0.0.1:1"))
    assert isinstance(gone, StreamUnavailable)
    nobody = stream.refusal(NoCredentialsError())
    assert isinstance(nobody, StreamAccessError)
    assert "no AWS credentials for the stream audiences" in str(nobody)


def test_a_client_tries_once(stream, moto_endpoint):
    config = reach(stream, moto_endpoint).client(6.0).meta.config
    assert config.retries["total_max_attempts"] == 1
    assert config.connect_timeout + config.read_timeout == 6.0

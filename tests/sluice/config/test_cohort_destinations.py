"""Destinations of cohorts, S3 and Kinesis: defaults, and what a file may not say."""

from __future__ import annotations

import pytest


def test_the_defaults_are_those_of_the_decisions(folder):
    folder.s3(path="/audiences/crm/")
    folder.kinesis()
    config = folder.load()
    assert config.problems == ()
    s3, kinesis = config.cohort_destination("crm"), config.cohort_destination("ads")
    assert (s3.path, s3.timestamp_format, s3.header_style) == ("audiences/crm/", "%Y-%m-%dT%H-%M", "docs")
    assert (s3.existing_mode, s3.csv_safe, s3.require_suffix) == ("full", False, False)
    assert (s3.match_by, s3.user_property, s3.connection) == ("user_id", None, "aws_default")
    assert (kinesis.max_users, kinesis.max_message_bytes, kinesis.max_record_bytes) == (
        1000,
        921_600,
        1_048_576,
    )
    assert (kinesis.partition_key, kinesis.shards) == ("message_id", None)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"kind": "sftp"}, "line 4: kind: wrong value. Found: 'sftp'. Allowed: s3 or kinesis."),
        ({"bucket": "s3://people"}, "bucket: a bucket is a name alone: no s3://"),
        ({"path": "a//b"}, "path: has an empty, . or .. folder"),
        ({"path": "../b"}, "path: has an empty, . or .. folder"),
        (
            {"timestamp_format": "%Y%m%d"},
            "timestamp_format: wrong value. Found: '%Y%m%d'. Allowed: %Y-%m-%dT%H-%M, %Y-%m-%dT%H-%M-%S,"
            " %Y-%m-%dT%H-%S or %Y-%m-%dT%H:%S.",
        ),
        ({"header_style": "none"}, "Allowed: docs or api."),
        ({"existing_mode": "none"}, "Allowed: full, carried_over or previous."),
        ({"projects": []}, "projects: an empty list."),
        ({"projects": [10, 10]}, "projects: named twice: 10."),
        ({"match_by": "amplitude_id"}, "match_by: amplitude_id is a column of every list already."),
        ({"user_property": "user_id"}, "user_property: user_id is a column of every list already."),
        (
            {"user_property": ["city", "plan"]},
            "Allowed: the name of a property that each cohort sent there has, or null.",
        ),
        ({"stream": "people"}, "stream: unknown key. Allowed: id, name,"),
    ],
)
def test_a_mistake_in_a_bucket_s_file_is_named(folder, keys, problem):
    folder.s3(**keys)
    text = folder.only_problem()
    assert text.startswith("cohort_destinations/crm.yaml, line ")
    assert problem in text


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (
            {"stream": "arn:aws:kinesis:us-east-1:1:stream/a"},
            "stream: not the name of a Kinesis stream (a name alone",
        ),
        (
            {"max_users": 1001},
            "max_users: wrong value. Found: 1001 (a number). Allowed: a whole number from 1 to 1000.",
        ),
        ({"max_users": 0}, "Allowed: a whole number from 1 to 1000."),
        ({"max_message_bytes": 921_601}, "Allowed: a whole number of bytes from 1024 to 921600 (900 KiB)."),
        ({"max_record_bytes": 5 * 1_048_576 + 1}, "Allowed: a whole number of bytes from 2048 to 5242880."),
        (
            {"max_message_bytes": 50_000, "max_record_bytes": 51_023},
            "a message of max_message_bytes 50000 and its partition key (up to 1024 bytes) do not fit into"
            " max_record_bytes 51023: lower the one or raise the other.",
        ),
        ({"partition_key": "user_id"}, "Allowed: message_id or cohort_id."),
        ({"shards": 0}, "Allowed: a whole number from 1 to 100000, or null."),
        ({"csv_safe": True}, "csv_safe: unknown key. Allowed: id, name,"),
        ({"require_suffix": True}, "require_suffix: unknown key. Allowed: id, name,"),
    ],
)
def test_a_mistake_in_a_stream_s_file_is_named(folder, keys, problem):
    folder.kinesis(**keys)
    text = folder.only_problem()
    assert text.startswith("cohort_destinations/ads.yaml")
    assert problem in text


def test_messages_that_just_fit_are_taken(folder):
    folder.kinesis(max_message_bytes=50_000, max_record_bytes=51_024)
    assert folder.load().problems == ()

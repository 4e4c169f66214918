"""S3's notifications: what they name is found, and nothing that anybody sends is more than a count."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.imports.messages import Message, read_hints, rung_messages

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def record(key: Any = "in/a.csv", bucket: Any = "customer", event: Any = "ObjectCreated:Put") -> dict:
    return {"eventName": event, "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}


def body(*records: Any) -> str:
    return json.dumps({"Records": records})


def read(*bodies: Any, prefix: str = "in/"):
    return read_hints([Message(one) for one in bodies], "customer", prefix)


def test_keys_are_decoded_and_named_once() -> None:
    hints = read(
        body(record("in/a%23b+c%2Bd.csv"), record("in/%C3%A9.csv")),
        body(record("in/a%23b+c%2Bd.csv"), record("in/z.csv", event="ObjectCreated:CompleteMultipartUpload")),
    )
    assert list(hints.keys) == ["in/a#b c+d.csv", "in/é.csv", "in/z.csv"]
    assert not hints.ignored


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("1" * 5000, "not JSON"),
        ("x" * (1 << 20) + "x", "not a notification"),
        (None, "not a notification"),
        ({"Records": []}, "not a notification"),
        ("[]", "not a notification"),
        ('{"Records": 1}', "not a notification"),
        ('{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "customer"}', "test event"),
        (body(5), "not a record"),
        (body(record(event="ObjectRemoved:Delete")), "another event"),
        (body(record(bucket="other")), "another bucket"),
        (body(record(bucket=["customer"])), "another bucket"),
        (body(record("out/a.csv")), "outside of the prefix"),
        (body(record(7)), "not a key"),
        (body(record("")), "not a key"),
        (body(record("in/%FF")), "not a key"),
        (body(record("in/%00")), "not a key"),
        (body(record("in/\ud800")), "not a key"),
        (body(record("in/../out.csv")), "not a key"),
        (body(record("in/" + "x" * 1022)), "not a key"),
    ],
)
def test_what_names_no_file_of_the_source_is_counted(sent: Any, reason: str) -> None:
    hints = read(sent, body(record()))
    assert list(hints.keys) == ["in/a.csv"]
    assert hints.ignored == {reason: 1}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(),
            st.binary(),
            JSON,
            JSON.map(json.dumps),
            JSON.map(lambda value: json.dumps({"Records": [value]})),
            st.builds(record, JSON, st.just("customer"), st.just("ObjectCreated:Put")).map(body),
        )
    )
)
def test_nothing_that_arrives_raises(bodies: list[Any]) -> None:
    hints = read(*bodies, prefix="")
    for key in hints.keys:
        assert 0 < len(key.encode()) <= 1024


@settings(max_examples=150, deadline=None)
@given(st.lists(JSON | st.fixed_dictionaries({"payload": st.fixed_dictionaries({"message_batch": JSON})})))
def test_no_extra_of_an_asset_event_raises(extras: list[Any]) -> None:
    for message in rung_messages(extras):
        assert message.receipt is None or isinstance(message.receipt, str)


def test_all_messages_of_all_asset_events_are_read() -> None:
    batches = [[{"Body": "a", "ReceiptHandle": "1"}, {"Body": "b"}], [{"Body": "c", "ReceiptHandle": 3}]]
    extras = [{"from_trigger": True, "payload": {"status": "success", "message_batch": b}} for b in batches]
    assert list(rung_messages(extras)) == [Message("a", "1"), Message("b"), Message("c")]

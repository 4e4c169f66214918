"""Messages of a sync: their exact text, their limits, and everybody in exactly one of them."""

import datetime
import hashlib
import json
import tempfile
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from streaming import Turn, kinesis_sync, message_lines, read_messages, users_messages, value_lists

from sluice.cohorts.messages import MessageError, message_ids, write_messages

JSON = pa.json_(pa.string())


def test_a_message_is_what_the_page_shows(tmp_path):
    sync = kinesis_sync(properties=["city", "fav_animal"])
    lists = value_lists(
        tmp_path,
        {
            "value": ["user1@amplitude.com", "user2@amplitude.com"],
            "city": ["San Francisco", "Seattle"],
            "fav_animal": ["Bat", "Cat"],
        },
        {},
    )
    written = write_messages(lists, sync, sync.destination, Turn(), tmp_path)
    ids = message_ids(sync, sync.destination, 1685748245)
    assert message_lines(tmp_path) == [
        (
            '{"cohort_name":"Test Cohort","cohort_id":"gs72ns","in_cohort":true,"computed_time":"1685748245",'
            f'"message_id":"{ids}::enter::0","users":['
            '{"user_id":"user1@amplitude.com",'
            '"user_properties":{"city":"San Francisco","fav_animal":"Bat"}},'
            '{"user_id":"user2@amplitude.com",'
            '"user_properties":{"city":"Seattle","fav_animal":"Cat"}}]}'
        ).encode()
    ]
    assert (written.entering, written.exiting, written.without_properties, written.skipped) == (2, 0, 0, 0)


def test_users_have_no_properties_where_the_sync_has_none(tmp_path):
    users_messages(tmp_path, kinesis_sync(), ["a"])
    assert read_messages(tmp_path)[0]["users"] == [{"user_id": "a"}]


def test_the_staged_file_is_described_as_it_is(tmp_path):
    file = users_messages(tmp_path, kinesis_sync(max_users=2), ["a", "b", "c"], ["d"]).file
    content = (tmp_path / file.name).read_bytes()
    assert (file.rows, file.bytes, file.sha256) == (3, len(content), hashlib.sha256(content).hexdigest())


def test_who_leaves_comes_first_and_numbers_count_by_direction(tmp_path):
    users_messages(tmp_path, kinesis_sync(max_users=2), ["a", "b", "c"], ["d", "e", "f", "g", "h"])
    messages = read_messages(tmp_path)
    assert [(m["in_cohort"], len(m["users"])) for m in messages] == [
        (False, 2),
        (False, 2),
        (False, 1),
        (True, 2),
        (True, 1),
    ]
    ends = [m["message_id"].partition("::")[2] for m in messages]
    assert ends == ["exit::0", "exit::1", "exit::2", "enter::0", "enter::1"]


def test_nobody_comes_or_goes(tmp_path):
    written = users_messages(tmp_path, kinesis_sync(), [])
    assert (written.file.rows, written.file.bytes) == (0, 0)
    assert message_lines(tmp_path) == []


def test_ids_differ_by_sync_destination_cohort_and_time_and_stay_for_ever():
    sync = kinesis_sync()
    base = message_ids(sync, sync.destination, 1)
    others = [
        message_ids(kinesis_sync(sync_id="another"), sync.destination, 1),
        message_ids(kinesis_sync(cohort_id="another"), sync.destination, 1),
        message_ids(sync, kinesis_sync(name="Another").destination, 1),
        message_ids(sync, sync.destination, 2),
    ]
    assert len({base, *others}) == 5
    assert uuid.UUID(base).version == 5
    # A retry by a later version must find the same ids.
    assert base == "38e6a491-0a0e-57d2-b282-ecd53a7582a5"


def test_a_destination_made_again_under_its_name_keeps_the_ids():
    sync = kinesis_sync()
    again = kinesis_sync(id="crm2")
    assert message_ids(again, again.destination, 1) == message_ids(sync, sync.destination, 1)


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (pa.string(), ['say "hi"\\\n\x00', "é😀", None], ['say "hi"\\\n\x00', "é😀", None]),
        (pa.bool_(), [True, False, None], [True, False, None]),
        (pa.int64(), [2**63 - 1, -1, None], [2**63 - 1, -1, None]),
        (pa.float64(), [0.1, 1e300, float("nan")], [0.1, 1e300, None]),
        (pa.date32(), [datetime.date(2013, 1, 2), None, None], ["2013-01-02", None, None]),
        (
            pa.timestamp("us", "UTC"),
            [datetime.datetime(2013, 1, 2, 3, 4, 5, 6, datetime.UTC), None, None],
            ["2013-01-02 03:04:05.000006", None, None],
        ),
        (JSON, ['"AA"', '{"a":\n[1, 1.10]}', None], ["AA", {"a": [1, 1.1]}, None]),
    ],
    ids=["text", "boolean", "integer", "double", "date", "time", "json"],
)
@pytest.mark.parametrize("copies", [1, 8], ids=["once", "through a dictionary"])
def test_properties_are_sent_as_they_are_stored(tmp_path, kind, values, expected, copies):
    sync = kinesis_sync(properties=["p"])
    users = [f"{n}" for n in range(3 * copies)]
    lists = value_lists(tmp_path, {"value": users, "p": values * copies}, {}, {"p": kind})
    write_messages(lists, sync, sync.destination, Turn(), tmp_path)
    (message,) = read_messages(tmp_path)
    assert [user["user_properties"]["p"] for user in message["users"]] == expected * copies


def test_json_is_copied_and_not_written_anew(tmp_path):
    sync = kinesis_sync(properties=["p"])
    lists = value_lists(tmp_path, {"value": ["a"], "p": ['{"n": 1.10, "big": 1e400}']}, {}, {"p": JSON})
    write_messages(lists, sync, sync.destination, Turn(), tmp_path)
    assert b'"user_properties":{"p":{"n": 1.10, "big": 1e400}}' in message_lines(tmp_path)[0]


def test_a_property_that_is_not_json_is_refused_with_its_name(tmp_path):
    sync = kinesis_sync(properties=["plan"])
    lists = value_lists(tmp_path, {"value": ["a"], "plan": ["[NaN]"]}, {}, {"plan": JSON})
    with pytest.raises(MessageError, match=r"sync vips_stream sends the property plan.*not JSON.*->>"):
        write_messages(lists, sync, sync.destination, Turn(), tmp_path)


def test_nulls_are_skipped_and_counted(tmp_path):
    written = users_messages(tmp_path, kinesis_sync(), ["a", None, "b"], [None])
    assert (written.entering, written.exiting, written.skipped) == (2, 0, 2)
    assert [user["user_id"] for user in read_messages(tmp_path)[0]["users"]] == ["a", "b"]


def test_a_user_above_the_limit_goes_without_properties_and_is_listed(tmp_path):
    sync = kinesis_sync(properties=["p"], max_message_bytes=1_024)
    lists = value_lists(tmp_path, {"value": ["a", "b", "c"], "p": ["small", "x" * 2_000, "small"]}, {})
    written = write_messages(lists, sync, sync.destination, Turn(), tmp_path)
    users = [user for message in read_messages(tmp_path) for user in message["users"]]
    assert [(user["user_id"], "user_properties" in user) for user in users] == [
        ("a", True),
        ("b", False),
        ("c", True),
    ]
    assert written.without_properties == 1
    assert pq.read_table(tmp_path / "oversized.parquet").to_pydict() == {"value": ["b"]}
    assert max(map(len, message_lines(tmp_path))) <= 1_024


def test_a_user_id_above_the_limit_is_refused_without_showing_it(tmp_path):
    sync = kinesis_sync(max_message_bytes=1_024)
    with pytest.raises(MessageError, match=r"user id of 2000 bytes.*max_message_bytes") as caught:
        users_messages(tmp_path, sync, ["a", "x" * 2_000])
    assert "xxx" not in str(caught.value)


TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    entering=st.lists(st.tuples(st.text(st.characters(codec="utf-8"), max_size=300), TEXT), max_size=40),
    exiting=st.lists(TEXT, max_size=20),
    max_users=st.integers(1, 12),
    # What the configuration takes as a name.
    name=st.text(st.characters(codec="utf-8"), max_size=40)
    .map(lambda text: "".join(filter(str.isprintable, text)).strip())
    .filter(bool),
)
def test_everybody_is_in_one_message_within_the_limits(entering, exiting, max_users, name):
    sync = kinesis_sync(properties=["p"], max_users=max_users, max_message_bytes=1_600, cohort_name=name)
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        lists = value_lists(
            folder,
            {"value": [user for user, _ in entering], "p": [text for _, text in entering]},
            {"value": exiting, "p": [None] * len(exiting)},
        )
        written = write_messages(lists, sync, sync.destination, Turn(), folder)
        lines = message_lines(folder)
        first = (folder / "messages.jsonl").read_bytes()
        write_messages(lists, sync, sync.destination, Turn(), folder)
        assert (folder / "messages.jsonl").read_bytes() == first
    assert all(len(line) <= 1_600 for line in lines)
    messages = [json.loads(line) for line in lines]
    assert all(1 <= len(message["users"]) <= max_users for message in messages)
    assert all(message["cohort_name"] == name for message in messages)
    assert len({message["message_id"] for message in messages}) == len(messages) == written.file.rows
    sent = {
        way: [
            (user["user_id"], user.get("user_properties", {}).get("p"))
            for message in messages
            if message["in_cohort"] is way
            for user in message["users"]
        ]
        for way in (True, False)
    }
    assert [user for user, _ in sent[True]] == [user for user, _ in entering]
    assert sent[False] == [(user, None) for user in exiting]
    stripped = sum(have != had for (_, have), (_, had) in zip(sent[True], entering, strict=True))
    assert stripped == written.without_properties


def test_the_bytes_do_not_depend_on_how_the_lists_are_read(tmp_path, monkeypatch):
    sync = kinesis_sync(properties=["p"], max_users=7, max_message_bytes=1_024)
    users = [f"user{n}" for n in range(100)]
    texts = ["x" * (n * 37 % 1_100) for n in range(100)]
    lists = value_lists(tmp_path, {"value": users, "p": texts}, {"value": users[:20], "p": texts[:20]})
    seen = set()
    for rows in (1, 3, 65_536):
        monkeypatch.setattr("sluice.cohorts.messages._ROWS", rows)
        seen.add(write_messages(lists, sync, sync.destination, Turn(), tmp_path))
    assert len(seen) == 1
    assert next(iter(seen)).without_properties > 0

"""The lines of the files that leave: counted exactly, and looked at."""

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.cohorts.sent_lines import messages_to_read, read_csv, read_messages
from sluice.quality.sample import RowPicker

HEADER = b'amplitudeID,userID,"the ""plan"""\n'
A_VALUE = st.text(st.sampled_from('a",\nü '), max_size=8)
MESSAGE = {
    "cohort_name": "VIPs",
    "cohort_id": "vips",
    "in_cohort": True,
    "computed_time": "1357084800",
    "message_id": "a::enter::0",
    "users": [{"user_id": "ann"}, {"user_id": "bob", "user_properties": {"plan": None}}],
}


def pieces(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


def csv_of(rows):
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return HEADER + out.getvalue().encode()


def failed(found):
    return {result.expectation.type: result.unexpected for result in found.results if not result.success}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(A_VALUE, A_VALUE), max_size=12), st.integers(1, 40))
def test_rows_are_counted_and_cut_as_a_reader_of_csv_does(values, size):
    rows = [(str(n), *both) for n, both in enumerate(values)]
    found = read_csv("existing.csv", pieces(csv_of(rows), size), RowPicker(len(rows), 100, "seed"))
    assert (found.lines, found.sampled, failed(found)) == (len(rows), len(rows), {})


def test_a_sample_is_bounded_and_from_everywhere():
    data = csv_of([(n, "ann", "gold") for n in range(10_000)])
    bad = data.replace(b'"7531","ann"', b'"7531"', 1)
    for wrong, rows in ((data, 10), (data.replace(b'"ann","gold"', b'"ann"'), 10)):
        found = read_csv("existing.csv", pieces(wrong, 1_000), RowPicker(10_000, rows, "seed"))
        assert (found.lines, found.sampled) == (10_000, rows)
        assert failed(found) == ({} if wrong is data else {"expect_rows_to_have_all_columns": rows})
    found = read_csv("existing.csv", pieces(bad, 1_000), RowPicker(10_000, 10_000, "seed"))
    assert failed(found) == {"expect_rows_to_have_all_columns": 1}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'"1","ann"\n', "expect_rows_to_have_all_columns"),
        (b'"1","ann","gold","more"\n', "expect_rows_to_have_all_columns"),
        (b'"1","ann","go"ld"\n', "expect_rows_to_have_all_columns"),
        (b'"1","\xff","gold"\n', "expect_rows_to_have_all_columns"),
        (b'"","ann","gold"\n', "expect_amplitude_ids_to_be_whole_numbers"),
        (b'"1.5","ann","gold"\n', "expect_amplitude_ids_to_be_whole_numbers"),
        (b'"ann","1","gold"\n', "expect_amplitude_ids_to_be_whole_numbers"),
    ],
)
def test_a_row_that_is_no_row_is_found(line, expected):
    data = csv_of([(1, "", "")]) + line + b'"-3","c","d"\n'
    found = read_csv("existing.csv", [data], RowPicker(3, 100, "seed"))
    assert failed(found)[expected] == 1


@pytest.mark.parametrize("header", [b"userID,amplitudeID\n", b"", b"\xff,userID\n"])
def test_a_header_that_names_other_columns_is_found(header):
    found = read_csv("existing.csv", [header], RowPicker(0, 100, "seed"))
    assert failed(found) == {"expect_header_to_name_the_columns": 1}


@pytest.mark.parametrize("value", ["a" * 10_000, 'a""' * 5_000, '""' * 5_000])
def test_a_quote_that_nobody_closes_takes_no_longer_than_one_that_is(value):
    """As in a file that was cut. A pattern that tries each way to cut a value never comes to an end."""
    found = read_csv("existing.csv", [csv_of([]), f'"1","{value}'.encode()], RowPicker(1, 1, "seed"))
    assert failed(found)["expect_rows_to_have_all_columns"] == 1


def test_a_value_of_many_bytes_is_a_value():
    data = csv_of([(1, "a" * 500_000, "b")])
    found = read_csv("existing.csv", pieces(data, 4_096), RowPicker(1, 1, "seed"))
    assert (found.sampled, failed(found)) == (1, {})


def lines_of(*messages):
    return b"".join(json.dumps(message, ensure_ascii=False).encode() + b"\n" for message in messages)


def judged(data, size=64):
    picker = RowPicker(data.count(b"\n"), 100, "seed")
    found = read_messages("messages.jsonl", pieces(data, size), picker)
    return found, failed(found)


def test_messages_are_in_form():
    found, wrong = judged(lines_of(MESSAGE, MESSAGE | {"in_cohort": False}))
    assert (found.lines, wrong) == (2, {})


@pytest.mark.parametrize(
    "broken",
    [
        b'{"cohort_name":"VIPs"\n',
        b"[1]\n",
        b"\xff\n",
        lines_of({key: value for key, value in MESSAGE.items() if key != "message_id"}),
        lines_of(MESSAGE | {"more": 1}),
        lines_of(MESSAGE | {"in_cohort": "true"}),
        lines_of(MESSAGE | {"computed_time": 1357084800}),
        lines_of(MESSAGE | {"computed_time": "now"}),
        lines_of(MESSAGE | {"users": []}),
    ],
)
def test_a_message_that_is_none_is_found(broken):
    _, wrong = judged(lines_of(MESSAGE) + broken)
    assert wrong == {"expect_messages_to_have_their_keys": 1}


@pytest.mark.parametrize(
    "user", [{}, {"user_id": ""}, {"user_id": None}, "ann", {"user_id": "a", "user_properties": []}]
)
def test_a_user_without_an_id_is_found(user):
    _, wrong = judged(lines_of(MESSAGE | {"users": [user, {"user_id": "bob"}]}))
    assert wrong == {"expect_users_to_have_a_user_id": 1}


def test_as_many_messages_are_read_as_name_the_users_that_are_asked_for():
    assert messages_to_read(1_000, 1_000_000, 2_000) == 50
    assert messages_to_read(1_000_000, 1_000_000, 2_000) == 2_000
    assert messages_to_read(3, 0, 2_000) >= 3
    assert messages_to_read(3, 5, 0) == 0

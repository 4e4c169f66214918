"""The bytes and the names of the three files, read back by Python's own csv module."""

import csv
import hashlib
import io
import json
import re
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluice.cohorts.csv_files import object_keys, write_csv_files
from sluice.cohorts.csv_rows import CsvEncoder
from sluice.cohorts.diff import Before, diff
from sluice.config import S3CohortDestination

T0 = datetime(2020, 1, 25, 17, 5, 42, tzinfo=UTC)


def destination(**settings):
    return S3CohortDestination(
        **{
            "id": "crm", "name": "CRM", "owner": "owner@example.com", "projects": [187520], "kind": "s3",
            "bucket": "audiences", "path": "cohorts",
        } | settings,
    )  # fmt: skip


def sync(routing_key=None):
    # What of a sync stands in the names.
    return SimpleNamespace(
        cohort=SimpleNamespace(project=187520, id="gs72ns"), config=SimpleNamespace(routing_key=routing_key)
    )


def lists_of(folder, members, before=None, as_of=T0, properties=("plan",)):
    """Make lists from rows of (amplitude_id, user_id, plan)."""
    folder.mkdir()
    ids, users, plans = zip(*members, strict=True) if members else ((), (), ())
    plans = plans if isinstance(plans, pa.Array | pa.ExtensionArray) else pa.array(plans, pa.string())
    table = pa.table(
        {"amplitude_id": pa.array(ids, pa.int64()), "user_id": pa.array(users, pa.string()), "plan": plans}
    )
    pq.write_table(table, folder / "snapshot.parquet")
    return diff(
        folder / "snapshot.parquet", before or Before(), match_by="user_id", properties=properties,
        as_of=as_of, folder=folder,
    )  # fmt: skip


def written(lists, routing_key=None, existing_only=False, **settings):
    """Write the files and return what is in each by its difftype."""
    turn = SimpleNamespace(as_of=T0)
    files = write_csv_files(
        lists, sync(routing_key), destination(**settings), turn, lists.folder, existing_only=existing_only
    )
    texts = {}
    for file in files:
        data = (lists.folder / file.name).read_bytes()
        assert (file.bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        texts[re.search("entering|exiting|existing", file.key)[0]] = data.decode()
        assert file.rows == len(list(csv.reader(io.StringIO(data.decode(), newline="")))) - 1
    return texts


def cells(column, *, name="p", **settings):
    """Write one property's values and read them back with Python's csv module."""
    count = len(column)
    batch = pa.RecordBatch.from_arrays(
        [pa.array(range(count), pa.int64()), pa.array(["u"] * count), column],
        names=["amplitude_id", "value", f"property:{name}"],
    )
    encoder = CsvEncoder([name], **settings)
    data = b"".join([encoder.header(), *encoder.encode(batch)])
    rows = list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))
    assert rows[0][2:] == [name]
    assert [row[:2] for row in rows[1:]] == [[str(n), "u"] for n in range(count)]
    return [row[2] for row in rows[1:]]


def test_three_files_in_the_order_of_delivery(tmp_path):
    first = lists_of(tmp_path / "0", [(1, "a@x", "gold"), (2, None, None), (3, "c@x", "free")])
    files = write_csv_files(first, sync("crm"), destination(), SimpleNamespace(as_of=T0), first.folder)
    assert [(file.key, file.rows) for file in files] == [
        ("cohorts/187520_gs72ns_2020-01-25T17-05_exiting_crm.csv", 0),
        ("cohorts/187520_gs72ns_2020-01-25T17-05_entering_crm.csv", 3),
        ("cohorts/187520_gs72ns_2020-01-25T17-05_existing_crm.csv", 3),
    ]
    second = lists_of(
        tmp_path / "1", [(1, "a@x", "gold"), (4, "d@x", 'with "quotes",\nand lines')],
        Before(first.members_path),
    )  # fmt: skip
    assert written(second) == {
        "exiting": 'amplitudeID,userID,plan\n"2","",""\n"3","c@x","free"\n',
        "entering": 'amplitudeID,userID,plan\n"4","d@x","with ""quotes"",\nand lines"\n',
        "existing": ('amplitudeID,userID,plan\n"1","a@x","gold"\n"4","d@x","with ""quotes"",\nand lines"\n'),
    }


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({}, "cohorts/187520_gs72ns_2020-01-25T17-05_existing.csv"),
        ({"path": ""}, "187520_gs72ns_2020-01-25T17-05_existing.csv"),
        (
            {"timestamp_format": "%Y-%m-%dT%H-%M-%S"},
            "cohorts/187520_gs72ns_2020-01-25T17-05-42_existing.csv",
        ),
        ({"timestamp_format": "%Y-%m-%dT%H-%S"}, "cohorts/187520_gs72ns_2020-01-25T17-42_existing.csv"),
        ({"timestamp_format": "%Y-%m-%dT%H:%S"}, "cohorts/187520_gs72ns_2020-01-25T17:42_existing.csv"),
    ],
)
def test_names(settings, key):
    elsewhere = T0.astimezone(tz=None)
    assert object_keys(sync(), destination(**settings), elsewhere)["existing"] == key


def test_the_api_s_header(tmp_path):
    lists = lists_of(tmp_path / "0", [])
    assert written(lists, header_style="api")["existing"] == '"amplitude_id","user_id","plan"\n'


def test_a_header_has_quotes_where_it_needs_them():
    for style in ("docs", "api"):
        header = CsvEncoder(['a,"b"', "plan (Shop)", "two\nlines"], header_style=style).header().decode()
        (row,) = csv.reader(io.StringIO(header, newline=""), strict=True)
        assert row[2:] == ['a,"b"', "plan (Shop)", "two\nlines"]


@pytest.mark.parametrize(
    ("mode", "users"),
    [("full", ["a", "b", "d"]), ("carried_over", ["a", "b"]), ("previous", ["a", "b", "c"])],
)
def test_who_is_in_existing(tmp_path, mode, users):
    first = lists_of(tmp_path / "0", [(1, "a", None), (2, "b", None), (3, "c", None)])
    second = lists_of(
        tmp_path / "1", [(1, "a", None), (2, "b", None), (4, "d", None)], Before(first.members_path)
    )
    text = written(second, existing_mode=mode)["existing"]
    assert [row["userID"] for row in csv.DictReader(io.StringIO(text))] == users
    assert list(written(second, existing_mode=mode, existing_only=True)) == ["existing"]
    full = written(second, existing_mode=mode, existing_only=True)["existing"]
    assert [row["userID"] for row in csv.DictReader(io.StringIO(full))] == ["a", "b", "d"]


@pytest.mark.parametrize("mode", ["carried_over", "previous"])
def test_a_first_sync_has_nobody_from_before(tmp_path, mode):
    lists = lists_of(tmp_path / "0", [(1, "a", None)])
    assert written(lists, existing_mode=mode)["existing"] == "amplitudeID,userID,plan\n"


def test_previous_members_lack_a_property_that_is_new(tmp_path):
    first = lists_of(tmp_path / "0", [(1, "a", "gold")], properties=())
    second = lists_of(tmp_path / "1", [(2, "b", "free")], Before(first.members_path))
    text = written(second, existing_mode="previous")["existing"]
    assert text == 'amplitudeID,userID,plan\n"1","a",""\n'


def test_the_same_lists_give_the_same_bytes(tmp_path):
    members = [(n, f"user{n}", "gold" if n % 3 else None) for n in range(500)]
    one, other = lists_of(tmp_path / "0", members), lists_of(tmp_path / "1", members)
    assert written(one) == written(other)


TEXT = st.one_of(
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12),
    # What a CSV trips over, close together.
    st.text(alphabet="\",\n\r\t\0'=+-@; \\é🙂", max_size=8),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.none(), TEXT), min_size=1, max_size=20))
def test_python_s_reader_gives_every_text_back(texts):
    assert cells(pa.array(texts, pa.string())) == [text or "" for text in texts]


def undone(cell):
    """Take the apostrophe of csv_safe away, as docs/cohorts.md tells a consumer to."""
    return cell[1:] if re.match(r"'+[=+\-@\t\r]", cell) else cell


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.none(), TEXT), min_size=1, max_size=20))
def test_no_cell_is_a_formula_and_a_consumer_can_undo_it(texts):
    safe = cells(pa.array(texts, pa.string()), csv_safe=True)
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in safe)
    assert [undone(cell) for cell in safe] == [text or "" for text in texts]


def test_a_formula_as_a_user_id_or_a_header_is_made_safe():
    batch = pa.RecordBatch.from_pydict({"amplitude_id": [1, 2], "value": ["=1+1", "a"]})
    encoder = CsvEncoder(["=cmd"], csv_safe=True)
    assert encoder.header() == b"amplitudeID,userID,'=cmd\n"
    assert b"".join(encoder.encode(batch)) == b'"1","\'=1+1",""\n"2","a",""\n'


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(alphabet=st.characters(categories=["Cs", "L"]), max_size=6), max_size=8))
def test_half_a_surrogate_is_replaced_and_the_file_stays_utf_8(texts):
    raw = pa.array([text.encode("utf-8", "surrogatepass") for text in texts], pa.binary())
    damaged = pa.StringArray.from_buffers(len(raw), raw.buffers()[1], raw.buffers()[2] or pa.py_buffer(b""))
    expected = [text.encode("utf-8", "surrogatepass").decode(errors="replace") for text in texts]
    assert cells(damaged) == expected


JSON_VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.none(), JSON_VALUES), min_size=1, max_size=10), st.booleans())
def test_json_is_its_text_and_a_json_string_the_string(values, ascii_only):
    texts = [None if value is None else json.dumps(value, ensure_ascii=ascii_only) for value in values]
    column = pa.ExtensionArray.from_storage(pa.json_(pa.string()), pa.array(texts, pa.string()))
    expected = [
        "" if value is None else value if isinstance(value, str) else text
        for value, text in zip(values, texts, strict=True)
    ]
    assert cells(column) == expected


def test_half_a_surrogate_that_json_escapes():
    column = pa.ExtensionArray.from_storage(
        pa.json_(pa.string()), pa.array(['"a\\ud800b"', '["\\ud800"]', '"\\ud83d\\ude42"'])
    )
    assert cells(column) == ["a\ufffdb", '["\\ud800"]', "🙂"]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([True, False, None]), ["true", "false", ""]),
        (pa.array([2**62, -1, None]), [str(2**62), "-1", ""]),
        (
            pa.array([0.1, 3.0, 1e300, float("nan"), float("inf"), None]),
            ["0.1", "3.0", "1e+300", "", "", ""],
        ),
        (pa.array([date(2013, 1, 31), None]), ["2013-01-31", ""]),
        (
            pa.array([T0, T0 + timedelta(microseconds=7), None], pa.timestamp("us", "UTC")),
            ["2020-01-25T17:05:42.000000Z", "2020-01-25T17:05:42.000007Z", ""],
        ),
        (pa.array([T0], pa.timestamp("ms", "Europe/Berlin")), ["2020-01-25T17:05:42.000000Z"]),
        (pa.array(["a", None, "a"]).dictionary_encode(), ["a", "", "a"]),
        (pa.nulls(2), ["", ""]),
    ],
    ids=["booleans", "integers", "doubles", "dates", "times", "zoned", "dictionary", "nothing"],
)
def test_values_of_each_type(column, expected):
    assert cells(column) == expected


def test_a_batch_beyond_what_is_encoded_at_once_is_cut(monkeypatch):
    monkeypatch.setattr("sluice.text_columns.MAX_INPUT_BYTES", 1_000)
    texts = [f"value {n}" * (n % 7) for n in range(2_000)]
    assert cells(pa.array(texts)) == texts

"""JSON lines against a row-by-row reference: equal values, the exact order of keys, valid text."""

import json
import math
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.exports.errors import LakeRowError, LakeSchemaError
from sluice.exports.lines import LineEncoder, export_keys
from sluice.lake.schema import EVENTS, EXPORT_FIELDS, EXPORT_KEYS, JSON_COLUMNS, UNDOCUMENTED_KEYS

# Column groups repeat the types; a row is drawn from few distinct values or from any.
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12) | st.sampled_from(
    ['"', "\\", "\n", "\x00", "\x1f", "\x7f", " ", "Zürich", "😀", 'a"b\\c\td', "plain"]
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
JSON_TEXT = st.builds(
    lambda value, indent: json.dumps(value, indent=indent, ensure_ascii=False),
    st.dictionaries(TEXT, JSON_VALUES, max_size=3),
    st.sampled_from([None, 1]),
)
TIMES = st.datetimes(datetime(1000, 1, 1), datetime(9999, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))


def values_of(field):
    if field.name in JSON_COLUMNS:
        return JSON_TEXT
    if pa.types.is_timestamp(field.type):
        return TIMES
    if pa.types.is_boolean(field.type):
        return st.booleans()
    if pa.types.is_floating(field.type):
        return st.floats()
    if pa.types.is_integer(field.type):
        return st.integers(-(2**63), 2**63 - 1)
    return TEXT


ROW = st.fixed_dictionaries({field.name: st.none() | values_of(field) for field in EXPORT_FIELDS})
EXTRA = st.none() | st.dictionaries(TEXT.filter(lambda key: key not in EXPORT_KEYS), JSON_VALUES, max_size=3)


def batch_of(rows):
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in EVENTS]
    return pa.RecordBatch.from_arrays(columns, schema=EVENTS)


def text_of(batch, dialect="observed"):
    return b"".join(bytes(piece.data) for piece in LineEncoder(dialect).encode(batch)).decode()


def reference(row, dialect, extra=None):
    """The line's content, as a person would write it down: one value after the other."""
    separator = " " if dialect == "observed" else "T"
    line = {}
    for key in export_keys(dialect):
        value = row[key]
        if isinstance(value, datetime):
            value = value.strftime(f"%Y-%m-%d{separator}%H:%M:%S.%f").rjust(26, "0")
        elif isinstance(value, float) and not math.isfinite(value):
            value = None
        elif key in JSON_COLUMNS and value is not None:
            value = json.loads(value)
        line[key] = value
    return line | (extra or {})


@given(
    rows=st.lists(st.tuples(ROW, EXTRA), min_size=1, max_size=8),
    repeat=st.sampled_from([1, 3]),
    dialect=st.sampled_from(["observed", "documented"]),
)
@settings(max_examples=40, deadline=None)
def test_lines_equal_a_row_by_row_reference(rows, repeat, dialect):
    rows = rows * repeat
    full = [row | {"extra": None if extra is None else json.dumps(extra)} for row, extra in rows]
    # A slice, so that arrays do not begin at the first byte of their buffers.
    batch = batch_of([full[0], *full]).slice(1)
    text = text_of(batch, dialect)
    assert text.endswith("\n")
    written = [json.loads(line) for line in text[:-1].split("\n")]
    expected = [reference(row, dialect, extra if dialect == "observed" else None) for row, extra in rows]
    assert written == expected
    assert [list(line) for line in written] == [list(line) for line in expected]
    assert [repr(line["location_lat"]) for line in written] == [repr(e["location_lat"]) for e in expected]


def test_a_known_row_is_written_exactly():
    moment = datetime(2020, 1, 25, 17, 3, 11, 123000, tzinfo=UTC)
    row = {
        "$insert_id": "i-1",
        "amplitude_id": 45975551903,
        "app": 187520,
        "client_event_time": moment,
        "data": '{"path":"/2/httpapi"}',
        "event_properties": "{}",
        "location_lat": 12.0,
        "location_lng": -123.456789,
        "paying": True,
        "user_id": 'jack "J" \\ Ö',
    }
    line = text_of(batch_of([row]))
    assert line.startswith(
        '{"$insert_id":"i-1","$insert_key":null,"$schema":null,"adid":null,"amplitude_attribution_ids":null,'
        '"amplitude_event_type":null,"amplitude_id":45975551903,"app":187520,"city":null,'
        '"client_event_time":"2020-01-25 17:03:11.123000","client_upload_time":null,"country":null,'
        '"data":{"path":"/2/httpapi"},"data_type":null,'
    )
    assert '"location_lat":12.0,"location_lng":-123.456789,' in line
    assert '"paying":true,' in line
    assert '"user_id":"jack \\"J\\" \\\\ Ö",' in line
    assert line.endswith('"version_name":null}\n')


def test_the_documented_dialect_has_48_keys_and_times_with_t():
    moment = datetime(2020, 1, 25, 17, tzinfo=UTC)
    row = {"event_time": moment, "data_type": "event", "extra": '{"new_key":1}'}
    written = json.loads(text_of(batch_of([row]), "documented"))
    assert len(written) == 48
    assert not UNDOCUMENTED_KEYS & written.keys()
    assert written["event_time"] == "2020-01-25T17:00:00.000000"


@pytest.mark.parametrize("distinct", [1, 7, 5_000])
def test_columns_of_few_and_of_many_values_are_written_alike(distinct):
    """A dictionary is only a faster way: over several batches the text is that of the plain way."""
    rows = [
        {"device_id": f'd"{n % distinct}', "event_properties": json.dumps({"n": n % distinct}), "event_id": n}
        for n in range(5_000)
    ]
    encoder = LineEncoder()
    for _ in range(2):
        text = b"".join(bytes(piece.data) for piece in encoder.encode(batch_of(rows))).decode()
        written = [json.loads(line) for line in text.splitlines()]
        assert [line["device_id"] for line in written] == [row["device_id"] for row in rows]
        assert [line["event_properties"]["n"] for line in written] == [n % distinct for n in range(5_000)]


def test_dictionary_columns_are_written_like_plain_ones():
    rows = [{"city": city, "event_type": "a"} for city in ("Zürich", None, 'O"Hare', "Zürich")]
    batch = batch_of(rows)
    index = batch.schema.get_field_index("city")
    encoded = batch.set_column(index, "city", batch.column(index).dictionary_encode())
    assert text_of(encoded) == text_of(batch)


def test_a_large_batch_is_encoded_in_pieces(monkeypatch):
    monkeypatch.setattr("sluice.text_columns.MAX_INPUT_BYTES", 2_000)
    rows = [{"event_id": n, "event_properties": json.dumps({"text": "x" * 500})} for n in range(40)]
    pieces = list(LineEncoder().encode(batch_of(rows)))
    assert len(pieces) > 8
    written = [json.loads(line)["event_id"] for piece in pieces for line in bytes(piece.data).splitlines()]
    assert written == list(range(40))


def test_offsets_are_at_line_ends():
    (piece,) = LineEncoder().encode(batch_of([{"event_id": n, "city": "x" * n} for n in range(50)]))
    assert len(piece) == 50
    assert all(piece.data[end - 1] == 10 for end in piece.offsets[1:])
    assert piece.offsets[-1] == len(piece.data)


def test_an_empty_batch_gives_nothing():
    assert list(LineEncoder().encode(batch_of([]))) == []


def test_a_missing_column_is_named():
    batch = batch_of([{}]).drop_columns(["uuid", "city"])
    with pytest.raises(LakeSchemaError, match="city, uuid"):
        list(LineEncoder().encode(batch))


@pytest.mark.parametrize("rows", [3, 2_000])
@pytest.mark.parametrize("column", ["event_properties", "data", "extra"])
@pytest.mark.parametrize("text", ['{"a":', "{'a':1}", '{"a":NaN}', '{"a":1} {}', ""])
def test_a_dictionary_field_that_is_not_json_names_the_row(rows, column, text):
    """Few distinct values are read one by one, many by the engine: both refuse the same."""
    events = [
        {"uuid": f"u{n}", "event_properties": f'{{"n":{n}}}', "extra": f'{{"x":{n}}}'} for n in range(rows)
    ]
    events[rows - 2][column] = text
    with pytest.raises(LakeRowError, match=f"event u{rows - 2} .*has text in {column} that is not JSON"):
        list(LineEncoder().encode(batch_of(events)))


@pytest.mark.parametrize("rows", [3, 2_000])
def test_text_that_only_strict_readers_refuse_is_let_through(rows):
    texts = ['{"a":"\\ud800"}', "[1e999]", '{"a":1,"a":2}', "3", '"text"', " {} "]
    events = [{"event_properties": f'{{"n":{n}}}'} for n in range(rows)] + [
        {"event_properties": t} for t in texts
    ]
    assert sum(map(len, LineEncoder().encode(batch_of(events)))) == rows + len(texts)

"""Properties that hold for every source and every row, on random ones."""

import copy
import json
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.converter import ConfigError, Converter, NoValue, RowError, evaluate
from sluice.converter.compiler import BY_NAME
from sluice.converter.grammar import Kind
from sluice.converter.isotime import iso_to_ms, ms_to_iso

CLOCK = 1645066434189
KEYS = ["a", "b", "c", "0", "1", "$d", "e.f", ""]
TEXTS = [
    "", "x", "true", "False", "12", "-3.5", "1e3", ".5", "abc,def", "2021-02-03T04:05:06.789+02:00",
    "2020-01-25",
    "1645066434189", '{"a": [1, null]}', "[1,", "AP6qCz41AAAwhCUA", "1/2/2021 5:06:07", "ÄÖ", "\x00",
]  # fmt: skip
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.integers(-5, 5),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.1, 2.5, -2.5, 1e300]),
    st.sampled_from(TEXTS),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)
rows = st.dictionaries(st.sampled_from(KEYS), values, max_size=len(KEYS))

LITERALS = {
    Kind.RAW_STRING: st.sampled_from([*KEYS, ",", "_", "tr"]),
    Kind.SEPARATOR: st.sampled_from([",", "-", "a"]),
    Kind.REGEX: st.sampled_from(["a", "[a-c]+", r"(\d)(\d)?", "x*", r"\w\b", "(?i)TRUE$"]),
    Kind.TIME_PATTERN: st.sampled_from(["M/d/yyyy H:mm:ss", "yyyy-MM-dd", "uuuu-MM-dd'T'HH:mm:ss.SSSXXX"]),
    Kind.RAW_JSON: values,
    Kind.RAW_BOOLEAN: st.booleans(),
    Kind.RAW_INTEGER: st.integers(-3, 100),
}


@st.composite
def operators(draw, inner):
    name = draw(st.sampled_from(sorted(BY_NAME)))
    operator = BY_NAME[name]
    kinds = operator.arguments + operator.repeated * draw(st.integers(0, 2))
    arguments = [draw(LITERALS.get(kind, inner)) for kind in kinds]
    if operator.name == "replace_with":
        arguments[1] = draw(st.sampled_from(["", "-", "<$0>", r"\$"]))
    return [name, *arguments]


sources = st.recursive(
    st.sampled_from(KEYS) | st.builds(lambda value: ["value", value], values),
    lambda inner: operators(inner) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=8,
)


def outcome(call):
    """The outcome as text, so that 1, 1.0 and true are told apart; the order of keys does not count."""
    try:
        return json.dumps(call(), sort_keys=True)
    except NoValue:
        return "no value"
    except RowError:
        return "row error"


def attempt(call):
    """The value of a call and no error, or none and its typed error; any other exception passes."""
    try:
        return call(), None
    except (ConfigError, NoValue, RowError) as error:
        return None, error


@settings(max_examples=300, deadline=None)
@given(source=sources, row=rows)
def test_compiled_form_equals_the_plain_evaluator(reference, source, row):
    def plain():
        try:
            return reference.evaluate(source, row, CLOCK)
        except reference.Nothing:
            raise NoValue from None
        except OverflowError:  # a sum with a fraction that no double can hold
            raise RowError("", "") from None

    before = copy.deepcopy(row)
    assert outcome(lambda: evaluate(source, row, clock_ms=CLOCK)) == outcome(plain)
    assert row == before


@settings(max_examples=100, deadline=None)
@given(
    mapping=st.dictionaries(st.sampled_from(["user_id", "time", "event_properties", "$x"]), sources), row=rows
)
def test_an_event_has_no_top_level_null_and_the_row_is_not_changed(mapping, row):
    inner = {"fileType": "json", "compressionType": "none", "convertToAmplitudeFunc": mapping}
    converter = Converter.from_config({"converterConfig": inner})
    before = json.dumps(row)
    event, error = attempt(lambda: converter.convert(row, clock_ms=CLOCK))
    if error is None:
        assert None not in event.values()
        assert set(event) <= {*mapping, "$skip_user_properties_sync"}
        json.dumps(event, allow_nan=False)
    else:
        assert isinstance(error, RowError)
        assert error.field in mapping
        assert error.reason
    assert json.dumps(row) == before


wild = st.recursive(
    scalars | st.sampled_from(sorted(BY_NAME)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=150, deadline=None)
@given(source=wild, row=values)
def test_any_json_as_source_gives_a_typed_outcome(source, row):
    _, error = attempt(lambda: evaluate(source, row, clock_ms=CLOCK))
    if isinstance(error, ConfigError):
        assert error.problems
        for pointer, operator, message in error.problems:
            assert pointer == "" or pointer.startswith("/")
            assert isinstance(operator, str)
            assert message


@settings(max_examples=150, deadline=None)
@given(ms=st.integers(-62_167_219_200_000, 253_402_300_799_999))
def test_iso_and_ms_are_inverse(ms):
    assert iso_to_ms(ms_to_iso(ms)) == ms
    assert evaluate(["iso_time_to_ms", ["ms_to_iso_time", "t"]], {"t": str(ms)}) == ms


@pytest.mark.parametrize("ms", [-62_167_219_200_001, 253_402_300_800_000])
def test_years_outside_0_to_9999_have_no_iso_text(ms):
    assert ms_to_iso(ms) is None


@settings(max_examples=150, deadline=None)
@given(st.lists(sources, min_size=1, max_size=3), st.lists(rows, min_size=1, max_size=5))
def test_columns_give_what_rows_give(descriptions, many):
    mapping = dict(zip(("event_properties", "user_properties", "city"), descriptions, strict=False))
    inner = {"fileType": "json", "compressionType": "none", "convertToAmplitudeFunc": mapping}
    inner["ignoreEventFlag"] = "$skip"
    for flag in ({}, {"$skip": "a"}):
        try:
            converter = Converter.from_config(
                {"converterConfig": inner | {"convertToAmplitudeFunc": mapping | flag}}
            )
        except ConfigError:
            return
        found = converter.convert_columns(copy.deepcopy(many), clock_ms=CLOCK)
        expected = [attempt(partial(converter.convert, row, clock_ms=CLOCK)) for row in many]
        kept = [
            place for place, (event, error) in enumerate(expected) if event is not None or error is not None
        ]
        assert found.kept == kept
        for number, place in enumerate(kept):
            event, error = expected[place]
            if number in found.odd:
                continue
            assert error is None
            event.pop("$skip_user_properties_sync", None)
            values = {name: column[number] for name, column in found.values.items()}
            present = {name: value for name, value in values.items() if value is not None}
            assert outcome(lambda present=present: present) == outcome(lambda event=event: event)
        if not flag:
            odd = {number for number, (_, error) in enumerate(expected) if error is not None}
            assert odd <= found.odd


NUMBERS = [5, -5, 10**30, 1.5, -2.25, 0.1, 3.0, -0.0, 1e22, 2.0**53, 1e-7, True, None, []]
NUMBERS += [
    "5",
    "-5",
    "007",
    "1.50",
    "1.0",
    "0.0",
    ".5",
    "5.",
    "+5",
    "1e3",
    "1_0",
    " 5",
    "\u0665",
    "nan",
    "x",
    "",
]
NUMBERS += ["9" * 30, "0.1234567891"]


@pytest.mark.parametrize("value", NUMBERS, ids=repr)
def test_one_number_is_added_alike_alone_and_in_a_column(value):
    config = {"fileType": "json", "compressionType": "none", "convertToAmplitudeFunc": {"city": ["add", "a"]}}
    converter = Converter.from_config({"converterConfig": config})
    found = converter.convert_columns([{"a": value}], clock_ms=CLOCK)
    event, _ = attempt(lambda: converter.convert({"a": value}, clock_ms=CLOCK))
    assert not found.odd
    assert outcome(lambda: found.values["city"][0]) == outcome(lambda: event.get("city"))

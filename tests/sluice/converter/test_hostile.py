"""Input that wants to hurt: the right answer or a typed error, in bounded time and memory."""

import json
import sys

import orjson
import pytest

from sluice.converter import ConfigError, Converter, NoValue, RowError, evaluate
from sluice.converter.limits import MAX_NESTING, MAX_OPERATORS, MAX_SOURCE_DEPTH, MAX_SOURCES

DEEP = 100_000


def nested(levels, container=list):
    value = None
    for _ in range(levels):
        value = [value] if container is list else {"a": value}
    return value


def converter(mapping):
    inner = {"fileType": "json", "compressionType": "none", "convertToAmplitudeFunc": mapping}
    return Converter.from_config({"converterConfig": inner})


@pytest.mark.parametrize("container", [list, dict])
@pytest.mark.parametrize(
    "source",
    ["v", ["array", "v"], ["any", "v"], ["merge_dicts", "v"], ["flatten_dict", ".", -1, "v"], ["path"]],
)
def test_a_value_nested_100_000_levels_is_a_row_error(source, container):
    value = nested(DEEP, container)
    if source[0] in ("merge_dicts", "flatten_dict") and container is list:
        with pytest.raises(NoValue):
            evaluate(source, {"v": value})
        return
    with pytest.raises(RowError, match=f"nested deeper than {MAX_NESTING} levels"):
        evaluate(source, {"v": value})


@pytest.mark.parametrize("container", [list, dict])
def test_deep_values_compare_without_recursion(container):
    row = {"a": nested(DEEP, container), "b": nested(DEEP, container), "c": nested(DEEP + 1, container)}
    assert evaluate(["equals", "a", "b"], row) is True
    assert evaluate(["equals", "a", "c"], row) is False
    assert evaluate(["typeof", "a"], row) == ("list" if container is list else "dict")


def test_nesting_up_to_the_limit_is_kept():
    value = nested(MAX_NESTING)
    assert evaluate("v", {"v": value}) is value
    assert evaluate(["value", value], {}) == value
    event = converter({"event_properties": ["value", value]}).convert({})
    assert orjson.loads(orjson.dumps([event])) == [event]
    assert evaluate(["parse_json_element", "v"], {"v": "[" * MAX_NESTING + "]" * MAX_NESTING}) is not None
    with pytest.raises(NoValue):
        evaluate(["parse_json_element", "v"], {"v": "[" * DEEP + "]" * DEEP})


def test_the_row_error_names_the_field():
    with pytest.raises(RowError) as error:
        converter({"user_id": "u", "event_properties": {"deep": "v"}}).convert({"u": "u", "v": nested(DEEP)})
    assert error.value.field == "event_properties"


@pytest.mark.parametrize("levels", [MAX_SOURCE_DEPTH + 1, DEEP])
@pytest.mark.parametrize("wrap", [lambda s: ["not", s], lambda s: {"a": s}, lambda s: ["path", s]])
def test_a_configuration_nested_too_deeply_is_refused(wrap, levels):
    source = "a"
    for _ in range(levels):
        source = wrap(source)
    with pytest.raises(ConfigError, match=f"deeper than {MAX_SOURCE_DEPTH} levels"):
        evaluate(source, {})
    with pytest.raises(ConfigError, match=f"deeper than {MAX_SOURCE_DEPTH} levels"):
        converter(source)


def test_a_caller_deep_in_the_stack_gets_a_typed_error():
    source = "a"
    for _ in range(MAX_SOURCE_DEPTH - 1):
        source = ["not", source]

    def call_from(depth):
        return call_from(depth - 1) if depth else evaluate(source, {"a": True})

    with pytest.raises(ConfigError, match="too deeply"):
        call_from(sys.getrecursionlimit() - 300)


def test_sources_nested_up_to_the_limit_are_evaluated():
    source = "a"
    for _ in range(MAX_SOURCE_DEPTH):
        source = ["not", source]
    assert evaluate(source, {"a": True}) is True


def test_a_configuration_file_nested_too_deeply_is_refused(tmp_path):
    file = tmp_path / "deep.json"
    file.write_text("[" * DEEP + "]" * DEEP)
    with pytest.raises(ConfigError):
        Converter.from_file(file)


def test_a_configuration_above_the_limit_is_refused():
    assert evaluate({str(i): ["lower", "a"] for i in range(MAX_OPERATORS)}, {}) == {}
    with pytest.raises(ConfigError, match="more than 10,000 operators"):
        evaluate({str(i): ["lower", "a"] for i in range(MAX_OPERATORS + 1)}, {})
    with pytest.raises(ConfigError, match="more than 100,000 sources"):
        evaluate(["concat", *["a"] * MAX_SOURCES], {})


def test_an_object_that_holds_itself_is_refused():
    source = ["not"]
    source.append(source)
    with pytest.raises(ConfigError, match="nested deeper"):
        evaluate(source, {})
    literal = []
    literal.append(literal)
    with pytest.raises(ConfigError, match="nested deeper"):
        evaluate(["value", literal], {})


def test_strings_of_10_mb():
    text = "aB,=" * 2_500_000
    row = {"s": text}
    assert evaluate("s", row) is text
    assert evaluate(["lower", "s"], row) == text.lower()
    assert len(evaluate(["split", ",", "s"], row)) == 2_500_001
    assert evaluate(["contains", "=a", "s"], row) is True
    assert evaluate(["typeof", ["sample_md5", ["int", 50], "s"]], row) == "bool"
    for source in (
        ["iso_time_to_ms", "s"],
        ["parse_json_element", "s"],
        ["+", "s"],
        ["int96_time_to_ms", "s"],
    ):
        with pytest.raises(NoValue):
            evaluate(source, row)
    with pytest.raises(RowError, match="67,108,864 characters"):
        evaluate(["concat", *["s"] * 7], row)
    with pytest.raises(RowError, match="4,000 digits"):
        evaluate(["+", "s"], {"s": "9" * 10_000_000})


def test_flattening_cannot_multiply_a_long_key():
    row = {"v": {"k" * 1_000_000: {str(i): i for i in range(100)}}}
    with pytest.raises(RowError, match="flattened keys"):
        evaluate(["flatten_dict", ".", -1, "v"], row)


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "\ud800", "x\udfffy"])
def test_nul_and_lone_surrogates_are_kept(text):
    row = {"s": text, text: 1}
    assert evaluate("s", row) == text
    assert evaluate(text, row) == 1
    assert evaluate(["concat", "s", ["value", "-"]], row) == text + "-"
    assert evaluate(["replace_with", "q", "r", "s"], row) == text
    assert evaluate(["parse_json_element", "s"], {"s": json.dumps([text])}) == [text]
    assert evaluate(["typeof", ["sample_md5", ["int", 50], "s"]], row) == "bool"
    assert converter({"event_type": "s"}).convert(row)["event_type"] == text


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_are_no_json(number):
    row = {"n": number, "o": {"n": [number]}}
    texts = (["concat", "n"], ["replace_with", "n", "", "n"], ["contains", "n", "n"])
    for source in ("n", "o", ["path", "o", "n"], {"a": "n"}, *texts, ["sample_md5", ["int", 50], "n"]):
        with pytest.raises(RowError, match="not a JSON number"):
            evaluate(source, row)
    for source in (["+", "n"], ["round", "n"], ["ms_to_iso_time", "n"]):
        with pytest.raises(NoValue):
            evaluate(source, row)
    with pytest.raises(RowError) as error:
        converter({"price": "n"}).convert(row)
    assert error.value.field == "price"
    with pytest.raises(ConfigError, match="not a JSON number"):
        evaluate(["value", [number]], {})


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "-Infinity", "\ufeff{}"])
def test_what_is_not_json_has_no_value(text):
    with pytest.raises(NoValue):
        evaluate(["parse_json_element", "s"], {"s": text})


@pytest.mark.parametrize("text", ["1e400", "[-1e400]", '{"a":123456789012345678901e999}'])
def test_a_number_that_overflows_is_a_row_error(text):
    with pytest.raises(RowError, match="too large for a double"):
        evaluate(["parse_json_element", "s"], {"s": text})


def test_a_sum_that_overflows_is_a_row_error():
    assert evaluate(["+", "a", "a"], {"a": 1e308}) == 2 * 10**308
    with pytest.raises(RowError, match="too large for a double"):
        evaluate(["+", "a", "b"], {"a": "1e400", "b": 0.5})


def test_the_last_of_duplicate_keys_counts():
    assert evaluate(["parse_json_element", "s"], {"s": '{"a":1,"a":2}'}) == {"a": 2}
    assert evaluate(["parse_json_element", "s"], {"s": '{"a":12345678901234567890,"a":2}'}) == {"a": 2}


def test_integers_of_1_000_digits_keep_every_digit():
    big = int("123456789" * 111 + "1")
    row = {"n": big, "s": str(big), "j": f'{{"n":{big},"m":-{big}}}'}
    assert evaluate("n", row) == big
    assert evaluate(["parse_json_element", "j"], row) == {"n": big, "m": -big}
    assert evaluate(["concat", "n"], row) == str(big)
    assert evaluate(["+", "n", "s"], row) == 2 * big
    assert evaluate(["-", "n", "s"], row) == 0
    assert evaluate(["*", "n", "s"], row) == big * big
    assert evaluate(["/", ["*", "n", "n"], "s"], row) == big
    assert evaluate(["round", "s"], row) == big
    assert evaluate(["equals", "n", ["+", "s"]], row) is True
    assert evaluate(["contains", "1234", "n"], row) is True


def test_numbers_beyond_the_limit_are_row_errors():
    for row in ({"n": 10**5000}, {"n": "1e5000"}, {"n": "9" * 5000}, {"n": "1e999999999"}):
        with pytest.raises(RowError, match="4,000 digits"):
            evaluate(["+", "n"], row)
    with pytest.raises(RowError, match="4,000 digits"):
        evaluate(["*", *["n"] * 50], {"n": 10**100})
    with pytest.raises(RowError, match="4,300 digits"):
        evaluate(["concat", "n"], {"n": 10**5000})
    assert evaluate(["+", "n"], {"n": "1e-999999999"}) == 0


@pytest.mark.parametrize(
    "literal", [10**5000, [10**5000], {"a": -(10**5000)}], ids=["bare", "in a list", "in an object"]
)
def test_a_literal_beyond_the_digits_that_are_written_is_a_problem(literal):
    sources = [["value", literal]]
    if isinstance(literal, int):
        sources += [["int", literal], ["flatten_dict", ".", literal, "v"]]
    for source in sources:
        with pytest.raises(ConfigError, match="4,300 digits"):
            evaluate(source, {})
        with pytest.raises(ConfigError, match="4,300 digits"):
            converter({"event_properties": {"n": source}})


def test_a_wide_row_of_the_limit_in_time_patterns_and_keys():
    key = "9" * 100_000
    with pytest.raises(NoValue):
        evaluate(["path", "a", key], {"a": [1]})
    assert evaluate(key, {key: 1}) == 1

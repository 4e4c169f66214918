"""The reference page, the schema and the examples in them are those of the operator table."""

import json
from pathlib import Path

import jsonschema
import pytest

from sluice.converter import Converter, NoValue, evaluate
from sluice.converter.cases import Result, run_cases
from sluice.converter.compiler import BY_NAME, OPERATORS
from sluice.converter.reference import FAMILIES, reference_page, schema_text

ROOT = Path(__file__).parents[3]
EXAMPLES = [
    pytest.param(example, id=f"{operator.name}-{number}")
    for operator in OPERATORS
    for number, example in enumerate(operator.examples)
]
CASES = json.loads(Path(__file__).with_name("converter-cases.json").read_text())


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_of_the_reference_is_true(example):
    if example.no_value:
        with pytest.raises(NoValue):
            evaluate(example.source, example.element, clock_ms=example.clock_ms)
    else:
        found = evaluate(example.source, example.element, clock_ms=example.clock_ms)
        assert json.dumps(found) == json.dumps(example.result)


def test_each_operator_has_an_example_and_a_place():
    assert all(operator.examples for operator in OPERATORS)
    assert sorted(o.name for _, family in FAMILIES for o in family) == sorted(o.name for o in OPERATORS)
    assert len(BY_NAME) == sum(1 + len(operator.aliases) for operator in OPERATORS)


def test_the_cases_of_the_page_hold_for_its_converter(tmp_path):
    config, cases = (block.split("```")[0] for block in reference_page().split("```json\n")[1:3])
    path = tmp_path / "shop.tests.json"
    path.write_text(cases)
    [result] = run_cases(Converter.from_config(json.loads(config)), path)
    assert result == Result("a purchase", ())


def test_the_page_is_current():
    assert (ROOT / "docs/converter.md").read_text(encoding="utf-8") == reference_page()


def test_the_schema_is_current():
    path = ROOT / "include/config/converters/schema.json"
    assert path.read_text(encoding="utf-8") == schema_text()


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(schema_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def whole(case):
    if case["kind"] == "convert_defaults":
        return case["config"]
    mapping = case["config"] if case["kind"] == "convert" else {"x": case["config"]}
    inner = {"fileType": "json", "compressionType": "none", "convertToAmplitudeFunc": mapping}
    return {"converterConfig": inner}


SCHEMA_CASES = [case for case in CASES if case["kind"] != "key_filter"]


@pytest.mark.parametrize("case", SCHEMA_CASES, ids=[case["name"] for case in SCHEMA_CASES])
def test_the_schema_agrees_with_the_compiler(validator, case):
    # An odd number of pairs is the one mistake of the list that JSON Schema cannot see.
    wrong = case["expected"] == {"$error": "config_error"}
    assert validator.is_valid(whole(case)) is not wrong


def test_the_shipped_converters_follow_the_schema(validator):
    folder = ROOT / "include/config/converters"
    converters = [
        p for p in folder.glob("*.json") if p.name != "schema.json" and not p.name.endswith(".tests.json")
    ]
    assert converters
    for path in converters:
        validator.validate(json.loads(path.read_text(encoding="utf-8")))


def test_the_page_documents_every_name():
    page = reference_page()
    assert [name for name in BY_NAME if f"`{name}`" not in page] == []

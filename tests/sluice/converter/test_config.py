"""The whole configuration: every problem in one go, each with its place; and what convert adds to the
mapping.
"""

import copy
import json
import logging
import subprocess
import sys

import pytest

from sluice.converter import ConfigError, Converter, Problem, RowError, evaluate
from sluice.errors import SluiceError


def config(mapping=None, *, pattern=".*", **inner):
    inner = {"fileType": "json", "compressionType": "none", "convertToAmplitudeFunc": mapping or {}, **inner}
    return {"converterConfig": inner, "keyValidatorConfig": {"filterPattern": pattern}}


def problems(document):
    with pytest.raises(ConfigError) as error:
        Converter.from_config(document)
    return error.value.problems


def test_all_problems_are_found_in_one_go():
    found = problems(
        {
            "config_name": ["a", "b"],
            "converterconfig": {},
            "converterConfig": {
                "fileType": "JSON",
                "compressionType": "zip",
                "ignoreEventFlg": "x",
                "csvDelimiter": "",
                "convertToAmplitudeFunc": {
                    "user_id": ["concatt", "a", ["lowwer", "b"]],
                    "time": ["iso_time_to_ms"],
                    "event_properties": {
                        "a/b~c": ["bool", "true"],
                        "n": ["int", 1.5],
                        "r": ["replace_with", "(", "$1", "s"],
                        "p": ["parse_time_to_ms", "YYYY", "s"],
                        "five": 5,
                        "none": [],
                        "head": [["path"]],
                        "step": ["path", "a", 1],
                        "sep": ["split", "", "s"],
                        "raw": ["contains", ["value", "x"], "s"],
                    },
                },
            },
            "keyValidatorConfig": {"filterPattern": "*.json", "filter": 1},
        }
    )
    where = "/converterConfig/convertToAmplitudeFunc"
    properties = where + "/event_properties"
    expected = [
        ("/config_name", "", "a list of 2"),
        ("/converterconfig", "", 'did you mean "converterConfig"'),
        ("/converterConfig/fileType", "", 'did you mean "json"'),
        ("/converterConfig/compressionType", "", '"none" or "gzip"'),
        ("/converterConfig/ignoreEventFlg", "", 'did you mean "ignoreEventFlag"'),
        ("/converterConfig/csvDelimiter", "", "one character"),
        ("/keyValidatorConfig/filterPattern", "", "* has nothing to repeat"),
        ("/keyValidatorConfig/filter", "", 'did you mean "filterPattern"'),
        (where + "/user_id/0", "concatt", 'did you mean "concat"'),
        (where + "/user_id/2/0", "lowwer", 'did you mean "lower"'),
        (where + "/time", "iso_time_to_ms", 'found 0 arguments; the signature is ["iso_time_to_ms", SOURCE]'),
        (properties + "/a~1b~0c/1", "bool", 'found the string "true"; allowed are true and false'),
        (properties + "/n/1", "int", "found the number 1.5; allowed is an integer"),
        (properties + "/r/1", "replace_with", "( without )"),
        (properties + "/p/1", "parse_time_to_ms", "the letter Y"),
        (properties + "/five", "", '["value", …]'),
        (properties + "/none", "", "an empty list"),
        (properties + "/head", "", "a list of 1 as its first item"),
        (properties + "/step/2", "", "found the number 1 where a source is needed"),
        (properties + "/sep/1", "split", "the empty string"),
        (properties + "/raw/1", "contains", "found a list of 2; allowed is a literal string"),
    ]
    left = list(found)
    for pointer, operator, words in expected:
        match = [p for p in left if (p.pointer, p.operator) == (pointer, operator) and words in p.message]
        assert match, (pointer, operator, words, found)
        left.remove(match[0])
    assert left == []


def test_a_problem_is_a_triple_and_an_error_says_all():
    error = ConfigError(problems(config({"a": ["concatt", "x"]})))
    assert isinstance(error, SluiceError)
    [(pointer, operator, message)] = error.problems
    assert Problem(pointer, operator, message) == error.problems[0]
    assert pointer in str(error)
    assert message in str(error)


@pytest.mark.parametrize("document", [None, [], "x", {}, {"converterConfig": []}, {"converterConfig": {}}])
def test_a_document_that_is_no_configuration_is_refused(document):
    assert problems(document)


@pytest.mark.parametrize(
    ("inner", "pointer"),
    [
        ({"fileType": "parquet", "compressionType": "gzip"}, "/converterConfig/compressionType"),
        ({"fileType": "csv", "csvHeader": False}, "/converterConfig"),
        ({"fileType": "csv", "csvColumns": ["a"]}, "/converterConfig/csvColumns"),
        ({"fileType": "csv", "csvHeader": False, "csvColumns": ["a", "a"]}, "/converterConfig/csvColumns"),
        ({"fileType": "csv", "csvDelimiter": '"'}, "/converterConfig/csvQuoteChar"),
        ({"fileType": "csv", "csvDelimiter": "||"}, "/converterConfig/csvDelimiter"),
        ({"fileType": "csv", "csvHeader": 0}, "/converterConfig/csvHeader"),
        ({"csvDelimeter": ";"}, "/converterConfig/csvDelimeter"),
        ({"encoding": "utf-9"}, "/converterConfig/encoding"),
        ({"encoding": "base64"}, "/converterConfig/encoding"),
        ({"encoding": 8}, "/converterConfig/encoding"),
        ({"ignoreEventFlag": ""}, "/converterConfig/ignoreEventFlag"),
        ({"fileType": ["json"]}, "/converterConfig/fileType"),
    ],
)
def test_file_keys_that_contradict_are_refused(inner, pointer):
    assert pointer in {problem.pointer for problem in problems(config(**inner))}


def test_the_typed_configuration():
    typed = Converter.from_config(
        {
            **config(
                fileType="csv",
                compressionType="gzip",
                csvDelimiter="\t",
                csvQuoteChar=None,
                csvEscapeChar="\\",
                csvHeader=False,
                csvColumns=["a", "b"],
                encoding="latin-1",
                ignoreEventFlag="$ignore",
            ),
            "config_name": "orders",
        }
    ).config
    assert typed.name == "orders"
    assert (typed.file_type, typed.compression, typed.filter_pattern) == ("csv", "gzip", ".*")
    assert (typed.csv_delimiter, typed.csv_quote, typed.csv_escape) == ("\t", None, "\\")
    assert (typed.csv_header, typed.csv_columns) == (False, ("a", "b"))
    assert (typed.encoding, typed.ignore_flag) == ("latin-1", "$ignore")


def test_csv_keys_have_defaults():
    typed = Converter.from_config({**config(fileType="csv"), "config_name": ["orders"]}).config
    assert (typed.csv_delimiter, typed.csv_quote, typed.csv_escape) == (",", '"', None)
    assert (typed.csv_header, typed.csv_columns, typed.encoding) == (True, None, "utf-8")
    assert typed.name == "orders"


@pytest.mark.parametrize("file_type", ["json", "parquet"])
def test_csv_keys_count_for_csv_only(file_type):
    ignored = {"csvDelimiter": "||", "csvQuoteChar": 1, "csvHeader": False, "csvColumns": []}
    converter = Converter.from_config(config({"user_id": "u"}, fileType=file_type, **ignored))
    assert converter.config.csv_delimiter == ","
    assert converter.convert({"u": "x"})["user_id"] == "x"


def test_the_hash_is_of_the_content_not_of_its_order():
    document = config({"user_id": "u", "time": "t"})
    inner = document["converterConfig"]
    turned = {**document, "converterConfig": dict(reversed(inner.items()))}
    assert Converter.from_config(document).hash == Converter.from_config(turned).hash
    assert len(Converter.from_config(document).hash) == 64
    assert Converter.from_config(document).hash != Converter.from_config(config({"user_id": "v"})).hash


def test_a_file_is_read_and_duplicate_keys_in_it_are_problems(tmp_path):
    file = tmp_path / "c.json"
    file.write_text(json.dumps(config({"user_id": "u"})))
    assert Converter.from_file(file).convert({"u": "x"})["user_id"] == "x"
    file.write_text('{"converterConfig": {"fileType": "json", "fileType": "csv"}}')
    with pytest.raises(ConfigError, match='"fileType" is given twice'):
        Converter.from_file(str(file))
    file.write_text("{oops")
    with pytest.raises(ConfigError, match="line 1"):
        Converter.from_file(file)
    with pytest.raises(ConfigError, match="No such file"):
        Converter.from_file(tmp_path / "none.json")


def test_a_folder_placeholder_is_no_data_file():
    converter = Converter.from_config(config(pattern=".*"))
    assert converter.matches("dev/a.json", "dev/")
    assert not converter.matches("dev/", "")
    assert not Converter.from_config({"converterConfig": config()["converterConfig"]}).matches("dev/")
    assert Converter.from_config({"converterConfig": config()["converterConfig"]}).matches("dev/x")


def test_the_prefix_is_cut_only_where_it_is():
    converter = Converter.from_config(config(pattern=r"a\.json"))
    assert converter.matches("dev/a.json", "dev/")
    assert not converter.matches("dev/a.json", "prod/")
    assert not converter.matches("dev/a.json")


def test_only_booleans_ignore_and_others_are_logged_once(caplog):
    converter = Converter.from_config(
        config({"event_type": "e", "$ignore": "flag"}, ignoreEventFlag="$ignore")
    )
    event = {"event_type": "x", "$skip_user_properties_sync": True}
    with caplog.at_level(logging.WARNING):
        for flag in (False, None, "false", "yes", 1, [True]):
            assert converter.convert({"e": "x", "flag": flag}) == event
        assert converter.convert({"e": "x"}) == event
        assert converter.convert({"e": "x", "flag": "TRUE"}) is None
    assert len(caplog.records) == 1


def test_a_flag_that_is_no_boolean_is_logged_once_for_each_file(caplog):
    converter = Converter.from_config(
        config({"time": ["ms_time_now"], "$ignore": "flag"}, ignoreEventFlag="$ignore")
    )
    with caplog.at_level(logging.WARNING):
        for clock_of_the_file in (1_000, 2_000):
            for _ in range(3):
                converter.convert({"flag": "yes"}, clock_ms=clock_of_the_file)
        assert len(caplog.records) == 2
        for _ in range(3):
            converter.convert({"flag": "yes"})
        assert len(caplog.records) == 3


def test_an_ignored_row_raises_nothing():
    mapping = {"price": ["+", "p"], "$ignore": ["equals", "e", ["value", "x"]]}
    converter = Converter.from_config(config(mapping, ignoreEventFlag="$ignore"))
    assert converter.convert({"e": "x", "p": "1e9999"}) is None


def test_a_mapping_may_be_any_source():
    converter = Converter.from_config(config(["merge_dicts", ["path"], {"f": "g"}], ignoreEventFlag="f"))
    row = {"user_id": "u", "n": None}
    assert converter.convert(row) == {"user_id": "u", "$skip_user_properties_sync": True}
    assert row == {"user_id": "u", "n": None}
    assert converter.convert({"user_id": "u", "g": True}) is None
    assert converter.target_fields is None
    for mapping, found in (("x", "no value"), (["value", [1]], "a list of 1"), (["value", None], "null")):
        with pytest.raises(RowError, match=f"the mapping gave {found}, not an object"):
            Converter.from_config(config(mapping)).convert({})


def test_an_event_may_be_changed_without_harm():
    converter = Converter.from_config(config({"event_properties": ["value", {"a": [1]}]}))
    converter.convert({})["event_properties"]["a"].append(2)
    assert converter.convert({})["event_properties"] == {"a": [1]}


@pytest.mark.parametrize("field", ["user_properties", "group_properties"])
def test_operations_and_plain_properties_do_not_mix(field):
    converter = Converter.from_config(config({field: "p"}))
    for good in (
        {"$set": {}, "$append": {}, "$prepend": {}},
        {"a": 1},
        {"$other": 1, "a": 2},
        {"$clearAll": "-"},
        {},
    ):
        assert converter.convert({"p": good})[field] == good
    for bad in ({"$set": {}, "a": 1}, {"$clearAll": "-", "$set": {}}):
        with pytest.raises(RowError) as error:
            converter.convert({"p": bad})
        assert error.value.field == field


def test_the_clock_is_the_callers_or_now():
    converter = Converter.from_config(config({"time": ["ms_time_now"], "x": ["iso_time_now"]}))
    event = converter.convert({}, clock_ms=1645066434189)
    assert (event["time"], event["x"]) == (1645066434189, "2022-02-17T02:53:54.189")
    now = converter.convert({})
    assert evaluate(["iso_time_to_ms", "x"], now) == now["time"] > 1645066434189


def test_warnings_name_what_will_be_ignored():
    document = config(
        {"user_id": "u", "colour": "c", "start_version": "s", "mutation_type": "m"}, ignoreEventFlag="f"
    )
    del document["keyValidatorConfig"]
    warnings = Converter.from_config(document).warnings
    assert [warning.pointer for warning in warnings] == [
        "/converterConfig/convertToAmplitudeFunc/colour",
        "",
        "/converterConfig/ignoreEventFlag",
    ]
    assert "event_properties or user_properties" in warnings[0].message


def test_usage_names_the_fields_of_the_row_only():
    mapping = {
        "a": ["path", "x", "y", ["lower", "z"]],
        "b": ["any", "x", ["exclude_keys", ["path"], "w"]],
        "c": "v",
    }
    usage = Converter.from_config(config(mapping)).usage
    assert list(usage.fields) == ["x", "v"]
    assert usage.whole_row
    assert usage.operators == {"path": 2, "lowercase": 1, "any": 1, "exclude_keys": 1}


def test_a_key_that_a_dict_names_twice_takes_the_last_value():
    assert evaluate(["dict", "a", "x", "a", "y"], {"x": 1, "y": 2}) == {"a": 2}
    assert evaluate(["dict", "a", "x", "a", "y"], {"x": 1}) == {"a": 1}


def test_python_values_that_are_no_json_are_refused():
    for literal in ({1: 2}, (1,), {"a": {3}}, b"x"):
        with pytest.raises(ConfigError):
            evaluate(["value", literal], {})
    with pytest.raises(ConfigError):
        evaluate({1: "a"}, {})


EXPORT_LINE = {
    "$insert_id": "i-1", "$insert_key": None, "$schema": None, "adid": None, "amplitude_id": 45975551903,
    "app": 187520, "city": "Hemel Hempstead", "client_event_time": "2020-01-25 17:03:11.123000",
    "client_upload_time": "2020-01-25 17:03:12.250000", "country": "United Kingdom",
    "data": {"path": "/2/httpapi"}, "device_carrier": "EE", "device_family": "Mac OS X",
    "device_id": "4289c8b4-7afe-49ed-8814-51c5fc77c693", "device_type": "Mac", "event_id": 135,
    "event_properties": {"n": 1, "list": [1, None], "o": {"x": True}},
    "event_time": "2020-01-25 17:03:11.123000", "event_type": "session_start", "group_properties": {},
    "groups": {}, "ip_address": "203.0.113.9", "language": "English", "library": "amplitude-ts/2.16.1",
    "os_name": "Chrome", "os_version": "137", "platform": "Web", "region": "Hertfordshire",
    "session_id": 1579971791123, "user_id": "jack@example.com", "user_properties": {"plan": "pro"},
    "version_name": None,
}  # fmt: skip


def reimport_config():
    """The public converter for exported files (amplitude-spec 5.6)."""
    same = (
        "adid city country device_brand device_manufacturer device_model device_type dma event_id "
        "event_properties "
        "event_type group_properties groups idfa language library location_lat location_lng os_name "
        "os_version "
        "platform region session_id user_properties"
    )
    or_null = {
        field: ["ifelse", ["eq", field, ["value", ""]], ["value", None], field]
        for field in ("user_id", "device_id")
    }
    mapping = {
        "insert_id": "$insert_id",
        "carrier": "device_carrier",
        "ip": "ip_address",
        "app_version": "version_name",
        "time": ["iso_time_to_ms", "event_time"],
        **or_null,
        **{name: name for name in same.split()},
    }
    return config(mapping, pattern=r".*\.json\.gz", compressionType="gzip")


def test_an_exported_line_comes_back_as_the_same_event():
    converter = Converter.from_config(reimport_config())
    before = copy.deepcopy(EXPORT_LINE)
    event = converter.convert(EXPORT_LINE)
    assert before == EXPORT_LINE
    assert event["insert_id"] == EXPORT_LINE["$insert_id"]
    for field in ("event_type", "user_id", "device_id", "event_properties", "user_properties", "session_id"):
        assert event[field] == EXPORT_LINE[field]
    # Back to the exported form, the time is the same text.
    assert evaluate(["ms_to_iso_time", "time"], event) == EXPORT_LINE["event_time"].replace(" ", "T")[:-3]
    assert converter.convert({**EXPORT_LINE, "user_id": ""}).get("user_id") is None
    assert converter.matches("187520/187520_2020-01-25_17#0.json.gz")
    assert not converter.matches("187520/187520_2020-01-25_17_complete")


def test_the_library_imports_nothing_heavy():
    code = "import sys, sluice.converter; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "sluice.converter.compiler" in loaded
    heavy = {"airflow", "pandas", "pyarrow", "boto3", "numpy", "duckdb", "pydantic"}
    assert heavy.isdisjoint(loaded)
    rooms = {name.split(".")[1] for name in loaded if name.startswith("sluice.")}
    assert rooms == {"converter", "errors"}

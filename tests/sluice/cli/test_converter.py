"""The commands of `sluice converter`, run as a person does."""

import base64
import datetime
import decimal
import gzip
import json
from pathlib import Path

import boto3
import pyarrow
import pyarrow.parquet
import pytest
from click.testing import CliRunner
from moto import mock_aws

from sluice.cli.converter import converter
from sluice.converter import ConverterConfig, RowError, preview
from sluice.converter.preview import PreviewError, read_rows
from sluice.errors import SluiceError

MAPPING = {
    "event_type": "action",
    "user_id": ["lower", "user"],
    "time": ["iso_time_to_ms", "at"],
    "event_properties": {"price": ["+", "price"], "sku": ["path", "item", "sku"]},
    "$ignore": ["equals", "action", ["value", "ping"]],
}
ROWS = [
    {
        "action": "buy",
        "user": "JO",
        "at": "2024-01-02 03:04:05",
        "price": "1.5",
        "item": {"sku": "A"},
        "x": 1,
    },
    {"action": "ping", "user": None},
    {"action": "buy", "user": "Al", "price": "9e9999"},
]


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "shop.json"
    write(path, MAPPING)
    return path


def write(path, mapping, **inner):
    inner = {"fileType": "json", "compressionType": "none", "ignoreEventFlag": "$ignore", **inner}
    document = {
        "config_name": ["shop"],
        "converterConfig": {**inner, "convertToAmplitudeFunc": mapping},
        "keyValidatorConfig": {"filterPattern": r".*\.jsonl"},
    }
    path.write_text(json.dumps(document))
    return document


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS) + "\n{oops\n")
    return path


def run(*arguments, code=0):
    result = CliRunner().invoke(converter, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_check_sums_up_a_good_converter(config):
    output = run("check", config)
    assert "no problems" in output
    assert "event_type, user_id, time, event_properties" in output
    assert "lowercase 1" in output
    summary = json.loads(run("check", config, "--json"))
    assert summary["source_fields"] == ["action", "user", "at", "price", "item"]
    assert summary["warnings"] == []


def test_check_warns_of_a_field_that_is_ignored(config):
    write(config, {**MAPPING, "colour": "c"})
    assert "colour is neither an HTTP V2 nor an Identify key" in run("check", config)


def test_check_says_what_becomes_of_the_export_s_own_columns(config):
    write(config, {**MAPPING, "library": "l"})
    assert "library is neither an HTTP V2 nor an Identify key; Sluice keeps it" in run("check", config)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file or directory"),
        (b"", "is empty"),
        (b"{oops", "is not JSON: Expecting property name"),
        (b"\x93\xff", "is not UTF-8 text"),
        (b"[" * 100_000, "nested deeper than 200 levels"),
        (b"[]", "an empty list; a configuration is an object"),
    ],
    ids=["missing", "empty", "broken", "binary", "deep", "list"],
)
@pytest.mark.parametrize("command", ["check", "preview", "test", "explain"])
def test_a_configuration_that_cannot_be_read_is_one_message(tmp_path, file, command, content, words):
    path = tmp_path / "c.json"
    if content is not None:
        path.write_bytes(content)
    arguments = [file] if command in ("preview", "explain") else []
    output = run(command, path, *arguments, code=1)
    assert words in output
    assert output.count(str(path)) == 1
    assert "Errno" not in output


def test_a_folder_is_no_configuration(tmp_path):
    assert "Is a directory" in run("check", tmp_path, code=1)


def test_check_names_all_problems(config):
    write(config, {"user_id": ["concatt", "a"], "time": ["int", "5"]}, fileType="xml")
    output = run("check", config, code=1)
    assert "3 problems" in output
    assert 'did you mean "concat"' in output
    assert len(json.loads(run("check", config, "--json", code=1))["problems"]) == 3


def test_preview_shows_rows_beside_events_and_reasons(config, file):
    output = run("preview", config, file)
    assert '"user_id": "jo"' in output
    assert "ignored" in output
    assert "event_properties: a number of more" in output
    assert "line 5 is not JSON" in output


def test_preview_for_machines(config, file):
    first, ignored, wrong, broken = json.loads(run("preview", config, file, "--json"))
    assert first["source"] == ROWS[0]
    assert first["event"]["event_properties"] == {"price": 1.5, "sku": "A"}
    assert ignored == {"row": 1, "source": ROWS[1], "event": None, "ignored": True, "error": None}
    assert wrong["error"]["field"] == "event_properties"
    assert broken["source"] is None
    assert broken["error"]["field"] == ""
    assert len(json.loads(run("preview", config, file, "--json", "--rows", 2))) == 2


@mock_aws
def test_preview_reads_s3(config, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="shop")
    body = "".join(json.dumps(ROWS[0]) + "\n" for _ in range(20))
    client.put_object(Bucket="shop", Key="a/rows.jsonl.gz", Body=gzip.compress(body.encode()))
    write(config, MAPPING, compressionType="gzip")
    [entry, _] = json.loads(run("preview", config, "s3://shop/a/rows.jsonl.gz", "--json", "--rows", 2))
    assert entry["event"]["user_id"] == "jo"
    result = CliRunner().invoke(converter, ["preview", str(config), "s3://shop/none"])
    assert isinstance(result.exception, PreviewError)
    assert "s3://shop/none" in str(result.exception)


def failure(*arguments):
    """The message with which the command line ends."""
    result = CliRunner().invoke(converter, [str(argument) for argument in arguments])
    assert isinstance(result.exception, (SluiceError, SystemExit)), result.exception
    assert result.exit_code == 1
    return str(result.exception) if isinstance(result.exception, SluiceError) else result.output


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file or directory"),
        (b"", "is empty"),
        (b"\x93\xff\n", "is not utf-8 text"),
        (b"[1]", "the file is a JSON array"),
        (gzip.compress(b"{}\n"), "compressionType is none, but the file is gzip"),
    ],
    ids=["missing", "empty", "binary", "array", "gzip"],
)
@pytest.mark.parametrize("command", ["preview", "explain", "init"])
def test_a_file_that_cannot_be_read_is_one_message(config, tmp_path, command, content, words):
    path = tmp_path / "rows"
    if content is not None:
        path.write_bytes(content)
    if command == "init":
        words = words.replace("compressionType is none, but the file is gzip", "it has none with a field")
    assert words in failure(command, *([] if command == "init" else [config]), path)


def test_a_folder_is_no_file_of_rows(config, tmp_path):
    assert "Is a directory" in failure("preview", config, tmp_path)
    assert "Is a directory" in failure("init", tmp_path)


def test_init_needs_a_row_that_can_be_read(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text("{oops\n")
    assert "no row can be read: line 1 is not JSON" in failure("init", path)
    path.write_text("name,user\n")
    assert "no row can be read" in failure("init", path)


def test_init_says_where_it_cannot_write(tmp_path, file):
    assert "No such file or directory" in failure("init", file, "--output", tmp_path / "no" / "c.json")


@pytest.mark.parametrize(
    ("location", "environment", "words"),
    [
        ("s3://shop/rows", {}, "Unable to locate credentials"),
        ("s3://shop", {}, "s3://bucket/key"),
        ("s3://", {}, "s3://bucket/key"),
        ("s3://shop/rows", {"AWS_PROFILE": "none-such"}, "none-such"),
        ("s3://shop/rows", {"AWS_ENDPOINT_URL": "nowhere"}, "Invalid endpoint"),
    ],
)
def test_s3_that_cannot_be_reached_is_one_message(
    config, monkeypatch, tmp_path, location, environment, words
):
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert words in failure("preview", config, location)


@mock_aws
@pytest.mark.parametrize("file_type", ["json", "parquet"])
def test_an_object_that_vanishes_while_it_is_read_is_one_message(config, monkeypatch, file_type):
    write(config, MAPPING, fileType=file_type)
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="shop")
    client.put_object(Bucket="shop", Key="rows", Body=b"PAR1" * 10)
    opened = preview.open_file("s3://shop/rows")
    client.delete_object(Bucket="shop", Key="rows")
    monkeypatch.setattr(preview, "open_file", lambda location: opened)
    assert "s3://shop/rows: An error occurred (NoSuchKey)" in failure("preview", config, "s3://shop/rows")


@pytest.mark.parametrize("command", ["preview", "explain"])
def test_half_a_character_can_be_shown(config, tmp_path, command):
    path = tmp_path / "rows"
    path.write_text('{"action": "\\ud800", "x\\udfff": 1}\n')
    assert "\\ud800" in run(command, config, path)


def cases(config, *cases):
    config.with_name("shop.tests.json").write_text(json.dumps(cases))


def test_test_runs_the_cases_beside_the_converter(config):
    event = {
        "event_type": "buy",
        "user_id": "jo",
        "time": 1704164645000,
        "event_properties": {"price": 1.5, "sku": "A"},
        "$skip_user_properties_sync": True,
    }
    good = {"name": "a purchase", "row": ROWS[0], "event": event}
    ignored = {"row": ROWS[1], "event": None}
    wrong = {"row": ROWS[2], "error": "event_properties"}
    cases(config, good, ignored, wrong)
    assert "3 of 3 cases passed" in run("test", config)
    bad = {**good, "event": {**event, "user_id": "JO", "ip": "1", "event_properties": {"price": 1.5}}}
    cases(config, bad, {**wrong, "error": "user_id"}, {**good, "error": "time", "event": None})
    result = CliRunner().invoke(converter, ["test", str(config)])
    assert "must hold a list of objects" in str(result.exception)
    cases(config, bad, {**wrong, "error": "user_id"}, {"row": ROWS[0], "error": "time"})
    output = run("test", config, code=1)
    assert '/user_id: expected the string "JO", found the string "jo"' in output
    assert '/ip: expected the string "1", found nothing' in output
    assert '/event_properties/sku: not expected, found the string "A"' in output
    assert "an error of the field time" in output
    assert "0 of 3 cases passed" in output


def test_the_shipped_converters_pass_their_cases():
    folder = Path(__file__).parents[3] / "include/config/converters"
    shipped = {path.name for path in folder.glob("*.json")} - {"schema.json"}
    converters = {name for name in shipped if not name.endswith(".tests.json")}
    assert {"amplitude_export.json", "flights.json"} <= converters
    assert {name.removesuffix(".tests.json") + ".json" for name in shipped - converters} == converters
    for name in converters:
        output = run("test", folder / name)
        assert "passed  " in output
        assert "FAILED" not in output


def test_test_says_how_the_file_of_cases_must_look(config):
    assert "shop.tests.json: No such file or directory; it must hold a list of objects" in failure(
        "test", config
    )
    config.with_name("shop.tests.json").write_text("{")
    assert "shop.tests.json: is not JSON" in failure("test", config)
    for case in ({"clock_ms": "x"}, {"error": 5}, {"name": 5}):
        cases(config, {"row": {}, **({} if "error" in case else {"event": {}}), **case})
        assert "must hold a list of objects" in failure("test", config)


def test_a_case_with_half_a_character_can_be_shown(config):
    cases(config, {"name": "\ud800", "row": {"action": "\ud801"}, "event": {"event_type": "\ud802"}})
    output = run("test", config, code=1)
    assert "FAILED  \\ud800" in output
    assert "\\ud802" in output


def test_explain_counts_what_each_field_got(config, file):
    report = json.loads(run("explain", config, file, "--json"))
    assert (report["rows"], report["events"], report["ignored"]) == (4, 1, 1)
    fields = {item["name"]: item for item in report["fields"]}
    assert list(fields)[:4] == ["event_type", "user_id", "time", "event_properties.price"]
    assert fields["event_type"]["types"] == {"string": 3}
    assert (fields["user_id"]["values"], fields["user_id"]["missing"]) == (2, 1)
    assert (fields["event_properties.price"]["errors"], fields["event_properties.price"]["values"]) == (1, 2)
    assert report["unused_source_fields"] == ["x"]
    output = run("explain", config, file)
    assert "4 rows: 1 events, 1 ignored, 2 without event" in output
    assert "source fields never used: x" in output


def test_init_proposes_a_converter_that_works(tmp_path):
    file = tmp_path / "orders.csv.gz"
    text = "user id;event_ts;Event;device_id;price;colour\n"
    text += "u1;1/2/2024 3:04:05;view;d1;1.5;red\nu2;1/3/2024 3:04:05;buy;d2;2;\n"
    file.write_bytes(gzip.compress(text.encode()))
    output = tmp_path / "orders.json"
    run("init", file, "--output", output)
    inner = json.loads(output.read_text())["converterConfig"]
    assert (inner["fileType"], inner["compressionType"], inner["csvDelimiter"]) == ("csv", "gzip", ";")
    assert inner["convertToAmplitudeFunc"] == {
        "event_type": "Event",
        "user_id": "user id",
        "device_id": "device_id",
        "time": ["parse_time_to_ms", "M/d/yyyy H:mm:ss", "event_ts"],
        "price": "price",
        "event_properties": {"colour": "colour"},
    }
    assert "no problems" in run("check", output)
    assert json.loads(run("preview", output, file, "--json"))[0]["event"]["user_id"] == "u1"
    assert "exists already" in run("init", file, "--output", output, code=1)


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ("2024-01-02T03:04:05Z", ["iso_time_to_ms", "ts"]),
        ("1/2/2024 3:04:05", ["parse_time_to_ms", "M/d/yyyy H:mm:ss", "ts"]),
        (1704164645000, "ts"),
        ("1704164645", ["multiply", "ts", ["int", 1000]]),
        ("soon", None),
    ],
)
def test_init_recognises_times(tmp_path, value, source):
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"uid": "u", "ts": value, "event_properties": {"a": 1}, "more": 2}) + "\n")
    mapping = json.loads(run("init", file))["converterConfig"]["convertToAmplitudeFunc"]
    assert mapping.get("time") == source
    assert mapping["user_id"] == "uid"
    assert mapping["event_type"] == ["value", "Imported Event"]
    assert mapping["event_properties"][:2] == ["merge_dicts", "event_properties"]


def rows(path, **config):
    settings = {"file_type": "json", "compression": "none", "filter_pattern": None, **config}
    return list(read_rows(str(path), ConverterConfig(**settings)))


def test_csv_cells_stay_strings(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text('\ufeffa;b\n1;""\n"x;y";"q""q"\n\n3\n', encoding="utf-8")
    one, two, three = rows(file, file_type="csv", csv_delimiter=";")
    assert (one, two) == ({"a": "1", "b": ""}, {"a": "x;y", "b": 'q"q'})
    assert isinstance(three, RowError)
    file.write_text("1\\,2,'3'\n")
    given = {"csv_escape": "\\", "csv_quote": None, "csv_header": False, "csv_columns": ("a", "b")}
    assert rows(file, file_type="csv", **given) == [{"a": "1,2", "b": "'3'"}]
    file.write_text("a,a\n1,2\n")
    with pytest.raises(PreviewError, match="twice"):
        rows(file, file_type="csv")


def test_the_compression_must_be_the_configured_one(tmp_path):
    file = tmp_path / "a.json"
    file.write_bytes(gzip.compress(b'{"a": 1}\n'))
    assert rows(file, compression="gzip") == [{"a": 1}]
    with pytest.raises(PreviewError, match="compressionType is none, but the file is gzip"):
        rows(file)
    file.write_bytes(gzip.compress(b'{"a": 1}\n' * 10_000)[:-20])
    with pytest.raises(PreviewError):
        rows(file, compression="gzip")
    file.write_text('{"a": 1}\n')
    with pytest.raises(PreviewError, match="is parquet, but"):
        rows(file, file_type="parquet")
    with pytest.raises(PreviewError, match="No such file"):
        rows(tmp_path / "none")


def test_a_json_array_is_refused_and_other_lines_are_row_errors(tmp_path):
    file = tmp_path / "a.json"
    file.write_text('[{"a": 1}]')
    with pytest.raises(PreviewError, match="one JSON object per line"):
        rows(file)
    file.write_text('{"n": 12345678901234567890123}\n5\n{"n": 1e400}\n')
    first, scalar, infinite = rows(file)
    assert first == {"n": 12345678901234567890123}
    assert "the number 5, not an object" in scalar.reason
    assert "line 3" in infinite.reason


def test_a_parquet_time_that_python_cannot_hold_is_its_row_s_error(tmp_path):
    file = tmp_path / "a.parquet"
    year_zero = pyarrow.array([-62_150_000_000_000_000, 0], pyarrow.timestamp("us"))
    pyarrow.parquet.write_table(pyarrow.table({"t": year_zero}), file)
    error, good = rows(file, file_type="parquet")
    assert isinstance(error, RowError)
    assert "outside of the years 1 to 9999" in error.reason
    assert good == {"t": "1970-01-01T00:00:00.000000"}


def test_parquet_types_become_json(tmp_path):
    table = pyarrow.table(
        {
            "ns": pyarrow.array([1579971791123456789], pyarrow.timestamp("ns")),
            "tz": pyarrow.array([1579971791123456], pyarrow.timestamp("us", tz="Europe/Berlin")),
            "date": [datetime.date(2020, 1, 25)],
            "exact": [decimal.Decimal("1.50")],
            "whole": [decimal.Decimal("7.00")],
            "long": [decimal.Decimal("1234567890123456789.01")],
            "inexact": pyarrow.array([decimal.Decimal("9007199254740993")], pyarrow.decimal128(20, 0)),
            "bytes": [b"\x00\xff"],
            "nan": [float("nan")],
            "struct": [{"a": [1, None]}],
            "map": pyarrow.array([[("k", 1.5)]], pyarrow.map_(pyarrow.string(), pyarrow.float64())),
        }
    )
    file = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(table, file)
    assert rows(file, file_type="parquet") == [
        {
            "ns": "2020-01-25T17:03:11.123456",
            "tz": "2020-01-25T17:03:11.123456",
            "date": "2020-01-25",
            "exact": 1.5,
            "whole": 7,
            "long": "1234567890123456789.01",
            "inexact": "9007199254740993",
            "bytes": base64.b64encode(b"\x00\xff").decode(),
            "nan": None,
            "struct": {"a": [1, None]},
            "map": {"k": 1.5},
        }
    ]

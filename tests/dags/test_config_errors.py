"""A mistake in the configuration is an import error that a person can act on, and costs no other DAG."""

import pytest

CONFIG_ERRORS = "config_errors.py"


def errors(bag):
    """Return the import errors by file name."""
    return {path.rsplit("/", 1)[-1]: text for path, text in bag.import_errors.items()}


def test_a_valid_configuration_is_no_error_and_no_dag(parse_dags, config_folder, caplog):
    bag = parse_dags()
    assert errors(bag) == {}
    assert not [dag for dag in bag.dags.values() if dag.fileloc.endswith(CONFIG_ERRORS)]
    assert not [
        record for record in caplog.records if CONFIG_ERRORS in record.getMessage() and record.levelno > 20
    ]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        pytest.param(
            {"bukcet": "x"},
            ["bukcet: unknown key; did you mean bucket?", "partition_bytes"],
            id="unknown key",
        ),
        pytest.param(
            {"bucket": None}, ["bucket: not text", "Allowed: the name of an S3 bucket"], id="no bucket"
        ),
        pytest.param(
            {"marker": "always"}, ["marker: neither true nor false", "true or false"], id="wrong type"
        ),
        pytest.param(
            {"projects": [1]}, ["project 1 is not in projects.yaml", "Allowed: 187520"], id="reference"
        ),
    ],
)
def test_a_bad_file_is_one_error_with_key_and_choice_and_the_other_dags_load(
    parse_dags, write_yaml, keys, words
):
    write_yaml("exports/bad.yaml", "exports/flights.yaml", **({"id": "bad", "bucket": "other-bucket"} | keys))
    bag = parse_dags()
    (text,) = errors(bag).values()
    assert list(errors(bag)) == [CONFIG_ERRORS]
    assert "exports/bad.yaml, line " in text
    for word in words:
        assert word in text
    assert {"export_hourly__flights", "import_s3__flights"} <= set(bag.dags)
    assert "export_hourly__bad" not in bag.dags


def test_a_broken_converter_takes_its_import_down_only_in_the_report(parse_dags, config_folder):
    path = config_folder / "converters" / "flights.json"
    path.write_text(path.read_text().replace('"concat"', '"glue"'))
    bag = parse_dags()
    assert "converters/flights.json" in errors(bag)[CONFIG_ERRORS]
    assert "glue" in errors(bag)[CONFIG_ERRORS]
    assert "export_hourly__flights" in bag.dags


def test_the_error_goes_when_the_file_is_mended(parse_dags, config_folder, write_yaml):
    write_yaml("exports/bad.yaml", "exports/flights.yaml", id="bad", bucket="s3://x")
    assert CONFIG_ERRORS in errors(parse_dags())
    write_yaml("exports/bad.yaml", "exports/flights.yaml", id="bad", bucket="other-bucket")
    bag = parse_dags()
    assert errors(bag) == {}
    assert "export_hourly__bad" in bag.dags

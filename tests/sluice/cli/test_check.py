"""The command as a user calls it, on folders of files."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from sqlalchemy import insert

from sluice.cli import cli
from sluice.cli.config_tables import config_tables
from sluice.config import ConfigError, load_config
from sluice.config.imports import ImportConfig
from sluice.ledger import Ledger
from sluice.ledger.registry import record_destination, record_source
from sluice.ledger.tables import files, syncs

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path):
    """A copy of the repository's own configuration, to be spoiled."""
    for source in (REPOSITORY / "include" / "config").rglob("*"):
        if source.is_file():
            target = tmp_path / "config" / source.relative_to(REPOSITORY / "include" / "config")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    return tmp_path / "config"


def change(path, **keys):
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | keys))


def check(*arguments):
    return CliRunner(env={"SLUICE_LEDGER_URL": None}).invoke(cli, ["check", *map(str, arguments)])


def record(ledger, folder):
    """Record what is configured as having run, with one imported file."""
    config = load_config(folder)
    for export in config.exports:
        record_destination(ledger, export.id, export.as_json(), export.hash, export.start)
    for source in config.imports:
        record_source(ledger, source.id, source.as_json(), source.hash, ImportConfig.FIXED)
    with ledger.begin() as connection:
        for sync in config.syncs:
            connection.execute(
                insert(syncs).values(
                    id=sync.id, computed_time=1, config=sync.as_json(), config_hash=sync.hash
                )
            )
        moment = datetime(2013, 1, 1, tzinfo=UTC)
        connection.execute(
            insert(files).values(
                source="flights",
                bucket="sluice-customer",
                key="k",
                etag="e",
                size=1,
                last_modified=moment,
                converter_hash="0" * 64,
                state="done",
                discovered_at=moment,
                finished_at=moment,
            )
        )


def test_the_repository_itself_is_in_order():
    result = check("--config", REPOSITORY / "include" / "config")
    assert result.exit_code == 0, result.output
    for words in (
        "no problems",
        "187520",
        "189524 Example Air",
        "export_hourly__flights",
        "s3://sluice-export/",
        "import_s3__flights",
        "s3://sluice-customer/flights/",
        "flights.json",
        "by hand",
        "s3://sluice-audiences/cohorts/",
        "Kinesis stream sluice-audiences",
        "busy_ads",
        "delayed_crm",
    ):
        assert words in result.output


def test_a_gate_is_shown_with_how_many_expectations_its_file_adds(folder):
    expectation = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "user_id"}}
    change(folder / "exports" / "flights.yaml", quality={"expectations": [expectation]})
    change(folder / "imports" / "flights.yaml", quality={"enabled": False})
    gates = {
        table.title: list(next(column for column in table.columns if column.header == "gate").cells)
        for table in config_tables(load_config(folder))
        if table.title in ("Exports", "Imports")
    }
    assert gates == {"Exports": ["built-in + 1"], "Imports": ["off"]}


def test_all_problems_are_listed_and_the_exit_code_says_so(folder):
    change(folder / "exports/flights.yaml", bukcet="x")
    change(folder / "imports/flights.yaml", project=1)
    result = check("--config", folder)
    assert result.exit_code == 1
    assert isinstance(result.exception, ConfigError)
    assert "did you mean bucket?" in str(result.exception)
    assert "project 1 is not in projects.yaml. Allowed: 187520." in str(result.exception)


def test_a_converter_with_an_unknown_operator_is_found(folder):
    path = folder / "converters/flights.json"
    path.write_text(path.read_text().replace('"iso_time_to_ms"', '"iso_time_to_min"'))
    result = check("--config", folder)
    assert result.exit_code == 1
    assert "converters/flights.json" in str(result.exception)
    assert "iso_time_to_min" in str(result.exception)


def test_a_query_without_a_property_that_is_sent_is_found(folder):
    path = folder / "cohorts/busy.yaml"
    path.write_text(path.read_text().replace("AS carrier", "AS airline"))
    result = check("--config", folder)
    assert result.exit_code == 1
    assert "cohorts/busy.yaml, line 7: sql: the query does not return the column 'carrier'" in str(
        result.exception
    )


def test_a_change_is_shown_with_its_consequence(folder, ledger_url):
    record(Ledger.open(ledger_url), folder)
    assert "Nothing differs" in check("--config", folder, "--ledger", ledger_url).output
    change(folder / "exports/flights.yaml", prefix="new", name="[bold]Renamed")
    result = check("--config", folder, "--ledger", ledger_url)
    assert result.exit_code == 0, result.output
    assert "export flights: prefix: '' → 'new/'. Takes effect at the next run." in result.output
    assert "only by a backfill" in result.output
    assert "→ '[bold]Renamed'" in result.output


def test_moving_a_source_that_has_imported_is_refused(folder, ledger_url):
    record(Ledger.open(ledger_url), folder)
    change(folder / "imports/flights.yaml", bucket="elsewhere")
    result = check("--config", folder, "--ledger", ledger_url)
    assert result.exit_code == 1
    assert "import flights: bucket: 'sluice-customer' → 'elsewhere'. Refused" in result.output


def test_a_change_of_a_sync_is_shown_with_its_consequence(folder, ledger_url):
    record(Ledger.open(ledger_url), folder)
    change(folder / "cohort_destinations/crm.yaml", name="CRM of the north")
    change(folder / "cohorts/busy.yaml", sql="SELECT amplitude_id, user_id, 'x' AS carrier FROM events")
    result = check("--config", folder, "--ledger", ledger_url)
    assert result.exit_code == 0, result.output
    assert (
        "sync delayed_crm: destination.name: 'CRM' → 'CRM of the north'. Begins with an empty baseline"
        in result.output
    )
    assert 'sync busy_ads: cohort.sql: "SELECT\\n  amplitude_id' in result.output
    assert "sluice cohort preview" in result.output


def test_a_sync_that_is_new_or_gone_is_said(folder, ledger_url):
    record(Ledger.open(ledger_url), folder)
    path = folder / "cohorts/delayed.yaml"
    path.write_text(path.read_text().replace("id: delayed_crm", "id: delayed_mail"))
    output = check("--config", folder, "--ledger", ledger_url).output
    assert "sync delayed_mail: new" in output
    assert "sync delayed_crm: removed. Nothing more is sent, no exits either" in output


def test_a_ledger_from_before_cohorts_is_read(folder, tmp_path):
    url = f"sqlite:///{tmp_path / 'old.db'}"
    ledger = Ledger.open(url)
    with ledger.begin() as connection:
        for name in ("sync_turns", "sync_chains", "syncs"):
            connection.exec_driver_sql(f"DROP TABLE {name}")
    result = check("--config", folder, "--ledger", url)
    assert result.exit_code == 0, result.output
    assert "sync busy_ads: new" in result.output


def test_what_is_new_and_what_is_gone_is_said(folder, ledger_url):
    ledger = Ledger.open(ledger_url)
    record(ledger, folder)
    record_destination(ledger, "old", {}, "h", None)
    record_source(ledger, "older", {}, "h", ImportConfig.FIXED)
    change(folder / "exports/flights.yaml", id="renamed")
    output = check("--config", folder, "--ledger", ledger_url).output
    for line in (
        "export renamed: new",
        "export flights: removed",
        "export old: removed",
        "import older: removed",
    ):
        assert line in output


def test_a_ledger_without_tables_is_neither_filled_nor_made(folder, tmp_path):
    path = tmp_path / "sub" / "ledger.db"
    result = check("--config", folder, "--ledger", f"sqlite:///{path}")
    assert result.exit_code == 0, result.output
    assert "everything is new" in result.output
    assert not path.parent.exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql+psycopg2://sluice:hunter2@127.0.0.1:1/x", "does not answer"),
        ("mysql://sluice:hunter2@127.0.0.1/x", "SQLite or PostgreSQL"),
        ("hunter2", "none that SQLAlchemy reads"),
    ],
)
def test_a_ledger_that_is_down_does_not_hold_up_a_review(folder, url, words):
    result = check("--config", folder, "--ledger", url)
    assert result.exit_code == 0
    assert words in result.output
    assert "hunter2" not in result.output

"""`sluice export plan` and `sluice export size` on a lake, a ledger and a bucket."""

import json
from datetime import UTC, datetime

import pytest
from backfilling import backfill
from click.testing import CliRunner
from export_config import write_export_config
from exporting import Destination

from sluice.cli import cli
from sluice.config import load_config
from sluice.exports.ranges import HourRange

HOUR = datetime(2013, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def sluice(tmp_path, s3, s3_access, bucket, monkeypatch):
    """Run a command on the destination of the configuration."""
    folder = tmp_path / "config"
    write_export_config(folder, bucket, "small")
    (folder / "lake.yaml").write_text(f"uri: {tmp_path}/lake\n")
    connection = {
        "conn_type": "aws",
        "login": s3_access.access_key,
        "password": s3_access.secret_key,
        "extra": {"endpoint_url": s3_access.endpoint_url, "region_name": s3_access.region},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    destination = Destination.make(s3, bucket, tmp_path)
    destination.config = load_config(folder).export("small")
    destination.add_events(["a", "b"])
    ledger = f"sqlite:///{tmp_path}/ledger.db"

    def run(*arguments):
        base = ["export", "--config", str(folder), "--ledger", ledger]
        return CliRunner().invoke(cli, [*base, *arguments])

    run.destination = destination
    return run


def test_plan_and_size_before_and_after_a_backfill(sluice):
    arguments = ("plan", "small", "--from", "2013-01-02T11", "--to", "2013-01-02T12")
    before = sluice(*arguments)
    assert before.exit_code == 0, before.output
    assert "2013-01-02 11:00 UTC: outside the lake, 1 hours, 0 events" in before.output
    assert "2013-01-02 12:00 UTC: missing, 1 hours, 2 events" in before.output
    assert "To export: 1 of 2 hours, 2 events" in before.output
    assert sluice("size", "small").output.endswith("Nothing was exported yet.\n")
    assert sluice.destination.object_keys() == []

    backfill(sluice.destination, "run", HourRange(HOUR, HOUR))
    document = json.loads(sluice(*arguments, "--json").output)
    assert document["states"] == {"outside the lake": 1, "unchanged": 1}
    assert document["hours"] == 0
    assert [line["what"] for line in document["table"]] == ["outside the lake", "unchanged"]
    each = sluice(*arguments, "--hours", "--force").output.splitlines()
    assert each[1].split() == ["187520", "2013-01-02T12", "2", "export", "unchanged"]
    (month,) = json.loads(sluice("size", "small", "--json").output)
    assert (month["month"], month["events"]) == ("2013-01", 2)
    assert month["bytes"] == month["bytes_per_event"] * 2
    assert "2013-01" in sluice("size", "small").output


@pytest.mark.parametrize(
    ("ends", "sentence"),
    [
        pytest.param(("2013-01-03", "2013-01-02"), "The range ends before it begins", id="reversed"),
        pytest.param(("2999-01-01", "2999-01-02"), "lies in the future", id="future"),
        pytest.param(("yesterday", "2013-01-02"), "neither an hour nor a date", id="no-date"),
    ],
)
def test_a_range_that_cannot_be_meant_gets_a_sentence(sluice, ends, sentence):
    done = sluice("plan", "small", "--from", ends[0], "--to", ends[1])
    assert done.exit_code != 0
    assert sentence in str(done.exception)

"""`sluice verify` and `sluice export status`, connected by the environment to a real store and ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from export_config import write_export_config
from lake_staging import stage

from sluice.access.connections import EnvironmentAccess
from sluice.cli import cli
from sluice.errors import SluiceError
from sluice.exports.bucket import Bucket
from sluice.exports.gate import check_hours
from sluice.exports.hour import Exporter, Run
from sluice.lake import LoadRequest, load
from sluice.ledger.export_runs import finish_run, start_run
from sluice.local.connections import aws_connection, ledger_connection

pytestmark = pytest.mark.integration

NOON = datetime(2013, 1, 2, 12, tzinfo=UTC)
KEY = "out/187520/187520_2013-01-02_12#0.json.gz"


@pytest.fixture
def environment(tmp_path: Path, bucket: str, s3_access: Any, postgres_ledger_url: str) -> dict[str, str]:
    """One destination and one exported hour, as a shell of the local stack sees them."""
    write_export_config(tmp_path / "config", bucket, "flights")
    environment = {
        "SLUICE_CONFIG": str(tmp_path / "config"),
        "AIRFLOW_CONN_AWS_DEFAULT": aws_connection(s3_access),
        "AIRFLOW_CONN_SLUICE_LAKE": aws_connection(s3_access),
        "AIRFLOW_CONN_SLUICE_LEDGER": ledger_connection(postgres_ledger_url),
    }
    access = EnvironmentAccess(tmp_path / "config", environ=environment)
    access.lake.create()
    file = stage(access.lake, "a.csv", ["a", "b", "c"], at=lambda n: NOON.replace(minute=n))
    load(access.lake, access.ledger, LoadRequest(187520, "test", [file], upload_time="event_time"))
    config = access.config.export("flights")
    exporter = Exporter(
        config,
        lake=access.lake,
        ledger=access.ledger,
        bucket=Bucket.of(access.store(config.connection).client(), config),
        run=Run("dag/run", "backfill"),
    )
    start_run(access.ledger, "flights", "dag/run", "backfill", NOON, NOON)
    exporter.export(NOON)
    check_hours(config, lake=access.lake, ledger=access.ledger, run="dag/run")
    exporter.publish(NOON)
    finish_run(access.ledger, "flights", "dag/run")
    return environment


def run(environment: dict[str, str], *arguments: str, code: int = 0) -> str:
    done = CliRunner(env=environment).invoke(cli, arguments)
    assert done.exception is None or isinstance(done.exception, SluiceError | SystemExit), done.exc_info
    output = f"{done.output}{done.exception if isinstance(done.exception, SluiceError) else ''}"
    assert done.exit_code == code, output
    return output


def test_a_difference_is_an_exit_code_a_table_and_a_command(environment: Any, s3: Any, bucket: str) -> None:
    hour = ("verify", "flights", "--from", "2013-01-02T12")
    whole = run(environment, *hour)
    assert "1 hours, 0 differ; 3 in the lake, 3 in the bucket, 0 missing, 0 twice" in whole
    assert "To repair" not in whole
    assert "whole" not in whole
    assert "2013-01-02 12:00" in run(environment, *hour, "--all")
    s3.delete_object(Bucket=bucket, Key=KEY)
    differs = run(environment, *hour, "--to", "2013-01-02T12", code=1)
    assert f"partition 0 is missing: {KEY}" in differs
    assert "1 hours, 1 differ; 3 in the lake, 0 in the bucket, 3 missing" in differs
    assert "To repair 2013-01-02 12:00 UTC: airflow dags trigger export_backfill --conf" in differs

    status = run(environment, "export", "status")
    assert status.startswith("flights: enabled\n")
    assert "2013-01-02 12:00 UTC: 1 hours, 1 of them differ" in status
    assert "project 187520: newest closed hour 2013-01-02 12:00, newest exported 2013-01-02 12:00" in status
    row = next(line for line in status.splitlines() if "backfill" in line)
    assert [cell.strip() for cell in row.split("│")[1:10]][:4] == [
        "success", "backfill", "2013-01-02 12:00", "2013-01-02 13:00",
    ]  # fmt: skip


def test_a_range_or_destination_that_cannot_be_meant_is_a_sentence(environment: Any) -> None:
    assert "`--from` is 'noon'" in run(environment, "verify", "flights", "--from", "noon", code=1)
    assert "is not over" in run(environment, "verify", "flights", "--from", "2999-01-01", code=1)
    assert "no valid export destination x" in run(environment, "verify", "x", "--from", "2013-01-01", code=1)
    assert "no destination x; known are: flights" in run(environment, "export", "status", "x", code=1)

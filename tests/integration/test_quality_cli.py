"""What a person types about an hour that its gate holds, on a real store: from the status to the bucket."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from export_config import write_export_config
from exporting import HOUR, Destination

from sluice.cli import cli
from sluice.config import load_config
from sluice.errors import SluiceError
from sluice.local.connections import aws_connection
from sluice.quality.gate import QualityStopped

pytestmark = pytest.mark.integration

RUN = "export_hourly__flights/scheduled__2013-01-02T13:00:00+00:00"
QUALITY = {
    "expectations": [
        {
            "type": "expect_table_row_count_to_be_between",
            "kwargs": {"min_value": 3},
            "notes": "Noon is never that quiet.",
        }
    ]
}


@pytest.fixture
def hour(
    tmp_path: Path, s3: Any, s3_access: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> Destination:
    """A destination whose gate has stopped the hour that a run has staged."""
    folder = tmp_path / "config"
    write_export_config(folder, bucket, "flights")
    (folder / "lake.yaml").write_text(f"uri: {tmp_path}/lake\n")
    file = folder / "exports" / "flights.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"quality": QUALITY}))
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(s3_access))
    monkeypatch.setenv("SLUICE_CONFIG", str(folder))
    monkeypatch.setenv("SLUICE_LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")
    destination = Destination.make(s3, bucket, tmp_path)
    config = load_config(folder)
    assert not config.problems
    destination.config = config.export("flights")
    destination.add_events(["a", "b"])
    with pytest.raises(QualityStopped, match=r"row_count.*observed 2.*sluice quality release"):
        destination.run(RUN)
    return destination


@pytest.fixture
def sluice() -> Callable[..., str]:
    def run(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(cli, arguments)
        assert done.exception is None or isinstance(done.exception, SluiceError | SystemExit), done.exc_info
        assert done.exit_code == code, done.output
        return done.output

    return run


def test_a_held_hour_is_released_and_its_run_publishes_it(hour, sluice):
    assert hour.object_keys() == []
    status = sluice("export", "status", "flights")
    assert f"held by its quality gate: hour 2013-01-02T12 of project 187520 of flights, run {RUN}" in status
    shown = sluice("quality", "show", RUN)
    assert "expect_table_row_count_to_be_between(min_value=3)" in shown
    assert "Noon is never that quiet." in shown
    sluice("quality", "release", RUN, "--reason", "A holiday.", "--by", "ann")
    (outcome,) = hour.exporter(RUN).publish(HOUR)
    assert outcome.action == "published"
    assert len(hour.object_keys()) == 2
    assert "held" not in sluice("export", "status", "flights")
    assert "A holiday." in sluice("quality", "show", RUN)


def test_a_held_hour_is_discarded_and_exported_anew_once_it_is_whole(hour, sluice):
    assert len(hour.open_uploads()) == 2
    said = sluice("quality", "discard", RUN, "--reason", "Half of it is missing.")
    assert "counts as not exported" in said
    assert hour.open_uploads() == []
    assert hour.object_keys() == []
    sluice("quality", "discard", RUN, "--reason", "Once more changes nothing.")
    hour.add_events(["c", "d"])
    (outcome,) = hour.run("dag/another", "backfill")
    assert outcome.action == "published"
    assert "passed" in sluice("quality", "show", "dag/another").lower()
    assert len(hour.object_keys()) == 2

"""The gates as Airflow runs them: bad data stop there and reach nobody, until a person lets them go on."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cohort_config import PROJECT, write_cohort, write_cohort_config
from dag_runs import DagRuns
from export_config import write_export_config
from lake_staging import stage

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from sluice.ledger.quality import Gate

pytestmark = pytest.mark.integration

NOON = datetime(2013, 1, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
USERS = {
    "type": "expect_column_values_to_match_regex",
    "kwargs": {"column": "user_id", "regex": "^user-[0-9]+$"},
    "notes": "As the shop writes them.",
}


@pytest.fixture
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow_db: str, airflow_connections: dict[str, str]
) -> Iterator[Path]:
    from airflow import settings

    monkeypatch.setenv("SLUICE_CONFIG", str(tmp_path / "config"))
    yield tmp_path / "config"
    # The database server may end before this process does.
    settings.Session.remove()


def change(path: Path, **keys: Any) -> None:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | keys))


def gate_of(runs: DagRuns, run_id: str) -> Gate:
    from sluice.ledger import quality
    from sluice_airflow.hooks.sluice import SluiceHook

    [gate] = quality.of_run(SluiceHook().ledger, f"{runs.dag.dag_id}/{run_id}")
    return gate


def release(gate: Gate) -> None:
    from sluice.ledger import quality
    from sluice_airflow.hooks.sluice import SluiceHook

    quality.release(SluiceHook().ledger, gate, "bob", "They are right.")


def keys(s3: S3Client, bucket: str, prefix: str) -> list[str]:
    return [item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]


def add_events(key: str, user: str, count: int, at: datetime) -> None:
    from sluice.lake import LoadRequest, load
    from sluice_airflow.hooks.sluice import SluiceHook

    hook = SluiceHook()
    file = stage(
        hook.lake, key, [f"{key}-{n}" for n in range(count)], at=lambda _: at,
        user=lambda id: user.format(id.rpartition("-")[2]),
    )  # fmt: skip
    load(hook.lake, hook.ledger, LoadRequest(PROJECT, "test", [file], upload_time="event_time"))


def test_an_exported_hour(folder: Path, s3: S3Client, bucket: str) -> None:
    write_export_config(folder, bucket, "small")
    gate = {"quality": {"expectations": [USERS]}}
    change(folder / "exports" / "small.yaml", start="2013-01-02T12", **gate)
    add_events("noon", "somebody {}", 3, NOON)
    runs = DagRuns("export_hourly.py", "export_hourly__small")

    held = runs.run(NOON + HOUR)
    assert runs.states(held) == {
        "export_events": "success",
        "check_quality": "failed",
        "publish_hour": "upstream_failed",
        "export_hourly__small": "failed",
    }
    assert keys(s3, bucket, "out/") == []
    assert "2013-01-02T12" in runs.note(held)
    # The next hour's run would catch up with this one, were it not held.
    assert set(runs.states(runs.run(NOON + 2 * HOUR)).values()) == {"success"}
    marker = "out/187520/187520_2013-01-02_13_complete"
    assert keys(s3, bucket, "out/") == [marker]

    release(gate_of(runs, held))
    runs.clear(held, "check_quality", "publish_hour")
    assert set(runs.states(held).values()) == {"success"}
    file, complete, _ = keys(s3, bucket, "out/")
    body = gzip.decompress(s3.get_object(Bucket=bucket, Key=file)["Body"].read())
    assert [json.loads(line)["user_id"] for line in body.splitlines()] == [f"somebody {n}" for n in range(3)]
    assert complete == "out/187520/187520_2013-01-02_12_complete"

    # Another one, that a person wants whatever the gate says.
    add_events("ten", "nobody {}", 2, NOON - 2 * HOUR)
    wanted = runs.run(**{"from": "2013-01-02T10"}, override_quality="The shop's test users.")
    assert set(runs.states(wanted).values()) == {"success"}
    gate = gate_of(runs, wanted)
    assert (gate.state, gate.failed, gate.reason) == ("overridden", 1, "The shop's test users.")
    assert "overridden" in runs.note(wanted)
    assert "out/187520/187520_2013-01-02_10_complete" in keys(s3, bucket, "out/")


def test_a_batch_of_files(folder: Path, s3: S3Client, bucket: str) -> None:
    from sluice.imports.enabling import enable
    from sluice_airflow.hooks.sluice import SluiceHook

    write_export_config(folder, bucket, "small")
    source = {
        "id": "small",
        "name": "Small files",
        "owner": "data@example.com",
        "project": PROJECT,
        "bucket": bucket,
        "prefix": "in/",
        "region": "us-east-1",
        "account": "own",
        "converter": "small.json",
        "size_policy": "ignore",
        "enabled": True,
        "quality": {"expectations": [USERS]},
    }
    # What is wrong with it: a person's name is no id.
    function = {"event_type": "name", "user_id": "person", "device_id": "device", "time": "time"}
    converter = {
        "converterConfig": {"fileType": "csv", "compressionType": "gzip", "convertToAmplitudeFunc": function},
        "keyValidatorConfig": {"filterPattern": r".*\.csv\.gz"},
    }
    for file, content in {"imports/small.yaml": source, "converters/small.json": converter}.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(json.dumps(content))
    rows = "".join(f"open,user-{n},Ann Smith,device-{n},135703440000{n}\n" for n in range(5))
    body = gzip.compress(f"name,user,person,device,time\n{rows}".encode())
    s3.put_object(Bucket=bucket, Key="in/a.csv.gz", Body=body)
    enable(SluiceHook(), "small")
    runs = DagRuns("import_s3.py", "import_s3__small")

    held = runs.run()
    assert runs.states(held) == {
        "discover_files": "success",
        "convert_files": "success",
        "check_quality": "failed",
        "load_files": "upstream_failed",
        "report_import": "upstream_failed",
        "import_s3__small": "failed",
    }
    lake = SluiceHook().lake
    assert lake.events().to_pyarrow_dataset().count_rows() == 0
    assert "Ann" not in runs.note(held)
    # Nor does the next run take the files up.
    after = runs.states(runs.run())
    assert (after["convert_files"], after["load_files"], after["import_s3__small"]) == (
        "skipped",
        "skipped",
        "success",
    )
    assert lake.events().to_pyarrow_dataset().count_rows() == 0

    release(gate_of(runs, held))
    runs.clear(held, "check_quality", "load_files", "report_import")
    assert set(runs.states(held).values()) == {"success"}
    assert SluiceHook().lake.events().to_pyarrow_dataset().count_rows() == 5


def test_a_cohort_that_loses_nearly_everybody(folder: Path, s3: S3Client, bucket: str) -> None:
    write_cohort_config(folder, lake=str(folder.parent / "lake"), bucket=bucket)
    write_cohort(folder, "recent", {"id": "recent_crm", "destination": "crm", "cadence": "hourly"})
    add_events("many", "user-{}", 120, NOON - HOUR)
    runs = DagRuns("cohort_sync.py", "cohort_sync_hourly")
    assert set(runs.states(runs.run(NOON)).values()) == {"success"}
    sent = keys(s3, bucket, "audiences/")

    add_events("few", "user-{}", 12, NOON + 24 * HOUR)
    held = runs.run(NOON + 25 * HOUR)
    assert runs.states(held) == {
        "recent_crm.fix_sync": "success",
        "recent_crm.check_quality": "failed",
        "recent_crm.deliver_sync": "upstream_failed",
        "cohort_sync_hourly": "failed",
    }
    assert keys(s3, bucket, "audiences/") == sent
    # The next turn passes it by.
    skipped = runs.states(runs.run(NOON + 26 * HOUR))
    assert (skipped["recent_crm.fix_sync"], skipped["cohort_sync_hourly"]) == ("skipped", "success")

    release(gate_of(runs, held))
    runs.clear(held, "recent_crm.check_quality", "recent_crm.deliver_sync")
    assert set(runs.states(held).values()) == {"success"}
    assert len(keys(s3, bucket, "audiences/")) == 2 * len(sent)

"""The import's DAG as Airflow runs it: with new files, with one that fails, and without any."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.integration

DAGS = Path(__file__).parents[2] / "dags"


@pytest.fixture
def config(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with one source, whose bucket holds the lake too."""
    organisation = {"id": 1, "name": "One", "administrators": ["data@example.com"]}
    source = {
        "id": "small",
        "name": "Small files",
        "owner": "data@example.com",
        "project": 187520,
        "bucket": bucket,
        "prefix": "in/",
        "region": "us-east-1",
        "account": "own",
        "converter": "small.json",
        "size_policy": "ignore",
        "scan_every": 5,
        "enabled": True,
    }
    function = {"event_type": "name", "user_id": "user", "time": "time"}
    converter = {
        "converterConfig": {"fileType": "csv", "compressionType": "gzip", "convertToAmplitudeFunc": function},
        "keyValidatorConfig": {"filterPattern": r".*\.csv\.gz"},
    }
    folder = tmp_path / "config"
    for name, content in {
        "projects.yaml": {
            "organisations": [organisation],
            "projects": [{"id": 187520, "name": "Small", "organisation": 1}],
        },
        "lake.yaml": {"uri": f"s3://{bucket}/lake", "connection": "sluice_lake", "region": "us-east-1"},
        "imports/small.yaml": source,
        "converters/small.json": converter,
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content) if name.endswith("json") else yaml.safe_dump(content))
    monkeypatch.setenv("SLUICE_CONFIG", str(folder))
    return folder


@pytest.fixture
def dag(config: Path, airflow_db: str, airflow_connections: dict[str, str]) -> Iterator[Any]:
    from airflow import settings
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=DAGS / "import_s3.py", bundle_path=DAGS, bundle_name="dags-folder")
    assert bag.import_errors == {}
    assert list(bag.dags) == ["import_s3__small"]
    yield bag.dags["import_s3__small"]
    # The database server may end before this process does.
    settings.Session.remove()


def put(s3: S3Client, bucket: str, name: str, text: str) -> None:
    s3.put_object(Bucket=bucket, Key=f"in/{name}", Body=gzip.compress(text.encode()))


def states(run: Any) -> dict[str, str]:
    return {f"{ti.task_id}[{ti.map_index}]": str(ti.state) for ti in run.get_task_instances()}


def asset_events() -> list[dict[str, Any]]:
    """Return what the project's asset was told by runs of this module, oldest first."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = session.execute(
            select(AssetEvent.extra)
            .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
            .where(AssetModel.name == "events_187520")
            .order_by(AssetEvent.id)
        )
        return [row.extra for row in rows]


def note(run: Any) -> str | None:
    """Return the note that the scheduler would write; `dag.test` ends runs outside of any session."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    from sluice_airflow.listeners import run_note

    with create_session() as session:
        run_note.on_dag_run_success(session.get(DagRun, run.id), "success")
    with create_session() as session:
        return session.get(DagRun, run.id).note


def test_the_dag_loads_files_once_and_changes_nothing_without_any(
    dag: Any, s3: S3Client, bucket: str
) -> None:
    from sluice.imports.enabling import enable
    from sluice_airflow.hooks.sluice import SluiceHook

    put(s3, bucket, "a.csv.gz", "name,user,time\nopen,user-1,1357034400000\nopen,user-2,1357034400000\n")
    enable(SluiceHook(), "small")
    run = dag.test()
    assert states(run) == {
        "discover_files[-1]": "success",
        "convert_files[0]": "success",
        "check_quality[-1]": "success",
        "load_files[-1]": "success",
        "report_import[-1]": "success",
    }
    [converted] = [ti for ti in run.get_task_instances() if ti.task_id == "convert_files"]
    assert converted.rendered_map_index == "1 files from in/a.csv.gz"
    loaded = {
        "source": "small", "run": run.run_id, "files": 1, "failed_files": 0, "rows_read": 2, "loaded": 2,
        "duplicate": 0, "ignored": 0, "rejected": 0,
    }  # fmt: skip
    assert asset_events() == [loaded]
    assert note(run) == "1 files, 2 rows: 2 loaded, 0 duplicate, 0 ignored, 0 rejected."
    lake = SluiceHook().lake
    assert lake.events().to_pyarrow_table().num_rows == 2

    put(s3, bucket, "bad.csv.gz", "")
    put(s3, bucket, "good.csv.gz", "name,user,time\nopen,user-3,1357034400000\n")
    second = dag.test()
    assert states(second)["report_import[-1]"] == "failed"
    assert str(second.state) == "failed"
    assert note(second).endswith("1 loaded, 0 duplicate, 0 ignored, 0 rejected. Failed: in/bad.csv.gz.")
    assert lake.events().to_pyarrow_table().num_rows == 3
    told, version = asset_events(), lake.events().version()
    assert len(told) == 2

    again = dag.test()
    assert states(again) == {
        "discover_files[-1]": "success",
        "convert_files[-1]": "skipped",
        "check_quality[-1]": "success",
        "load_files[-1]": "skipped",
        "report_import[-1]": "success",
    }
    assert str(again.state) == "success"
    assert lake.events().version() == version
    assert asset_events() == told
    assert note(again) == "No new files."
    assert_a_person_s_note_stays(run)


def assert_a_person_s_note_stays(run: Any) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    from sluice_airflow.listeners import run_note

    assert note(run) == "1 files, 2 rows: 2 loaded, 0 duplicate, 0 ignored, 0 rejected."
    with create_session() as session:
        found = session.get(DagRun, run.id)
        found.dag_run_note.content, found.dag_run_note.user_id = "looked at", "ann"
    assert note(run) == "looked at"
    # A run without such a text, or outside of a session, is left alone.
    run_note.on_dag_run_failed(DagRun(dag_id="other", run_id="r"), "task_failure")

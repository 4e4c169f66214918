"""The maintenance's DAG as Airflow runs it: it puts files together, and a second run changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from export_config import write_export_config
from lake_staging import NOON, stage

pytestmark = pytest.mark.integration

DAGS = Path(__file__).parents[2] / "dags"
PROJECT = 187520
TABLES = ("users", "devices", "rejects", "events")


@pytest.fixture
def run(
    tmp_path: Path,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    airflow_db: str,
    airflow_connections: dict[str, str],
) -> Iterator[Callable[..., dict[str, Any]]]:
    """Run the DAG and return what its tasks did."""
    from airflow import settings
    from airflow.dag_processing.dagbag import DagBag

    write_export_config(tmp_path / "config", bucket, "small")
    monkeypatch.setenv("SLUICE_CONFIG", str(tmp_path / "config"))

    def run(**params: Any) -> dict[str, Any]:
        # Parsed anew: a test run leaves rendered values in the operators.
        bag = DagBag(dag_folder=DAGS / "lake_maintenance.py", bundle_path=DAGS, bundle_name="dags-folder")
        assert bag.import_errors == {}
        instances = bag.dags["lake_maintenance"].test(run_conf=params).get_task_instances()
        assert {str(ti.state) for ti in instances} == {"success"}
        return {ti.task_id: ti.xcom_pull(task_ids=ti.task_id) for ti in instances}

    yield run
    # The database server may end before this process does.
    settings.Session.remove()


def test_the_dag_puts_files_together_and_a_second_run_changes_nothing(run: Any) -> None:
    from sluice.lake import LoadRequest, load, read_hour
    from sluice_airflow.hooks.sluice import SluiceHook

    hook = SluiceHook()
    lake = hook.lake
    for name in ("a", "b"):
        file = stage(lake, name, [f"{name}{n}" for n in range(3)], user=lambda id: id, at=lambda _: NOON)
        load(lake, hook.ledger, LoadRequest(PROJECT, "test", [file], upload_time="event_time"))

    def rows() -> list[dict[str, Any]]:
        batches = read_hour(lake, PROJECT, NOON, lake.events().version())
        return [row for batch in batches for row in batch.to_pylist()]

    def versions() -> list[int]:
        return [int(lake.table(name).version()) for name in TABLES]

    before, started = rows(), versions()
    would = run(dry_run=True, projects=[PROJECT + 1])
    assert would["compact_events"]["files_before"] == 0
    assert would["fold_side_tables"]["users"]["files_before"] == 2
    assert versions() == started

    done = run()
    compacted, users = done["compact_events"], done["fold_side_tables"]["users"]
    assert (compacted["files_before"], compacted["files_after"], compacted["rows"]) == (2, 1, 6)
    assert (users["files_before"], users["files_after"], users["rows"]) == (2, 1, 6)
    assert rows() == before
    rested = versions()
    again = run()
    assert versions() == rested
    assert again["compact_events"]["commits"] == 0
    assert again["vacuum_lake"]["events"]["files"] == 0
    assert set(again["clear_staging"]) == {"folders", "files", "bytes", "claims", "leases", "expired"}

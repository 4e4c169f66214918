"""What holds for every DAG of this repository; each test's name is the policy."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

DAGS = Path(__file__).resolve().parents[2] / "dags"
EXPECTED = {
    "cohort_sync_hourly",
    "cohort_sync_once",
    "export_backfill",
    "export_hourly__flights",
    "import_s3__flights",
    "lake_maintenance",
    "verify_export",
}
# What takes long to import, or what only a task needs; the library's rooms behind it as well.
HEAVY = {
    "pandas",
    "pyarrow",
    "great_expectations",
    "boto3",
    "botocore",
    "deltalake",
    "duckdb",
    "s3fs",
    "numpy",
}


def test_every_file_parses_and_the_expected_dags_are_there(bag):
    assert bag.import_errors == {}
    assert set(bag.dags) >= EXPECTED


def test_every_dag_comes_from_the_configuration(bag):
    """A DAG that appears here without having been named is a mistake, or belongs into EXPECTED."""
    assert set(bag.dags) == EXPECTED


@pytest.fixture(params=sorted(EXPECTED))
def dag(request, bag):
    return bag.dags[request.param]


def test_every_dag_names_its_owner(dag):
    owners = {task.owner for task in dag.tasks}
    assert owners == {"data@example.com"}


def test_every_dag_is_tagged_with_the_room_that_it_runs(dag):
    assert len(dag.tags & {"export", "import", "maintenance", "cohort"}) == 1


def test_every_dag_explains_itself_to_the_person_on_call(dag):
    assert dag.doc_md
    assert len(dag.doc_md.split()) > 30


def test_every_task_is_retried(dag):
    assert dag.tasks
    for task in dag.tasks:
        assert task.retries >= 1, task.task_id


def test_every_task_is_one_of_our_operators(dag):
    for task in dag.tasks:
        operator = getattr(task, "operator_class", type(task))
        assert operator.__module__.startswith("sluice_airflow.operators."), task.task_id


def test_nothing_is_caught_up_by_airflow(dag):
    """The ledger says what is missing (invariant 12); Airflow's own catch-up would double it."""
    assert dag.catchup is False


def test_the_hourly_export_runs_on_data_intervals(bag):
    timetable = bag.dags["export_hourly__flights"].timetable
    assert type(timetable).__name__ == "CronDataIntervalTimetable"


def test_a_dag_file_imports_nothing_heavy():
    """The processor parses each file in a fresh process, again and again, and pays for each import."""
    script = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
import airflow.sdk
from airflow.sdk import DAG, BaseOperator, BaseHook, CronDataIntervalTimetable, ExceptionRetryPolicy, chain
before = set(sys.modules)
bag = DagBag(dag_folder=sys.argv[1], bundle_name="dags-folder")
added = sorted({name.partition(".")[0] for name in set(sys.modules) - before})
print("RESULT" + json.dumps({"dags": sorted(bag.dags), "added": added}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(DAGS)], capture_output=True, text=True, timeout=200, check=True
    )
    result = json.loads(done.stdout.rsplit("RESULT", 1)[1])
    assert set(result["dags"]) >= EXPECTED, "the files were not parsed, so this proves nothing"
    assert "sluice" in result["added"]
    assert HEAVY & set(result["added"]) == set()

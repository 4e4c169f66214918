"""What a task tells of its run: one name in all tasks, and a type that is text however Airflow gives it."""

from types import SimpleNamespace

import pytest

from sluice_airflow.dag_run import run_id, run_type


def context(kind):
    return {"dag_run": SimpleNamespace(dag_id="d", run_id="r", run_type=kind)}


def test_a_run_has_one_name_in_all_its_tasks():
    assert run_id(context("manual")) == "d/r"


@pytest.mark.parametrize("kind", ["backfill", SimpleNamespace(value="backfill")])
def test_a_type_is_text(kind):
    assert run_type(context(kind)) == "backfill"

"""The link as Airflow asks for it and keeps it: in a run of a DAG, when its tasks have ended."""

from __future__ import annotations

from pathlib import Path

from airflow.serialization.serialized_objects import DagSerialization
from dag_runs import DagRuns

from sluice_airflow.links import PAGE, QualityReport

BASE = "https://airflow.example.com/team"
DAG_FILE = """
from airflow.sdk import DAG, BaseOperator
from sluice_airflow.links import GATES_KEY, QualityReport


class Check(BaseOperator):
    operator_extra_links = (QualityReport(),)

    def __init__(self, *, gates, fails=False, **kwargs):
        super().__init__(**kwargs)
        self.gates, self.fails = gates, fails

    def execute(self, context):
        if self.gates:
            context["ti"].xcom_push(key=GATES_KEY, value=self.gates)
        if self.fails:
            raise RuntimeError("stopped")


with DAG("test_links", schedule=None):
    Check(task_id="one", gates=["ab" * 16])
    Check(task_id="fails", gates=["cd" * 16], fails=True)
    Check(task_id="several", gates=["ab" * 16, "cd" * 16])
    Check(task_id="none", gates=[])
"""


def test_a_tasks_link_leads_to_the_report_or_to_the_list_of_the_run(airflow_db, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", f"{BASE}/")
    # Whatever reads DAGs for the scheduler leaves the links out, from then on in the whole process.
    monkeypatch.setattr(DagSerialization, "_load_operator_extra_links", True)
    (tmp_path / "links.py").write_text(DAG_FILE)
    runs = DagRuns("links.py", "test_links", tmp_path)
    run_id = runs.run()
    assert runs.states(run_id)["fails"] == "failed"
    # The button is made of what Airflow has kept under this key.
    link = {task: runs.returned(run_id, task, QualityReport().xcom_key) for task in runs.dag.task_dict}
    assert link["one"] == f"{BASE}/{PAGE}/{'ab' * 16}"
    assert link["fails"] == f"{BASE}/{PAGE}/{'cd' * 16}"
    assert link["several"] == f"{BASE}/{PAGE}/?run=test_links%2F{run_id}"
    assert link["none"] == ""
    (kept,) = runs.scheduled.task_dict["one"].operator_extra_links
    assert kept.name == "Quality report"

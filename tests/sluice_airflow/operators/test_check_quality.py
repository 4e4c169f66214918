"""CheckQualityOperator: what is staged passes, or the task is red and says what a person can do."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import yaml
from airflow.sdk.exceptions import AirflowFailException
from export_config import write_export_config
from lake_staging import stage

from sluice.lake import LoadRequest, load
from sluice.ledger import quality
from sluice.ledger.database import LedgerUnavailable
from sluice.ledger.export_runs import runs_of
from sluice_airflow.hooks.sluice import SluiceHook
from sluice_airflow.links import GATES_KEY
from sluice_airflow.listeners.run_note import NOTE_KEY
from sluice_airflow.operators.check_quality import CheckQualityOperator
from sluice_airflow.operators.export_events import ExportEventsOperator
from sluice_airflow.retries import RETRY_POLICY

NOON = datetime(2013, 1, 2, 12, tzinfo=UTC)
RUN = "export_hourly__flights/run-1"
USERS = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "user_id"}}


@pytest.fixture
def flights(tmp_path, bucket, monkeypatch, airflow_connections):
    """A destination that wants users, and a lake with three hours, of which the second has none."""
    folder = tmp_path / "config"
    write_export_config(folder, bucket, "flights", tmp_path / "lake")
    path = folder / "exports" / "flights.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"quality": {"expectations": [USERS]}}))
    monkeypatch.setenv("SLUICE_CONFIG", str(folder))
    hook = SluiceHook()
    file = stage(
        hook.lake, "events.csv", [f"{n // 3}-{n}" for n in range(9)],
        at=lambda n: NOON + timedelta(hours=n // 3),
        user=lambda id: None if id.startswith("1") else "ann",
    )  # fmt: skip
    load(hook.lake, hook.ledger, LoadRequest(187520, "test", [file], upload_time="event_time"))


@pytest.fixture
def run(context):
    """Return the context of a run by hand that has staged some hours."""

    def run(first, last, **params):
        dag_run = SimpleNamespace(
            dag_id="export_hourly__flights", run_id="run-1", run_type="manual", triggering_user_name="ann"
        )
        hours = {"from": f"2013-01-02T{first}", "to": f"2013-01-02T{last}"}
        made = context | {"dag_run": dag_run, "params": hours | params}
        ExportEventsOperator(task_id="export_events", destination="flights").execute(made)
        return made

    return run


def check(context):
    operator = CheckQualityOperator(task_id="check_quality", pipeline="export", name="flights")
    return operator.execute(context)


def states():
    return {gate.unit.split()[1]: gate.state for gate in quality.of_run(SluiceHook().ledger, RUN)}


def test_what_is_right_passes_and_leaves_counts_and_a_report(flights, run):
    context = run(12, 12)
    result = check(context)
    assert (result["gates"], result["passed"], result["rows"], result["failed"]) == (1, 1, 3, 0)
    [report] = result["reports"]
    with SluiceHook().lake.filesystem().open_input_stream(report) as page:
        assert b"expect_column_values_to_not_be_null" in page.read()
    [gate] = quality.of_run(SluiceHook().ledger, RUN)
    assert context["ti"].pushed == {GATES_KEY: [gate.id]}
    # A run that has staged nothing has nothing to check.
    context["dag_run"].run_id = "run-2"
    assert check(context)["gates"] == 0


def test_what_is_wrong_is_red_at_once_and_says_what_failed_and_what_to_do(flights, run):
    context = run(13, 13)
    with pytest.raises(AirflowFailException) as failed:
        check(context)
    for words in ("user_id", "3 of 3 rows", f"sluice quality show {RUN}", "release", "discard"):
        assert words in str(failed.value)
    assert states() == {"2013-01-02T13": "held"}
    assert "held" in context["ti"].pushed[NOTE_KEY]
    assert len(context["ti"].pushed[GATES_KEY]) == 1
    [recorded] = runs_of(SluiceHook().ledger, "flights", 5)
    assert recorded.reason.startswith("QualityStopped")


def test_hours_that_pass_go_on_beside_one_that_is_held(flights, run):
    result = check(run(12, 14))
    assert (result["gates"], result["passed"], result["held"]) == (3, 2, 1)
    assert states() == {"2013-01-02T12": "passed", "2013-01-02T13": "held", "2013-01-02T14": "passed"}


def test_a_person_overrides_it_for_one_run_on_record(flights, run):
    context = run(13, 13, override_quality=" anonymous on purpose ")
    assert check(context)["overridden"] == 1
    [gate] = quality.of_run(SluiceHook().ledger, RUN)
    assert (gate.state, gate.decided_by, gate.reason) == ("overridden", "ann", "anonymous on purpose")
    assert gate.failed == 1
    assert "overridden" in context["ti"].pushed[NOTE_KEY]


def test_what_may_pass_by_itself_stays_for_the_next_try(flights, run, monkeypatch):
    context = run(12, 12)
    gone = {"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "login": "x", "schema": "x"}
    monkeypatch.setenv("AIRFLOW_CONN_SLUICE_LEDGER", json.dumps(gone))
    with pytest.raises(LedgerUnavailable) as busy:
        check(context)
    assert RETRY_POLICY.evaluate(busy.value, 1, 3).action.value == "retry"


def test_a_turn_is_needed_for_a_cohort(context):
    operator = CheckQualityOperator(task_id="check_quality", pipeline="cohort", name="crm")
    with pytest.raises(AirflowFailException, match="FixSyncOperator"):
        operator.execute(context)

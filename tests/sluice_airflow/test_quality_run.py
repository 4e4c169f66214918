"""A person's word given with a run, and what a run tells about its gates."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from gates import CARRIERS, NULLS, UNIQUE, a_gate

from sluice.quality.gate import Override
from sluice_airflow.listeners.run_note import NOTE_KEY
from sluice_airflow.quality_run import leave_note, override_of, summary


def context(kind: str, reason: object, who: str | None = "ann") -> dict[str, Any]:
    return {
        "dag_run": SimpleNamespace(run_type=kind, triggering_user_name=who),
        "params": {"override_quality": reason},
        "ti": TaskInstance(),
    }


class TaskInstance:
    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


@pytest.mark.parametrize("kind", ["manual", "backfill", "asset_triggered"])
def test_a_run_says_who_overrides_and_why(kind):
    assert override_of(context(kind, "  a short day ")) == Override("ann", "a short day")
    assert override_of(context(kind, "a short day", who=None)) == Override("somebody unnamed", "a short day")


@pytest.mark.parametrize("nothing", [None, "", " \n "])
def test_without_a_reason_nothing_is_overridden(nothing):
    assert override_of(context("manual", nothing)) is None


def test_nobody_speaks_for_a_scheduled_run():
    assert override_of(context("scheduled", "a short day")) is None


def test_a_dag_without_the_param_has_no_override():
    assert override_of(context("manual", None) | {"params": {}}) is None


def test_an_xcom_has_counts_and_paths_and_no_value():
    gates = [a_gate(report="_quality/a.html"), a_gate(UNIQUE, state="passed", failed=0, warnings=0)]
    assert summary(gates) == {
        "gates": 2,
        "held": 1,
        "passed": 1,
        "rows": 1000,
        "sampled": 400,
        "expectations": 4,
        "failed": 1,
        "warnings": 1,
        "seconds": 0.5,
        "reports": ["_quality/a.html"],
    }


def test_the_note_tells_of_gates_that_did_not_simply_pass():
    run = context("manual", None)
    leave_note(run, [a_gate(UNIQUE, state="passed"), a_gate(NULLS, CARRIERS, UNIQUE)])
    assert run["ti"].pushed == {
        NOTE_KEY: "Quality gate of hour 2013-01-02T12 of project 187520 of warehouse: held (1 of 3"
        " expectations hold, 1 critical failed, 1 warn). `sluice quality show"
        " export_hourly__warehouse/scheduled__2013-01-02T13:00:00+00:00` shows them."
    }


def test_a_run_whose_gates_pass_leaves_no_note():
    run = context("manual", None)
    leave_note(run, [a_gate(UNIQUE, state="passed")])
    leave_note(run, [])
    assert run["ti"].pushed == {}


def test_a_note_of_many_hours_stays_short():
    run = context("manual", None)
    leave_note(run, [a_gate() for _ in range(48)])
    assert "And 45 more." in run["ti"].pushed[NOTE_KEY]
    assert len(run["ti"].pushed[NOTE_KEY]) < 1000

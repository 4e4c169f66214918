"""What the task check_quality of an export does, for tests of the tasks around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def check(context: Mapping[str, Any], destination: str = "flights") -> None:
    """Pass what a run has staged through its gates."""
    from sluice.exports.gate import check_hours
    from sluice_airflow.dag_run import run_id
    from sluice_airflow.hooks.sluice import SluiceHook

    hook = SluiceHook()
    config = hook.config.export(destination)
    check_hours(config, lake=hook.lake, ledger=hook.ledger, run=run_id(context))

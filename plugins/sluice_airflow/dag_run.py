"""Which DAG run a task belongs to, and how that run came about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def run_id(context: Mapping[str, Any]) -> str:
    """Return the name of the run in the ledger, the same for its tasks and for their retries."""
    run = context["dag_run"]
    return f"{run.dag_id}/{run.run_id}"


def run_type(context: Mapping[str, Any]) -> str:
    """Return how the run came about: scheduled, backfill, manual and so on."""
    kind = context["dag_run"].run_type
    return str(getattr(kind, "value", kind))

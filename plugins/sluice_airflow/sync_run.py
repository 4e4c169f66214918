"""What the tasks of a cohort sync share: as of when a run syncs, and what it notes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sluice_airflow.listeners.run_note import NOTE_KEY

# Runs of the clock, and backfills of it, have an interval that means something.
_BY_THE_CLOCK = ("scheduled", "backfill")


def as_of(context: Mapping[str, Any]) -> datetime:
    """Return the time as of which a run syncs, in UTC: the end of its interval, or when it was asked for.

    A run by hand means now, whatever interval Airflow makes up for it. Its `run_after` is taken, not its
    start: that one changes when somebody clears the run (decisions K-1).
    """
    run = context["dag_run"]
    end = context.get("data_interval_end")
    moment = end if run_type(context) in _BY_THE_CLOCK and end is not None else run.run_after
    # Airflow gives pendulum's times, which print and divide in their own way.
    return datetime.fromtimestamp(moment.timestamp(), UTC)


def run_type(context: Mapping[str, Any]) -> str:
    """Return how the run came about: scheduled, backfill, manual and so on."""
    kind = context["dag_run"].run_type
    return str(getattr(kind, "value", kind))


def run_name(context: Mapping[str, Any]) -> str:
    """Return the name of the run in the ledger, the same for its tasks and for their retries."""
    run = context["dag_run"]
    return f"{run.dag_id}/{run.run_id}"


def leave_note(context: Mapping[str, Any], sync: str, text: str) -> None:
    """Leave a sentence about a sync, which becomes a line of the run's note."""
    context["ti"].xcom_push(key=NOTE_KEY, value=f"{sync}: {text}")

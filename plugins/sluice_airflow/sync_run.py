"""What the tasks of a cohort sync share: as of when a run syncs, how long, and what it tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from sluice_airflow.dag_run import run_type
from sluice_airflow.listeners.run_note import NOTE_KEY

if TYPE_CHECKING:
    from sluice.ledger.syncs import Turn

# In seconds: the next turn's minute begins a little before its tasks do.
_MINUTE, _MARGIN, _AT_LEAST = 60.0, 3.0, 10.0
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


def seconds_left(context: Mapping[str, Any]) -> float:
    """Return how long a run of every minute may go on sending until the next one comes; never too little.

    A run that begins late, or belongs to a backfill, has its minute from its own start on.
    """
    begun = max(as_of(context), context["dag_run"].start_date)
    gone = (datetime.now(UTC) - begun).total_seconds()
    return max(_MINUTE - _MARGIN - float(gone), _AT_LEAST)


def summary(turn: Turn) -> dict[str, Any]:
    """Return a turn as an XCom holds it: its number, its times, its counts, and nobody's id."""
    return {
        "turn": turn.number,
        "kind": turn.kind,
        "as_of": turn.as_of.isoformat(),
        "baseline": turn.baseline,
        **turn.counts,
    }


@contextmanager
def failure_noted(context: Mapping[str, Any], sync: str) -> Iterator[None]:
    """Leave a note that the task failed, if it does; why, its log says, where fewer people look."""
    try:
        yield
    except (AirflowSkipException, AirflowFailException):
        raise
    except Exception as error:
        leave_note(
            context, sync, f"{context['ti'].task_id.rpartition('.')[2]} failed ({type(error).__name__})."
        )
        raise


def leave_note(context: Mapping[str, Any], sync: str, text: str) -> None:
    """Leave a sentence about a sync, which becomes a line of the run's note."""
    context["ti"].xcom_push(key=NOTE_KEY, value=f"{sync}: {text}")


def skip(context: Mapping[str, Any], sync: str, reason: str, advice: str = "") -> NoReturn:
    """End the task, and the run's work on the sync, as skipped; `advice` is for the task's own log."""
    leave_note(context, sync, f"skipped. {reason}")
    raise AirflowSkipException(f"{reason} {advice}".rstrip())

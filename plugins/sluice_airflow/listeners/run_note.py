"""Writes what a run did into the run's note, where the UI shows it beside the run.

A task cannot do that: the Task SDK has no call for it. So the task leaves the text as an XCom, also if it
fails then, and the scheduler writes it when it ends the run, one line for each task that left one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

log = logging.getLogger(__name__)

# The XCom key under which a task leaves the text.
NOTE_KEY = "sluice_note"
# What Airflow's column takes.
MAX_CHARS = 1000


@hookimpl
def on_dag_run_success(dag_run: DagRun, msg: str) -> None:
    """Airflow's hook: the scheduler has ended a run well."""
    _write_note(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: DagRun, msg: str) -> None:
    """Airflow's hook: the scheduler has ended a run that failed."""
    _write_note(dag_run)


def _write_note(dag_run: DagRun) -> None:
    from airflow.models.xcom import XComModel
    from sqlalchemy.orm import object_session

    try:
        session = object_session(dag_run)
        if session is None:
            # The API server marks runs by hand with copies that no session knows.
            return
        # In the scheduler's own transaction, which it commits itself and forbids us to, savepoints included.
        query = XComModel.get_many(run_id=dag_run.run_id, dag_ids=dag_run.dag_id, key=NOTE_KEY)
        left: list[Any] = sorted(session.scalars(query), key=_place)
        written = dag_run.dag_run_note
        # What a person wrote stays.
        if left and (written is None or written.user_id is None):
            dag_run.note = _storable([str(XComModel.deserialize_value(xcom)) for xcom in left])
    except Exception:
        log.exception("The note of the run %s of %s is not written", dag_run.run_id, dag_run.dag_id)


def _place(xcom: Any) -> tuple[str, int]:
    return xcom.task_id, xcom.map_index


def _storable(texts: list[str]) -> str:
    """Put texts together, cut to what the column takes: one that it refused would stop the scheduler."""
    lines = ["".join(char if char.isprintable() else " " for char in text) for text in texts]
    return "\n".join(lines)[:MAX_CHARS]

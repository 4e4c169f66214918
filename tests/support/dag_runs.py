"""Runs a DAG in this process as Airflow's scheduler would: of any type and interval, several side by side.

`dag.test()` makes manual runs only, and waits for people. Here a run goes on until nothing but people can
bring it further, and the test answers for them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

DAGS = Path(__file__).parents[2] / "dags"


class DagRuns:
    """The runs of one DAG, whose file is parsed with the configuration in force."""

    def __init__(self, file: str, dag_id: str, folder: Path = DAGS) -> None:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
        from airflow.models.dagrun import DagRun
        from airflow.serialization.serialized_objects import DagSerialization
        from sqlalchemy import delete

        bag = DagBag(dag_folder=folder / file, bundle_path=folder, bundle_name="dags-folder")
        assert bag.import_errors == {}
        self.dag: Any = bag.dags[dag_id]
        with _session() as session:
            DagBundlesManager().sync_bundles_to_db(session=session)
        sync_bag_to_db(bag, "dags-folder", None)
        with _session() as session:
            # Those of another test.
            session.execute(delete(DagRun).where(DagRun.dag_id == dag_id))
        self.scheduled: Any = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(self.dag))

    def run(self, end: datetime | None = None, kind: str = "scheduled", **conf: Any) -> str:
        """Make a run and bring it as far as it goes; return its id.

        `end` is the end of its data interval; None means a run by hand.
        """
        run_id = self.start(end, kind, **conf)
        self.advance(run_id)
        return run_id

    def start(self, end: datetime | None = None, kind: str = "scheduled", **conf: Any) -> str:
        """Make a run, and none of its tasks."""
        from airflow.sdk.timezone import coerce_datetime
        from airflow.utils.state import DagRunState
        from airflow.utils.types import DagRunTriggeredByType, DagRunType

        if end is None:
            kind, when = "manual", {"run_after": datetime.now(UTC)}
        else:
            # The interval that a run by hand at that time would get is the one that ends then.
            interval = self.scheduled.timetable.infer_manual_data_interval(run_after=coerce_datetime(end))
            begin = interval.start
            when = {"logical_date": begin, "data_interval": (begin, end), "run_after": end}
        run_id = f"{kind}__{uuid.uuid4()}"
        with _session() as session:
            self.scheduled.create_dagrun(
                run_id=run_id,
                run_type=DagRunType(kind),
                triggered_by=DagRunTriggeredByType.TEST,
                state=DagRunState.RUNNING,
                start_date=datetime.now(UTC),
                conf=conf,
                session=session,
                **when,
            )
        return run_id

    def advance(self, run_id: str, *, only: str | None = None) -> None:
        """Run what can be run (`only` the task of this id), until the run ends or waits for people."""
        from airflow.sdk.definitions.dag import _run_task
        from airflow.utils.state import TaskInstanceState

        before: dict[str, str] | None = None
        while True:
            with _session() as session:
                run = self._run(session, run_id)
                ready, _ = run.update_state(session=session)
                for ti in ready:
                    ti.try_number += 1
                    ti.state, ti.scheduled_dttm = TaskInstanceState.SCHEDULED, datetime.now(UTC)
                session.flush()
                waiting = [ti for ti in run.get_task_instances(session=session) if ti.state == "scheduled"]
                waiting = [ti for ti in waiting if only in (None, ti.task_id)]
                session.expunge_all()
            now = self.states(run_id)
            # What is skipped with a task before it, and the end of the run, are found by looking once more.
            if not waiting and now == before:
                return
            before = now
            for ti in waiting:
                _run_task(ti=ti, task=self.dag.task_dict[ti.task_id])

    def states(self, run_id: str) -> dict[str, str]:
        """Return the states of a run's tasks, and of the run itself under its DAG's id."""
        with _session() as session:
            run = self._run(session, run_id)
            found = {ti.task_id: str(ti.state) for ti in run.get_task_instances(session=session)}
            return found | {self.dag.dag_id: str(run.state)}

    def returned(self, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """Return what a task left under a key."""
        with _session() as session:
            ti = self._task(session, run_id, task_id)
            return ti.xcom_pull(task_ids=task_id, key=key, session=session)

    def note(self, run_id: str) -> str | None:
        """Return the note that the scheduler writes when it ends the run."""
        from sluice_airflow.listeners import run_note

        with _session() as session:
            run_note.on_dag_run_success(self._run(session, run_id), "over")
        with _session() as session:
            note: str | None = self._run(session, run_id).note
            return note

    def question(self, run_id: str, task_id: str) -> Any:
        """Return what a waiting task asks: `subject`, `body`, `options`."""
        with _session() as session:
            detail = self._detail(session, run_id, task_id)
            return SimpleNamespace(subject=detail.subject, body=detail.body, options=detail.options)

    def answer(self, run_id: str, task_id: str, option: str, who: str = "ann") -> None:
        """Answer a waiting task as the page Required Actions does, and go on with the run."""
        from airflow.models.trigger import handle_event_submit
        from airflow.triggers.base import TriggerEvent

        with _session() as session:
            detail = self._detail(session, run_id, task_id)
            detail.responded_by, detail.responded_at = {"id": who, "name": who}, datetime.now(UTC)
            detail.chosen_options, detail.params_input = [option], {}
            event = TriggerEvent(detail.as_resume_event_payload())
            handle_event_submit(event, task_instance=self._task(session, run_id, task_id), session=session)
        self.advance(run_id)

    def time_out(self, run_id: str, task_id: str) -> None:
        """Let the time for an answer be over, as the scheduler finds it, and go on with the run."""
        import logging

        from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

        with _session() as session:
            ti = self._task(session, run_id, task_id)
            assert ti.trigger_timeout is not None
            ti.trigger_timeout = datetime.now(UTC) - timedelta(seconds=1)
        with _session() as session:
            scheduler: Any = SimpleNamespace(log=logging.getLogger(__name__))
            SchedulerJobRunner.check_awaiting_input_timeouts(scheduler, session=session)
        self.advance(run_id)

    def clear(self, run_id: str, *task_ids: str) -> None:
        """Clear tasks, all by default, as a person or a backfill does, and go on with the run."""
        from airflow.models.taskinstance import clear_task_instances
        from airflow.utils.state import DagRunState

        with _session() as session:
            cleared = [self._task(session, run_id, task_id) for task_id in task_ids or self.dag.task_dict]
            clear_task_instances(cleared, session, dag_run_state=DagRunState.RUNNING)
        self.advance(run_id)

    def _run(self, session: Any, run_id: str) -> Any:
        from airflow.models.dagrun import DagRun
        from sqlalchemy import select

        found = select(DagRun).where(DagRun.dag_id == self.dag.dag_id, DagRun.run_id == run_id)
        run: Any = session.scalars(found).one()
        run.dag = self.scheduled
        return run

    def _task(self, session: Any, run_id: str, task_id: str) -> Any:
        return self._run(session, run_id).get_task_instance(task_id, session=session)

    def _detail(self, session: Any, run_id: str, task_id: str) -> Any:
        from airflow.models.hitl import HITLDetail

        return session.get(HITLDetail, self._task(session, run_id, task_id).id)


@contextmanager
def _session() -> Iterator[Any]:
    from airflow.utils.session import create_session

    with create_session(scoped=False) as session:
        yield session

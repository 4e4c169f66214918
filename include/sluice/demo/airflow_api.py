"""The little of Airflow's REST API that the demo and the end-to-end tests need."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from sluice.errors import SluiceError

FINISHED = frozenset({"success", "failed"})


@dataclass(frozen=True)
class Run:
    """One DAG run as the API shows it."""

    run_id: str
    state: str
    data_hour: datetime | None
    started: datetime | None
    ended: datetime | None

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Run:
        """Read a run from the API's answer."""
        return cls(
            run_id=document["dag_run_id"],
            state=document["state"],
            data_hour=_time(document.get("data_interval_start")),
            started=_time(document.get("start_date")),
            ended=_time(document.get("end_date")),
        )

    @property
    def seconds(self) -> float:
        """How long it ran; 0 while it does."""
        return (self.ended - self.started).total_seconds() if self.started and self.ended else 0.0


class AirflowApi:
    """A client of one Airflow's API on loopback, where everybody is an administrator."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=f"{url}/api/v2", timeout=30, trust_env=False)

    def wait_for_dag(self, dag_id: str, seconds: float = 120) -> None:
        """Wait until the DAG is parsed. Raises SluiceError with the import errors if it never is."""
        deadline = time.monotonic() + seconds
        while self._http.get(f"/dags/{dag_id}").status_code != httpx.codes.OK:
            if time.monotonic() > deadline:
                errors = self._get("/importErrors")["import_errors"]
                text = "\n".join(error["stack_trace"] for error in errors) or "there is no import error"
                raise SluiceError(f"Airflow did not find the DAG {dag_id} in {seconds:.0f} s: {text}")
            time.sleep(0.5)

    def unpause(self, dag_id: str) -> None:
        """Let the DAG run."""
        self._set_paused(dag_id, False)

    def pause(self, dag_id: str) -> None:
        """Let no further run of the DAG begin."""
        self._set_paused(dag_id, True)

    def trigger(self, dag_id: str) -> str:
        """Start a run by hand and return its id."""
        answer = self._http.post(f"/dags/{dag_id}/dagRuns", json={"logical_date": None})
        answer.raise_for_status()
        return str(answer.json()["dag_run_id"])

    def backfill(
        self, dag_id: str, first: datetime, last: datetime, max_active_runs: int, reprocess: str
    ) -> None:
        """Create a backfill of the runs from `first` to `last`, both inclusive."""
        document = {
            "dag_id": dag_id,
            "from_date": first.isoformat(),
            "to_date": last.isoformat(),
            "max_active_runs": max_active_runs,
            "reprocess_behavior": reprocess,
        }
        self._http.post("/backfills", json=document).raise_for_status()

    def run(self, dag_id: str, run_id: str) -> Run:
        """Return one run."""
        return Run.from_json(self._get(f"/dags/{dag_id}/dagRuns/{run_id}"))

    def runs(self, dag_id: str) -> Iterator[Run]:
        """Yield all runs of a DAG."""
        offset = 0
        while True:
            page = self._get(f"/dags/{dag_id}/dagRuns", limit=100, offset=offset)
            yield from map(Run.from_json, page["dag_runs"])
            offset += 100
            if offset >= page["total_entries"]:
                return

    def note(self, dag_id: str, run_id: str) -> str | None:
        """Return the note of a run, which the UI shows beside it."""
        note: str | None = self._get(f"/dags/{dag_id}/dagRuns/{run_id}")["note"]
        return note

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """Return the state of each task of a run; mapped ones carry their index."""
        tasks = self._get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {
            f"{task['task_id']}[{task['map_index']}]" if task["map_index"] >= 0 else task["task_id"]: str(
                task["state"]
            )
            for task in tasks
        }

    def links(self, dag_id: str, run_id: str, task_id: str) -> dict[str, str | None]:
        """Return the buttons of a task and where they lead."""
        links: dict[str, str | None] = self._get(
            f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/links"
        )["extra_links"]
        return links

    def page(self, url: str) -> str:
        """Return a page of Airflow's, or nothing if it is not there."""
        answer = self._http.get(url)
        return answer.text if answer.status_code == httpx.codes.OK else ""

    def wait_for_runs(
        self,
        dag_id: str,
        select: Callable[[Run], bool],
        count: int,
        *,
        check: Callable[[], None],
        seconds: float = 600,
    ) -> list[Run]:
        """Wait until `count` runs that `select` takes have finished; `check` raises if a service died.

        Raises SluiceError at the first run that failed, or when no further one ends in so many seconds.
        """
        finished, deadline = 0, time.monotonic() + seconds
        while True:
            check()
            mine = [run for run in self.runs(dag_id) if select(run)]
            failed = [run for run in mine if run.state == "failed"]
            if failed:
                states = self.task_states(dag_id, failed[0].run_id)
                raise SluiceError(f"The run {failed[0].run_id} of {dag_id} failed: {states}")
            done = [run for run in mine if run.state in FINISHED]
            if len(done) >= count and len(done) == len(mine):
                return sorted(done, key=lambda run: run.run_id)
            if len(done) > finished:
                finished, deadline = len(done), time.monotonic() + seconds
            if time.monotonic() > deadline:
                raise SluiceError(
                    f"{finished} of {count} runs of {dag_id} are over; no other one was in {seconds:.0f} s."
                )
            time.sleep(0.5)

    def wait_for_backfills(self, dag_id: str, *, check: Callable[[], None], seconds: float = 120) -> None:
        """Wait until the scheduler has noticed that no backfill of the DAG has anything left to do.

        Until then it refuses the next one. Raises SluiceError when the time is over.
        """
        deadline = time.monotonic() + seconds
        while any(
            backfill["completed_at"] is None
            for backfill in self._get("/backfills", dag_id=dag_id)["backfills"]
        ):
            check()
            if time.monotonic() > deadline:
                raise SluiceError(f"A backfill of {dag_id} is still open after {seconds:.0f} s.")
            time.sleep(0.5)

    def _set_paused(self, dag_id: str, paused: bool) -> None:
        self._http.patch(f"/dags/{dag_id}", json={"is_paused": paused}).raise_for_status()

    def _get(self, path: str, **params: Any) -> Any:
        answer = self._http.get(path, params=params)
        answer.raise_for_status()
        return answer.json()


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None

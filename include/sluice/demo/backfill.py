"""Airflow's own backfill, from its command line, or from the API as in the UI, to its end."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sluice.demo.airflow_api import AirflowApi, Run
from sluice.errors import SluiceError

if TYPE_CHECKING:
    from sluice.local.stack import LocalStack


@dataclass(frozen=True)
class Backfill:
    """The runs of a backfill and how long it took, its creation included."""

    runs: list[Run]
    seconds: float


def backfill(
    stack: LocalStack,
    api: AirflowApi,
    dag_id: str,
    first: datetime,
    hours: int,
    say: Callable[[str], None],
    *,
    max_active_runs: int,
    reprocess: str = "none",
    by_command: bool = False,
) -> Backfill:
    """Create a backfill of so many hours from `first`, and wait until all its runs are over.

    By the API as the UI does, or by `airflow backfill create`, which imports all of Airflow first.
    Raises SluiceError if a run fails.
    """
    began, since = time.monotonic(), datetime.now(UTC)
    last = first + timedelta(hours=hours - 1)
    if by_command:
        _create(stack, dag_id, first, last, max_active_runs, reprocess)
    else:
        api.backfill(dag_id, first, last, max_active_runs, reprocess)
    say(
        f"{dag_id}: backfill of {hours} hours, --max-active-runs {max_active_runs}"
        f" --reprocess-behavior {reprocess}"
    )

    def of_this_backfill(run: Run) -> bool:
        mine = run.data_hour is not None and first <= run.data_hour <= last
        # A run that waits to be reprocessed still shows its last end.
        return mine and (run.state not in ("success",) or (run.ended is not None and run.ended > since))

    runs = api.wait_for_runs(dag_id, of_this_backfill, hours, check=stack.check)
    seconds = time.monotonic() - began
    say(f"{dag_id}: {len(runs)} hours in {seconds:.0f} s, {seconds / len(runs):.1f} s an hour")
    api.wait_for_backfills(dag_id, check=stack.check)
    return Backfill(runs, seconds)


def _create(
    stack: LocalStack, dag_id: str, first: datetime, last: datetime, max_active_runs: int, reprocess: str
) -> None:
    done = subprocess.run(
        [
            *("airflow", "backfill", "create", "--dag-id", dag_id),
            *("--from-date", first.isoformat(), "--to-date", last.isoformat()),
            *("--max-active-runs", str(max_active_runs), "--reprocess-behavior", reprocess),
        ],
        env=stack.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SluiceError(f"`airflow backfill create` ended with {done.returncode}:\n{done.stderr[-2000:]}")

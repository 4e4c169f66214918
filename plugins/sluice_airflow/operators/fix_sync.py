"""The first step of a cohort sync."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from sluice_airflow.dag_run import run_id, run_type
from sluice_airflow.hooks.sluice import SluiceHook
from sluice_airflow.sync_run import as_of, failure_noted, skip, summary

if TYPE_CHECKING:
    from airflow.sdk import Context


class FixSyncOperator(BaseOperator):
    """Finds a cohort's members as of the run's time, and stages all that the sync will send.

    Nothing leaves yet. Skipped, with a sentence in the run's note, where another run has the sync or waits
    for a person. Returns the turn's number, its as-of time and its counts; a second try goes on with the
    same turn.

    :param sync: id of the sync in include/config/cohorts (templated)
    :param only: ids of syncs that the run is limited to; nothing means no limit (templated)
    """

    template_fields: Sequence[str] = ("sync", "only")

    def __init__(self, *, sync: str, only: Sequence[str] | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sync = sync
        self.only = only

    def execute(self, context: Context) -> dict[str, Any]:
        from sluice.cohorts.fix import fix
        from sluice_airflow.hooks.sql_connection import sql_cursor

        if self.only and self.sync not in self.only:
            raise AirflowSkipException(f"This run is for {', '.join(self.only)} only.")
        hook = SluiceHook()
        sync = hook.config.sync(self.sync)
        if run_type(context) == "scheduled" and not sync.enabled:
            raise AirflowSkipException(
                f"The sync {sync.id} or its destination {sync.destination.id} is switched off"
                " (`enabled: false`); backfills and runs by hand work on."
            )
        connection = sync.cohort.connection
        with (
            failure_noted(context, self.sync),
            nullcontext() if connection is None else sql_cursor(connection) as cursor,
        ):
            fixed = fix(
                sync,
                hook.config,
                hook.lake,
                hook.ledger,
                as_of=as_of(context),
                run=run_id(context),
                sql_cursor=cursor,
            )
        if fixed.turn is None or fixed.skipped:
            skip(context, self.sync, fixed.reason or "Another run has this sync.")
        self.log.info("The turn of %s is %s: %s", self.sync, fixed.outcome, summary(fixed.turn))
        return summary(fixed.turn)

"""The step between the work and the world: what is staged passes its quality gate, or waits for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from sluice_airflow.dag_run import run_id
from sluice_airflow.export_run import failure_recorded, hours_of, record_failure
from sluice_airflow.hooks.sluice import SluiceHook
from sluice_airflow.links import GATES_KEY, QualityReport
from sluice_airflow.quality_run import leave_note, override_of, summary
from sluice_airflow.sync_run import failure_noted, skip

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.ledger.quality import Gate


class CheckQualityOperator(BaseOperator):
    """Evaluates the suite of an export, import or cohort sync on what this run has staged.

    Fails, without a retry, if the gate stops everything that is staged; nothing of it is visible then, and
    the message says what a person can do. An export that has staged several hours goes on with those that
    pass: PublishHourOperator fails for the others. Returns counts and the paths of the reports; the link
    "Quality report" opens them. Skipped, as the other tasks of a cohort sync are, where another run has it.

    :param pipeline: "export", "import" or "cohort"
    :param name: id of the destination, source or sync (templated)
    :param turn: of a cohort sync, what FixSyncOperator returned (templated)
    """

    template_fields: Sequence[str] = ("name", "turn")
    operator_extra_links: ClassVar = (QualityReport(),)

    def __init__(
        self,
        *,
        pipeline: Literal["export", "import", "cohort"],
        name: str,
        turn: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pipeline = pipeline
        self.name = name
        self.turn = turn

    def execute(self, context: Context) -> dict[str, Any]:
        from sluice.quality.gate import stopped

        gates = {"export": self._hours, "import": self._load, "cohort": self._turn}[self.pipeline](context)
        context["ti"].xcom_push(key=GATES_KEY, value=[gate.id for gate in gates])
        leave_note(context, gates)
        held = [gate for gate in gates if not gate.is_open]
        if held and len(held) == len(gates):
            error = stopped(*held)
            if self.pipeline == "export":
                record_failure(context, self.name, error)
            raise AirflowFailException(str(error))
        if held:
            self.log.error("%s What has passed is published.", stopped(*held))
        return summary(gates)

    def _hours(self, context: Context) -> list[Gate]:
        from sluice.exports.gate import check_hours

        hook = SluiceHook()
        with failure_recorded(context, self.name):
            return check_hours(
                hook.config.export(self.name),
                lake=hook.lake,
                ledger=hook.ledger,
                run=run_id(context),
                own=hours_of(context),
                override=override_of(context),
            )

    def _load(self, context: Context) -> list[Gate]:
        from sluice.imports.gate import check_load
        from sluice.imports.session import ImportRun

        run = ImportRun.open(SluiceHook(), self.name, context["run_id"])
        gate = check_load(run, override=override_of(context))
        return [] if gate is None else [gate]

    def _turn(self, context: Context) -> list[Gate]:
        if self.turn is None:
            raise AirflowFailException(
                "The gate of a cohort sync needs `turn`: what FixSyncOperator returned."
            )
        from sluice.cohorts.gate import check_turn
        from sluice.ledger.syncs import SyncBusy, TurnLost

        hook = SluiceHook()
        with failure_noted(context, self.name):
            try:
                gate = check_turn(
                    hook.config.sync(self.name),
                    hook.lake,
                    hook.ledger,
                    number=self.turn["turn"],
                    run=run_id(context),
                    override=override_of(context),
                )
            except (SyncBusy, TurnLost) as another:
                skip(context, self.name, str(another))
        return [] if gate is None else [gate]

"""The step of a cohort sync that may wait for a person."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from sluice_airflow.hooks.sluice import SluiceHook
from sluice_airflow.sync_run import leave_note, skip

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.ledger.syncs import Turn

APPROVE, REJECT = "Approve", "Reject"


class ApproveSyncOperator(HITLOperator):
    """Asks a person about a sync that is beyond its limits, with the numbers and a sample of the members.

    Passes at once where nothing is held. Approval lets the sync go on; rejection skips it, and the run stays
    green; without an answer within the sync's `approval_hours` the task fails. Both leave the baseline as it
    was. Waiting takes no worker.

    :param sync: id of the sync in include/config/cohorts (templated)
    :param turn: what FixSyncOperator returned (templated)
    """

    template_fields: Collection[str] = ("sync", "turn")

    def __init__(self, *, sync: str, turn: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(subject="A cohort sync is beyond its limits", options=[APPROVE, REJECT], **kwargs)
        self.sync = sync
        self.turn = turn

    def execute(self, context: Context) -> dict[str, Any]:
        from sluice_airflow.approval_text import body, held_sync, subject

        hook = SluiceHook()
        turn = self._turn(hook)
        if turn.state != "held":
            return self._passed(context, turn)
        held = held_sync(hook.config.sync(self.sync), hook.lake, turn)
        self.subject, self.body = subject(held), body(held)
        # What is left of the time, which a second try does not begin anew.
        self.response_timeout = held.held_until - hook.ledger.now()
        leave_note(context, self.sync, f"waits for a person until {held.held_until:%Y-%m-%d %H:%M} UTC.")
        self.log.info("%s\n\nBrowse > Required Actions takes the answer.", self.subject)
        # Never returns: it puts the task to sleep.
        return dict(super().execute(context))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Act on the answer, or on its absence."""
        from sluice.cohorts.turns import approve, decline

        hook = SluiceHook()
        sync, number = hook.config.sync(self.sync), self.turn["turn"]
        if event.get("error_type") == "timeout":
            hours = sync.config.approval_hours
            reason = f"Nobody answered within {hours} hours: the sync was given up, and its baseline stays."
            decline(sync, hook.ledger, number=number, reason=reason)
            leave_note(context, self.sync, reason)
            raise AirflowFailException(
                f"{reason} Nothing was sent; the next turn compares with the same baseline, and asks again if"
                " it is beyond the limits as well."
            )
        answer = super().execute_complete(context, event)
        who = (answer["responded_by_user"] or {}).get("name")
        if answer["chosen_options"] == [APPROVE]:
            approve(sync, hook.ledger, number=number, by=who)
            leave_note(context, self.sync, f"approved by {who}.")
            return {"approved_by": who}
        reason = f"{who} rejected the sync: nothing was sent, and its baseline stays."
        decline(sync, hook.ledger, number=number, reason=reason, by=who)
        leave_note(context, self.sync, reason)
        raise AirflowSkipException(reason)

    def _turn(self, hook: SluiceHook) -> Turn:
        from sluice.cohorts.chains import chain_of
        from sluice.ledger.syncs import turn_of

        return turn_of(hook.ledger, chain_of(hook.config.sync(self.sync)), self.turn["turn"])

    def _passed(self, context: Context, turn: Turn) -> dict[str, Any]:
        """Let a turn through that does not wait; skip one that is over without having been sent."""
        if turn.state in ("declined", "superseded"):
            reason = f"The turn as of {turn.as_of:%Y-%m-%d %H:%M:%S} UTC was {turn.state}: {turn.reason}"
            skip(context, self.sync, reason, "Clear fix_sync as well to make a new one.")
        self.log.info("Nothing waits for a person.")
        return {"approved_by": turn.decided_by}

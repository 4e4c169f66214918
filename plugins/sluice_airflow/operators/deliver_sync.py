"""The last step of a cohort sync."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import AssetAlias, BaseOperator

from sluice_airflow.assets import sync_asset
from sluice_airflow.dag_run import run_id
from sluice_airflow.hooks.sluice import SluiceHook
from sluice_airflow.sync_run import failure_noted, leave_note, seconds_left, skip, summary

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.config.syncs import Sync


class DeliverSyncOperator(BaseOperator):
    """Sends what was staged to the sync's bucket or stream; every try sends the same bytes.

    A second try goes on where the first ended. Skipped where a later run has taken the turn's place. Returns
    the counts; events of its outlets carry them.

    :param sync: id of the sync in include/config/cohorts (templated)
    :param turn: what FixSyncOperator returned (templated)
    """

    template_fields: Sequence[str] = ("sync", "turn")

    def __init__(self, *, sync: str, turn: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sync = sync
        self.turn = turn

    def execute(self, context: Context) -> dict[str, Any]:
        from sluice.cohorts.turns import deliver

        hook = SluiceHook()
        sync = hook.config.sync(self.sync)
        with failure_noted(context, self.sync):
            delivery = deliver(
                sync,
                hook.lake,
                hook.ledger,
                number=self.turn["turn"],
                run=run_id(context),
                budget_seconds=self._budget(context, sync),
                **_receiver(hook, sync),
            )
        if delivery.skipped:
            skip(context, self.sync, delivery.reason or "Another run has this sync.")
        counts = summary(delivery.turn)
        leave_note(context, self.sync, _sentence(counts))
        for outlet in self.outlets:
            events = context["outlet_events"][outlet]
            if isinstance(outlet, AssetAlias):
                events.add(sync_asset(self.sync), extra=counts)
            else:
                events.extra = counts
        return counts

    def _budget(self, context: Context, sync: Sync) -> float | None:
        """Return how long may be sent: to the end of a real-time turn's minute; None is the library's choice.

        A first population may take longer than its minute: later turns skip it (amplitude-spec 2.3).
        """
        return seconds_left(context) if sync.cadence == "real_time" and self.turn["baseline"] else None


def _receiver(hook: SluiceHook, sync: Sync) -> dict[str, Any]:
    """Return what reaches the destination, as `deliver` takes it."""
    to = sync.destination
    if to.kind == "s3":
        return {"client": hook.store(to.connection, to.region).client()}
    return {"stream": hook.stream(to.connection, to.stream, to.region)}


def _sentence(counts: Mapping[str, Any]) -> str:
    if counts["kind"] == "existing":
        return (
            f"{counts['existing']:,} members as of {counts['as_of']}, a time that is past: no baseline moves."
        )
    flows = f"{counts['entering']:,} entered and {counts['exiting']:,} left"
    again = "" if counts["kind"] == "regular" else " Sent again."
    return f"{counts['existing']:,} members, {flows}.{again}"

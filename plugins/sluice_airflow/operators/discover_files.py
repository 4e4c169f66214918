"""The first step of an import: find new files, and plan who converts which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, BaseOperator

from sluice.errors import SluiceError
from sluice_airflow.dag_run import run_type
from sluice_airflow.hooks.sluice import SluiceHook

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.config import ImportConfig


class DiscoverFilesOperator(BaseOperator):
    """Compares a source's bucket with the ledger and returns the batches of files that wait.

    A run by hand, and the scheduled run of a source with notifications, lists everything. Any run of such a
    source empties its queue, with the messages that started the run first. A batch is a small dict, over
    which ConvertFilesOperator is mapped; no batch means nothing to do.

    :param source: id of the import source (templated)
    """

    template_fields: Sequence[str] = ("source",)

    def __init__(self, *, source: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source = source

    def execute(self, context: Context) -> list[dict[str, Any]]:
        from sluice.imports.discovery import discover
        from sluice.imports.enabling import require_enabled
        from sluice.imports.inbox import Inbox
        from sluice.imports.messages import rung_messages
        from sluice.imports.session import ImportRun

        hook = SluiceHook()
        run = ImportRun.open(hook, self.source, context["run_id"])
        source = run.source
        _require_role(source)
        require_enabled(run)
        if source.queue is None:
            found = discover(run, sweep=run_type(context) == "manual")
        else:
            queue = hook.queue(source.connection, source.queue, source.region)
            inbox = Inbox(queue, rung_messages(_extras(context)))
            found = discover(run, inbox, sweep=run_type(context) != "asset_triggered")
        return [batch.as_json() for batch in found.batches]


def _extras(context: Context) -> Iterator[object]:
    """Yield what came with each of the asset events that started the run; Airflow merges several."""
    for events in context["triggering_asset_events"].values():
        for event in events:
            yield event.extra


def _require_role(source: ImportConfig) -> None:
    """Raise SluiceError if another account's bucket is to be opened without its role (decisions I-22)."""
    if source.account == "own":
        return
    extra = BaseHook.get_connection(source.connection).extra_dejson
    external_id = extra.get("external_id") or (extra.get("assume_role_kwargs") or {}).get("ExternalId")
    missing = [
        name
        for name, value in (("role_arn", extra.get("role_arn")), ("external_id", external_id))
        if not value
    ]
    if missing:
        raise SluiceError(
            f"The connection {source.connection} lacks {' and '.join(missing)} in its extra, which the bucket"
            f" {source.bucket} of another account needs (decisions I-22). Add them, or say `account: own` in"
            f" {source.source_file or 'the source'} if the bucket is your own."
        )

"""The first step of an import: find new files, and plan who converts which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, BaseOperator

from sluice.errors import SluiceError
from sluice_airflow.hooks.sluice import SluiceHook

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.config import ImportConfig


class DiscoverFilesOperator(BaseOperator):
    """Lists a source's bucket against the ledger and returns the batches of files that wait.

    A batch is a small dict, over which ConvertFilesOperator is mapped; no batch means nothing to do.

    :param source: id of the import source (templated)
    """

    template_fields: Sequence[str] = ("source",)

    def __init__(self, *, source: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source = source

    def execute(self, context: Context) -> list[dict[str, Any]]:
        from sluice.imports.discovery import discover
        from sluice.imports.enabling import require_enabled
        from sluice.imports.session import ImportRun

        run = ImportRun.open(SluiceHook(), self.source, context["run_id"])
        _require_role(run.source)
        require_enabled(run)
        return [batch.as_json() for batch in discover(run).batches]


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

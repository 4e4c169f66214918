"""Deletes the data files that nobody needs any more: replaced ones, and those that no commit ever named."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from datetime import timedelta

import pyarrow.fs as pafs
from deltalake import CommitProperties, DeltaTable

from sluice.lake.maintenance.rewrite import METADATA_KEY, keeper, megabytes
from sluice.lake.store import SCHEMAS, Lake
from sluice.ledger import Ledger

log = logging.getLogger(__name__)

_PROPERTY = "delta.deletedFileRetentionDuration"
# What the protocol takes where the property is not set.
_DEFAULT = timedelta(days=7)


@dataclass
class Vacuumed:
    """Files deleted from a table, or that would be, and their bytes."""

    files: int = 0
    bytes: int = 0
    seconds: float = 0.0


def vacuum_tables(
    lake: Lake, ledger: Ledger, retention: timedelta, *, dry_run: bool = False
) -> dict[str, Vacuumed]:
    """Delete from every table the files that have been useless for longer than `retention`.

    These are files that a rewrite replaced that long ago, and files of that age that no commit names, as
    refused or killed loads leave them. A younger one may be about to be committed, or be read at an older
    version by an export. What is found is written to the log first; with `dry_run` that is all.
    """
    return {name: _vacuum(lake, ledger, name, retention, dry_run) for name in SCHEMAS}


def _vacuum(lake: Lake, ledger: Ledger, name: str, retention: timedelta, dry_run: bool) -> Vacuumed:
    began = time.monotonic()
    hours = int(retention / timedelta(hours=1))
    with keeper(ledger, name):
        table = lake.table(name)
        if not dry_run:
            table = _remember_removals(lake, name, table, retention)
        paths = table.vacuum(hours, dry_run=True, enforce_retention_duration=not dry_run, full=True)
        # The log names replaced files for a while after they are deleted.
        infos = lake.table_filesystem(name).get_file_info(paths)
        sizes = [info.size or 0 for info in infos if info.type == pafs.FileType.File]
        found = Vacuumed(len(sizes), sum(sizes))
        log.info(
            "%s: %s files of %s have been useless for more than %s days and %s",
            name, f"{found.files:,}", megabytes(found.bytes), retention.days,
            "would be deleted" if dry_run else "are deleted",
        )  # fmt: skip
        for path in paths:
            log.debug("%s: %s", name, path)
        if found.files and not dry_run:
            about = {METADATA_KEY: json.dumps({"kind": "vacuum"})}
            table.vacuum(
                hours, dry_run=False, full=True, commit_properties=CommitProperties(custom_metadata=about)
            )
    found.seconds = time.monotonic() - began
    return found


def _remember_removals(lake: Lake, name: str, table: DeltaTable, retention: timedelta) -> DeltaTable:
    """Let checkpoints remember replaced files for as long as these are kept.

    A checkpoint that forgot one would make it a file that no commit names, whose age is that of its writing.
    """
    wanted = f"interval {retention.days} days"
    configured = table.metadata().configuration.get(_PROPERTY)
    if configured == wanted or (configured is None and retention == _DEFAULT):
        return table
    log.info("%s: replaced files are remembered for %s days", name, retention.days)
    table.alter.set_table_properties({_PROPERTY: wanted})
    return lake.table(name)

"""Writes checkpoints, from which a table opens without reading each commit since the last one."""

from __future__ import annotations

import json
import logging

from sluice.lake.store import SCHEMAS, Lake

log = logging.getLogger(__name__)

# Commits since the last checkpoint from which on a new one is worth its write.
WORTH_COMMITS = 10


def checkpoint_tables(lake: Lake, *, dry_run: bool = False) -> dict[str, int]:
    """Write a checkpoint of each table that has ten or more commits since its last one.

    Returns, by table, the version of each new checkpoint. The commits themselves stay: the ledger, should it
    be lost, is rebuilt from them (ADR 1), and a lake's log is small beside its data.
    """
    written: dict[str, int] = {}
    for name in SCHEMAS:
        table = lake.table(name)
        version, last = int(table.version()), _last_checkpoint(lake, name)
        if version - last < WORTH_COMMITS:
            continue
        if not dry_run:
            table.create_checkpoint()
        written[name] = version
        log.info(
            "%s: %s commits since the checkpoint at version %s; %s at version %s",
            name, version - last, last, "a new one would be" if dry_run else "a new one is", version,
        )  # fmt: skip
    return written


def _last_checkpoint(lake: Lake, name: str) -> int:
    """Return the version of a table's last checkpoint, 0 if it has none."""
    try:
        with lake.table_filesystem(name).open_input_file("_delta_log/_last_checkpoint") as file:
            return int(json.loads(file.read())["version"])
    except FileNotFoundError:
        return 0

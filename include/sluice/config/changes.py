"""What a change of the configuration would do, compared with what the ledger recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sluice.config.exports import ExportConfig
from sluice.config.imports import ImportConfig

_HARMLESS = "Nothing that is written or loaded changes."
_PLACE = (
    "Takes effect at the next run. What is exported already stays where it is; hours are exported again, to"
    " the new place, only by a backfill."
)
_FORM = (
    "Takes effect at the next run. Hours that are exported already keep their form until a backfill exports"
    " them again."
)
_NEXT_RUN = "Takes effect at the next run."
_NEXT_LOAD = "Files that are loaded from now on; rows that are in the lake stay as they are."

_OF_EXPORTS: Mapping[str, str] = {
    "projects": (
        "A new project is exported from the next run on, its earlier hours by a backfill; a project that is"
        " taken out is no longer exported, and its objects stay."
    ),
    "bucket": _PLACE,
    "prefix": _PLACE,
    "flat_layout": _PLACE,
    "region": _PLACE,
    "connection": _PLACE,
    "data_sets": _FORM,
    "dialect": _FORM,
    "first_partition": _FORM,
    "marker": _FORM,
    "partition_bytes": _FORM,
    "compression_level": _FORM,
    "encryption": _FORM,
    "kms_key": _FORM,
    "filter": (
        "Takes effect at the next run. Hours that are exported already keep the events of the old filter"
        " until a backfill exports them again."
    ),
    "start": "Moves the first hour of the schedule. Hours that are exported already stay.",
    "enabled": "Starts or stops the schedule; backfills are possible either way.",
    "reexport_changed": _NEXT_RUN,
    "catch_up_hours": _NEXT_RUN,
    "close_wait": _NEXT_RUN,
    "late_after": _NEXT_RUN,
}

_OF_IMPORTS: Mapping[str, str] = {
    "project": "Files that are loaded from now on go to the new project; earlier rows stay where they are.",
    "converter": (
        "Files that are discovered once it has passed `sluice import enable`; until then they get the one"
        " that did. Rows in the lake stay as they are."
    ),
    "replay": _NEXT_LOAD,
    "data_type": _NEXT_LOAD,
    "strategy": _NEXT_LOAD,
    "upload_time": _NEXT_LOAD,
    "not_before": _NEXT_LOAD,
    "require_time": _NEXT_LOAD,
    "min_bytes": _NEXT_LOAD,
    "max_bytes": _NEXT_LOAD,
    "size_policy": _NEXT_LOAD,
    "error_budget": _NEXT_LOAD,
    "account": _NEXT_RUN,
    "max_hours_per_load": _NEXT_RUN,
    "discovery": (
        "Changes how files are found; run `sluice import enable` again, which sets up the notifications. No"
        " file is taken twice."
    ),
    "scan_every": "Changes how often the DAG runs.",
    "queue": "Run `sluice import enable` again: it points the bucket's notifications to the new queue.",
    "layout": "Takes effect at the next scan; files elsewhere are found by the sweep.",
    "recent_hours": "Takes effect at the next scan.",
    "sweep_every": "Changes how often the whole prefix is listed.",
    "enabled": "Starts or stops the schedule; runs by hand are possible either way.",
}

_BEFORE_FIRST_IMPORT = "Nothing is imported yet: the source begins at the new place."
_AFTER_FIRST_IMPORT = (
    "Refused: the source has imported from the old place. Undo it, and make a new source"
    " with an id of its own for the new place."
)


@dataclass(frozen=True)
class Change:
    """One key that differs from what the ledger recorded, and what follows from it."""

    key: str
    old: Any
    new: Any
    consequence: str
    refused: bool = False


def changes_of_export(recorded: Mapping[str, Any], config: ExportConfig) -> list[Change]:
    """Compare a destination with its record (`as_json()` of an earlier configuration)."""
    return [
        Change(key, old, new, _OF_EXPORTS.get(key, _HARMLESS))
        for key, old, new in _differences(recorded, config.as_json())
    ]


def changes_of_import(
    recorded: Mapping[str, Any], config: ImportConfig, *, has_imported: bool
) -> list[Change]:
    """Compare a source with its record; its place is fixed once it has imported."""
    changes = []
    for key, old, new in _differences(recorded, config.as_json()):
        if key in ImportConfig.FIXED:
            consequence = _AFTER_FIRST_IMPORT if has_imported else _BEFORE_FIRST_IMPORT
            changes.append(Change(key, old, new, consequence, refused=has_imported))
        else:
            changes.append(Change(key, old, new, _OF_IMPORTS.get(key, _HARMLESS)))
    return changes


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """List (key, old, new) of what differs.

    A key that the record lacks came with a newer version of Sluice: nobody changed it.
    """
    return [(key, old[key], value) for key, value in new.items() if key in old and old[key] != value]

"""What a change of the configuration would do, compared with what the ledger recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sluice.config.exports import ExportConfig
from sluice.config.imports import ImportConfig
from sluice.config.syncs import Sync

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
_GATE = (
    "Holds for what is checked from now on: nothing that is written, loaded or sent has other content by it."
)
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
    "quality": _GATE,
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
    "quality": _GATE,
}

_NEXT_SYNC = "Takes effect at the next sync."
_NEW_COLUMNS = (
    "The next sync has the new columns. Who stays a member is sent again only in the `existing` file:"
    " messages tell of who comes and who leaves."
)
_OTHER_MEMBERS = (
    "The next sync sends the difference to the members of before: who comes by the new rule, and who leaves"
    " by it. Look at `sluice cohort preview` first."
)
_OTHER_PLACE = (
    "The next sync goes to the new place. The baseline stays, since it hangs on the destination's name: the"
    " new place is told of changes only (and gets an `existing` file, if it is S3). Give the destination a"
    " new name as well to begin there with all members."
)
_NEW_CHAIN = (
    "Begins with an empty baseline: all members enter at the next sync, and whoever reads what was sent so"
    " far gets nothing more, no exits either. Changed back, the old baseline is there again."
)
_OTHER_VALUES = (
    "Members are told apart by this value, so at the next sync all leave with the old one and all enter with"
    " the new one."
)
_NEW_MESSAGES = "The next sync's messages have it; those that were sent stay."
_NEW_FILES = "The next sync's files have it; those that were sent stay."

_OF_SYNCS: Mapping[str, str] = {
    "destination": "What differs between the two destinations is said by the lines on `destination.…`.",
    "cadence": "The sync goes on with its baseline at the new cadence.",
    "enabled": "Starts or stops the schedule; the baseline stays, and backfills are possible either way.",
    "user_properties": _NEW_COLUMNS,
    "routing_key": _NEW_FILES,
    "max_exit_share": _NEXT_SYNC,
    "max_entering": _NEXT_SYNC,
    "approval_hours": "Holds for syncs that begin to wait from now on.",
    "row_log_days": "Takes effect at the next clean-up.",
    "cohort.id": _NEW_CHAIN,
    "cohort.name": _NEW_MESSAGES,
    "cohort.project": _OTHER_MEMBERS,
    "cohort.sql": _OTHER_MEMBERS,
    "cohort.connection": _OTHER_MEMBERS,
    "cohort.definition": _OTHER_MEMBERS,
    "cohort.ids_file": _OTHER_MEMBERS,
    "cohort.quality": _GATE,
    "cohort.properties": "What may be sent; what is sent follows from the syncs and their destinations.",
    "destination.name": _NEW_CHAIN,
    "destination.kind": _OTHER_PLACE,
    "destination.projects": "What may be sent there; nothing that is sent changes.",
    "destination.region": _OTHER_PLACE,
    "destination.connection": _OTHER_PLACE,
    "destination.enabled": "Starts or stops the schedules of all syncs to it; their baselines stay.",
    "destination.match_by": _OTHER_VALUES,
    "destination.user_property": _NEW_COLUMNS,
    "destination.bucket": _OTHER_PLACE,
    "destination.path": _OTHER_PLACE,
    "destination.timestamp_format": _NEW_FILES,
    "destination.header_style": _NEW_FILES,
    "destination.existing_mode": _NEW_FILES,
    "destination.csv_safe": _NEW_FILES,
    "destination.require_suffix": "Asks for a `routing_key` in each sync; nothing that is sent changes.",
    "destination.stream": _OTHER_PLACE,
    "destination.max_users": _NEXT_SYNC,
    "destination.max_message_bytes": _NEXT_SYNC,
    "destination.max_record_bytes": _NEXT_SYNC,
    "destination.partition_key": _NEXT_SYNC,
    "destination.shards": _NEXT_SYNC,
}

_OF_BASELINE = frozenset({"cohort.id", "destination.name"})
_FROM_BASELINE = (_OTHER_MEMBERS, _OTHER_PLACE, _OTHER_VALUES, _NEW_COLUMNS)

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


def changes_of_sync(recorded: Mapping[str, Any], sync: Sync) -> list[Change]:
    """Compare a sync, its cohort and its destination with their record (`Sync.as_json()` of an earlier turn).

    Baselines hang on the sync, the destination's name and the cohort's id (decisions K-17).
    """
    current = sync.as_json()
    differences = [
        (f"{prefix}{name}", old, new)
        for part, prefix in (("sync", ""), ("cohort", "cohort."), ("destination", "destination."))
        for name, old, new in _differences(recorded.get(part, {}), current[part])
    ]
    begins_anew = not _OF_BASELINE.isdisjoint(key for key, _, _ in differences)
    changes = []
    for key, old, new in differences:
        consequence = _OF_SYNCS.get(key, "Nothing that is sent changes.")
        if begins_anew and key not in _OF_BASELINE and consequence in _FROM_BASELINE:
            # All members are sent anyway: nothing is a difference to those of before.
            consequence = _NEXT_SYNC
        changes.append(Change(key, old, new, consequence))
    return changes


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """List (key, old, new) of what differs.

    A key that the record lacks came with a newer version of Sluice: nobody changed it.
    """
    return [(key, old[key], value) for key, value in new.items() if key in old and old[key] != value]

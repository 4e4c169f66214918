"""Rules that each staged row keeps by the way in which it is made, looked at in a sample.

They are Sluice's own, beside the configured ones of Great Expectations, and need nothing of it: a gate with
no other rules for single rows does not import it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sluice.imports.identity import id_fault
from sluice.quality.results import Expectation, Result

Row = Mapping[str, Any]

# The dictionaries of an event (amplitude-spec 1.3).
DICTIONARIES = ("event_properties", "group_properties", "groups", "user_properties")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def _ids(row: Row) -> bool:
    return all(row[name] is None or id_fault(row[name]) is None for name in ("user_id", "device_id"))


def _uuid(row: Row) -> bool:
    return row["uuid"] is None or _UUID.fullmatch(row["uuid"]) is not None


def _dictionaries(row: Row) -> bool:
    return all(row[name] is None or _is_object(row[name]) for name in DICTIONARIES)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


_Rule = tuple[str, Callable[[Row], bool], str]
_EVERY: tuple[_Rule, ...] = (
    ("expect_staged_uuids_to_be_in_form", _uuid, "uuid is a UUID, or missing."),
    (
        "expect_staged_dictionaries_to_be_objects",
        _dictionaries,
        f"{', '.join(DICTIONARIES)} are JSON objects or missing.",
    ),
)
# A replay keeps the ids that rows have.
_CONVERTED: tuple[_Rule, ...] = (
    (
        "expect_staged_ids_to_stand_for_somebody",
        _ids,
        "user_id and device_id are ids that Amplitude takes, or missing.",
    ),
)
COLUMNS = ("uuid", "user_id", "device_id", *DICTIONARIES)


def row_results(rows: Sequence[Row], *, replay: bool) -> list[Result]:
    """Return what the rules say of a sample; a row that breaks one is a mistake of Sluice, and stops."""
    rules = _EVERY if replay else (*_EVERY, *_CONVERTED)
    results = []
    for name, holds, notes in rules:
        unexpected = sum(not holds(row) for row in rows)
        expectation = Expectation(name, notes=notes)
        results.append(
            Result(expectation, not unexpected, "sample", checked=len(rows), unexpected=unexpected)
        )
    return results

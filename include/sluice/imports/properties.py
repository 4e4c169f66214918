"""The dictionary fields of an event as JSON text, within the API's limits (amplitude-spec 6.1, 6.2)."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import orjson

from sluice.converter import RowError
from sluice.converter.fields import PROPERTY_OPERATIONS
from sluice.imports.values import MAX_TEXT, shown

MAX_DEPTH = 40
MAX_GROUP_TYPES = 5
MAX_GROUPS = 10

_PLAN_KEYS = ("branch", "source", "version")


def require_object(field: str, value: Any) -> dict[str, Any]:
    """Return the value if it is an object. Raises RowError."""
    if type(value) is not dict:
        raise RowError(field, f"must be an object, is {shown(value)}")
    return value


def object_text(field: str, value: dict[str, Any], notes: Counter[str]) -> str:
    """Return an object as JSON text, its texts cut to 1,024 characters. Raises RowError beyond 40 levels."""
    if not value:
        return "{}"
    text = _dump(field, value)
    # Short text cannot hold a long value, and depth needs brackets: most objects need no walk.
    if len(text) <= MAX_TEXT and text.count(b"{") + text.count(b"[") <= MAX_DEPTH:
        return text.decode()
    limited = _limit(field, value, 1, notes)
    return (text if limited is value else _dump(field, limited)).decode()


def limit_groups(groups: dict[str, Any], notes: Counter[str]) -> dict[str, Any]:
    """Keep the first 5 group types and 10 groups of an event; the rest is not tracked (spec 6.1)."""
    kept: dict[str, Any] = {}
    room = MAX_GROUPS
    for name, value in groups.items():
        if len(kept) == MAX_GROUP_TYPES or room <= 0:
            notes["groups: more than 5 types or 10 groups, the rest left out"] += 1
            break
        if isinstance(value, list):
            if len(value) > room:
                notes["groups: more than 5 types or 10 groups, the rest left out"] += 1
            value = value[:room]
            room -= len(value)
        else:
            room -= 1
        kept[name] = value
    return kept


def limit_plan(plan: dict[str, Any], notes: Counter[str]) -> dict[str, Any]:
    """Keep a plan's `branch`, `source` and `version`, which are text (amplitude-spec 6.1)."""
    kept = {name: plan[name] for name in _PLAN_KEYS if isinstance(plan.get(name), str)}
    if len(kept) < len(plan):
        notes["plan: keys other than branch, source and version, or no text, left out"] += 1
    return kept


def refuse_operations(field: str, properties: dict[str, Any]) -> None:
    """Raise RowError for property operations, which only $identify and $groupidentify rows may hold."""
    for key in properties:
        if key in PROPERTY_OPERATIONS:
            raise RowError(
                field, f"holds the operation {key}, which only $identify rows may use (amplitude-spec 6.1)"
            )


def _dump(field: str, value: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        pass
    # orjson writes integers up to 64 bits only, and no text that UTF-8 cannot hold.
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:
        raise RowError(field, "holds half a character (a lone surrogate), which is no text") from None
    except RecursionError:
        raise RowError(field, f"is nested deeper than {MAX_DEPTH} levels") from None
    except (TypeError, ValueError) as error:
        raise RowError(field, f"cannot be written as JSON: {error}") from None


def _limit(field: str, value: Any, level: int, notes: Counter[str]) -> Any:
    """Return the value with long texts cut, or the value itself if nothing had to be."""
    if type(value) is str:
        if len(value) <= MAX_TEXT:
            return value
        notes[f"{field}: values cut to {MAX_TEXT:,} characters"] += 1
        return value[:MAX_TEXT]
    if type(value) is dict:
        _check_level(field, level)
        items = {key: _limit(field, item, level + 1, notes) for key, item in value.items()}
        return items if any(items[key] is not value[key] for key in items) else value
    if type(value) is list:
        _check_level(field, level)
        entries = [_limit(field, item, level + 1, notes) for item in value]
        return entries if any(map(lambda new, old: new is not old, entries, value)) else value
    return value


def _check_level(field: str, level: int) -> None:
    if level > MAX_DEPTH:
        raise RowError(field, f"is nested deeper than {MAX_DEPTH} levels")

"""What every exported line must look like, whatever is in it: looked at in a sample of an hour's lines.

It is about the text that leaves, not about columns of the lake: a fault of the encoder shows here.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sluice.event_columns import EVENT_COLUMNS
from sluice.event_schema import OBJECT_COLUMNS
from sluice.exports.lines import Dialect, export_keys
from sluice.quality.results import Expectation, Result

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SEPARATORS = {"observed": " ", "documented": "T"}
# Keys that a result names.
_NAMED = 5


def line_results(lines: Sequence[bytes], *, dialect: Dialect, project: int, hour: datetime) -> list[Result]:
    """Look at lines of an hour one by one: keys, times, uuid, dictionary fields, and whose they are."""
    keys = frozenset(export_keys(dialect))
    separator = _SEPARATORS[dialect]
    form = re.compile(rf"\d{{4}}-\d\d-\d\d{separator}\d\d:\d\d:\d\d\.\d{{6}}")
    times = [key for key in keys if EVENT_COLUMNS[key] == "time"]
    dictionaries = OBJECT_COLUMNS & keys
    start = f"{hour:%Y-%m-%d}{separator}{hour:%H}:"
    missing, badly_timed, unnamed, no_objects, strangers = (_Failures() for _ in range(5))
    for line in lines:
        event = event_of(line)
        missing.add(keys.difference(event))
        badly_timed.add([key for key in times if not _fits(form, event.get(key), nullable=True)])
        unnamed.add([] if _fits(_UUID, event.get("uuid")) else ["uuid"])
        no_objects.add([key for key in dictionaries if not isinstance(event.get(key), dict | None)])
        owned = {
            "app": event.get("app") == project,
            "server_upload_time": str(event.get("server_upload_time")).startswith(start),
        }
        strangers.add([key for key, holds in owned.items() if not holds])
    count = len(lines)
    return [
        missing.result("expect_line_keys_to_be_whole", {"dialect": dialect, "keys": len(keys)}, count),
        badly_timed.result(
            "expect_line_times_to_be_in_form", {"form": f"YYYY-MM-DD{separator}HH:MM:SS.ffffff"}, count
        ),
        unnamed.result("expect_line_uuids_to_be_in_form", {}, count),
        no_objects.result("expect_line_dictionaries_to_be_objects", {}, count),
        strangers.result("expect_lines_of_the_hour", {}, count),
    ]


class _Failures:
    """Counts lines that fail one rule, and which keys they fail in."""

    def __init__(self) -> None:
        self._lines = 0
        self._keys: Counter[str] = Counter()

    def add(self, keys: Collection[str]) -> None:
        """Count one line, which fails in these keys, or in none."""
        if keys:
            self._lines += 1
            self._keys.update(keys)

    def result(self, type: str, kwargs: dict[str, Any], checked: int) -> Result:
        """Return what came of the rule; keys are no values of an event."""
        worst = sorted(self._keys.items(), key=lambda item: (-item[1], item[0]))
        named = [f"{key} in {count:,} lines" for key, count in worst[:_NAMED]]
        more = [f"{len(worst) - _NAMED} more keys"] if len(worst) > _NAMED else []
        return Result(
            Expectation(type, kwargs),
            success=not self._lines,
            method="sample",
            checked=checked,
            unexpected=self._lines,
            observed=", ".join(named + more) or None,
        )


def event_of(line: bytes) -> dict[str, Any]:
    """Return a line's event; a line that is no JSON object lacks every key."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _fits(form: re.Pattern[str], value: Any, *, nullable: bool = False) -> bool:
    if value is None:
        return nullable
    return isinstance(value, str) and form.fullmatch(value) is not None

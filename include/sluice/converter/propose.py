"""A first converter from a sample file, as a guided set-up proposes it: the columns' likely roles."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from sluice.converter.fields import HTTP_V2_KEYS
from sluice.converter.isotime import iso_to_ms
from sluice.converter.outcomes import Json, RowError
from sluice.converter.preview import PreviewError
from sluice.converter.timepattern import compile_pattern

# Likely names of a role's column, the likeliest first; compared without case, blanks and punctuation.
ROLES: dict[str, tuple[str, ...]] = {
    "event_type": ("eventtype", "eventname", "event", "action", "activity", "name", "type"),
    "user_id": ("userid", "uid", "user", "customerid", "accountid", "memberid", "email", "login"),
    "device_id": ("deviceid", "device", "anonymousid", "visitorid", "cookieid", "clientid", "installid"),
    "time": (
        "time", "timestamp", "eventtime", "ts", "eventtimestamp", "occurredat", "createdat", "datetime",
    "date",
        "epoch",
    ),
    "insert_id": ("insertid", "eventuuid", "messageid", "uuid", "eventid", "id", "rowid"),
    "session_id": ("sessionid", "session"),
    "ip": ("ip", "ipaddress", "remoteaddr"),
    "app_version": ("appversion", "version", "versionname"),
    "carrier": ("carrier", "devicecarrier"),
}  # fmt: skip
_PATTERNS = (
    "M/d/yyyy H:mm:ss",
    "M/d/yyyy H:mm",
    "M/d/yyyy h:mm:ss a",
    "M/d/yyyy h:mm a",
    "d.M.yyyy H:mm:ss",
    "d.M.yyyy H:mm",
    "M/d/yyyy",
    "d.M.yyyy",
    "yyyy/MM/dd HH:mm:ss",
    "yyyyMMddHHmmss",
    "EEE, d MMM yyyy HH:mm:ss Z",
    "d MMM yyyy HH:mm:ss",
)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def time_source(column: str, samples: list[Json]) -> Json | None:
    """Propose the source of `time` for a column, or None if its values are no times that we know."""
    texts = [value for value in samples if isinstance(value, str) and value]
    numbers = [float(value) for value in samples if _is_number(value)]
    if numbers and len(numbers) == len([value for value in samples if value not in (None, "")]):
        if all(1e11 <= number < 1e14 for number in numbers):
            return column
        if all(1e8 <= number < 1e11 for number in numbers):
            return ["multiply", column, ["int", 1000]]
        return None
    if texts and all(iso_to_ms(text) is not None for text in texts):
        return ["iso_time_to_ms", column]
    for pattern in _PATTERNS:
        read = compile_pattern(pattern)
        if texts and all(read(text) is not None for text in texts):
            return ["parse_time_to_ms", pattern, column]
    return None


def _is_number(value: Json) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"[0-9]{8,14}(\.[0-9]+)?", value) is not None
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def propose(
    location: str, file_keys: dict[str, Json], rows: Iterable[dict[str, Json] | RowError]
) -> dict[str, Json]:
    """Propose a whole configuration for a file whose first rows are given.

    Columns with a role or a name of the HTTP V2 API fill that field, all others become event properties.
    PreviewError if there is no row.
    """
    columns: dict[str, list[Json]] = {}
    problem = "it has none with a field"
    for row in rows:
        if isinstance(row, RowError):
            problem = row.reason
        else:
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
    if not columns:
        raise PreviewError(f"{location}: no row can be read: {problem}")
    mapping: dict[str, Json] = {}
    used: set[str] = set()
    for role, names in ROLES.items():
        for column in (column for name in names for column in columns if _plain(column) == name):
            if column in used:
                continue
            source = time_source(column, columns[column]) if role == "time" else column
            if source is not None:
                mapping[role] = source
                used.add(column)
                break
    if "time" not in mapping:
        texts = {
            column: [value for value in samples if isinstance(value, str)]
            for column, samples in columns.items()
        }
        for column in columns:
            source = time_source(column, texts[column]) if column not in used else None
            if isinstance(source, list) and source[0] != "multiply":
                mapping["time"] = source
                used.add(column)
                break
    for column in columns:
        free = column not in mapping and column not in used
        if free and column in HTTP_V2_KEYS and _fits(column, columns[column]):
            mapping[column] = column
            used.add(column)
    mapping.setdefault("event_type", ["value", "Imported Event"])
    rest = [column for column in columns if column not in used]
    if rest and isinstance(mapping.get("event_properties"), str):
        mapping["event_properties"] = ["merge_dicts", "event_properties", {column: column for column in rest}]
    elif rest:
        mapping["event_properties"] = {column: column for column in rest}
    name = PurePosixPath(location).name
    suffixes = "".join(PurePosixPath(name).suffixes[-2:])
    return {
        "config_name": [name],
        "converterConfig": {**file_keys, "convertToAmplitudeFunc": mapping},
        "keyValidatorConfig": {"filterPattern": ".*" + re.sub(r"([^\w])", r"\\\1", suffixes)},
    }


def _fits(column: str, samples: list[Json]) -> bool:
    """Whether a column named like a key that must hold an object does hold objects."""
    needs_object = column.endswith("properties") or column in ("groups", "plan")
    return not needs_object or all(value is None or isinstance(value, dict) for value in samples)

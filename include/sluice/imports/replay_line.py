"""One line in export form: its 55 values, and the JSON text of whatever else it has (amplitude-spec 1.3).

A line is read into its types at once, without a Python object for what lies inside of a dictionary field:
those stay the JSON text that they are, so that no number and no blank of them changes. Only a line that does
not fit, or has more keys, is looked at more closely.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import orjson

from sluice.converter import RowError
from sluice.converter.jsontext import BrokenJson, parse
from sluice.event_columns import EVENT_COLUMNS, Kind
from sluice.imports.json_rows import JsonLines
from sluice.imports.records import BadRow
from sluice.imports.values import printable, shown

_TYPES: dict[Kind, Any] = {
    "text": str | None,
    "integer": int | None,
    "decimal": float | None,
    "boolean": bool | None,
    "time": str | None,
    "json": msgspec.Raw,
}
_NULL = msgspec.Raw(b"null")

# Attribute names cannot hold a dollar sign.
_ATTRIBUTES = {key: f"{key.replace('$', '_')}_" for key in EVENT_COLUMNS}
_FIELDS = [
    (_ATTRIBUTES[key], _TYPES[kind], _NULL if kind == "json" else None) for key, kind in EVENT_COLUMNS.items()
]
_KEYS = {attribute: key for key, attribute in _ATTRIBUTES.items()}

_decode_exactly = msgspec.json.Decoder(
    msgspec.defstruct("ExportLine", _FIELDS, rename=_KEYS, gc=False, forbid_unknown_fields=True)
).decode
_decode_known = msgspec.json.Decoder(
    msgspec.defstruct("LongExportLine", _FIELDS, rename=_KEYS, gc=False)
).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_values = msgspec.structs.astuple

# What msgspec raises for a line that it does not take.
_REFUSED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_EXPECTED: dict[Kind, tuple[tuple[type, ...], str]] = {
    "text": ((str,), "text"),
    "time": ((str,), "text"),
    "integer": ((int,), "a whole number"),
    "decimal": ((int, float), "a number"),
    "boolean": ((bool,), "true or false"),
}

Values = tuple[Any, ...]


def read_lines(lines: Sequence[bytes]) -> list[Values] | None:
    """Return the values of lines that hold nothing but the known keys in their types, else None.

    Values are in the order of EVENT_COLUMNS; a key that a line does not have is null, as in lines of the 48
    documented keys. Those of dictionary fields are JSON text that only has the right brackets and quotes.
    """
    try:
        return list(map(_values, map(_decode_exactly, lines)))
    except _REFUSED:
        return None


def read_line(line: bytes) -> tuple[Values, str | None]:
    """Return one line's values, and its other keys as the text of an object. Raises RowError."""
    try:
        values = _values(_decode_known(line))
        others = {key: raw for key, raw in _decode_members(line).items() if key not in EVENT_COLUMNS}
    except _REFUSED as error:
        raise _fault(line, error) from None
    return values, _extra(others) if others else None


def are_json(texts: Iterable[bytes]) -> bool:
    """Whether all of these are surely texts of one JSON value that every engine can read."""
    try:
        for text in texts:
            orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def require_json(field: str, text: bytes) -> None:
    """Raise RowError if this is not the UTF-8 text of one JSON value that every engine can read."""
    try:
        orjson.loads(text)
        return
    except orjson.JSONDecodeError:
        pass
    try:
        # Reads long integers too, which orjson takes for doubles that are too large.
        parse(text.decode())
    except UnicodeDecodeError as error:
        raise RowError(field, f"the byte 0x{text[error.start]:02x} is not UTF-8") from None
    except (BrokenJson, RecursionError) as error:
        raise RowError(field, f"is not JSON: {printable(str(error))}") from None
    except RowError as error:
        raise RowError(field, error.reason) from None


def _extra(members: dict[str, msgspec.Raw]) -> str:
    pieces = []
    for key, raw in members.items():
        text = bytes(raw)
        require_json(key, text)
        pieces.append(b"%b:%b" % (orjson.dumps(key), text))
    return f"{{{b','.join(pieces).decode()}}}"


def _fault(line: bytes, error: Exception) -> RowError:
    """Say why a line is refused: what it is instead of an object, or the first key of another type."""
    record = next(iter(JsonLines(line, transcoded=True)))
    if isinstance(record, BadRow):
        return RowError("", record.reason)
    for key, kind in EVENT_COLUMNS.items():
        value = record.get(key)
        if value is None or kind == "json":
            continue
        types, expected = _EXPECTED[kind]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            return RowError(key, f"must be {expected}, is {shown(value)}")
    return RowError("", f"cannot be read: {printable(str(error))}")

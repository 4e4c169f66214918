"""A property's values as the text of a CSV cell."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sluice.errors import SluiceError
from sluice.json_columns import doubles


class PropertyError(SluiceError):
    """A property has a type that no file of a sync can hold."""


def property_text(name: str, column: pa.Array) -> pa.StringArray:
    """Return each value as text; null stays null.

    Text as it is; `true` and `false`; numbers as in JSON, NaN and infinity null; dates `2013-01-31`; times
    in UTC, `2013-01-31T17:03:11.123000Z`; of JSON a string without its quotes and all else as the JSON text
    that is stored. Raises PropertyError for any other type.
    """
    kind = column.type
    if isinstance(kind, pa.JsonType):
        return _json_text(column.storage.cast(pa.string()))
    if pa.types.is_dictionary(kind):
        return property_text(name, column.dictionary).take(column.indices)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _valid(column.cast(pa.string()))
    if pa.types.is_boolean(kind):
        return pc.if_else(column, "true", "false")
    if pa.types.is_floating(kind):
        return doubles(column)
    if pa.types.is_integer(kind) or pa.types.is_date(kind) or pa.types.is_null(kind):
        return column.cast(pa.string())
    if pa.types.is_timestamp(kind):
        # Without its zone a time prints as `2013-01-31 17:03:11.123000`.
        moments = column.cast(pa.timestamp("us", kind.tz)).cast(pa.timestamp("us")).cast(pa.string())
        return pc.binary_join_element_wise(pc.binary_replace_slice(moments, 10, 11, "T"), "Z", "")
    raise PropertyError(
        f"The property {name} has the type {kind}, which a sync cannot send: let the cohort's query cast it"
        " to text, or to JSON."
    )


def _valid(text: pa.StringArray) -> pa.StringArray:
    """Return the text with replacement characters for what is not UTF-8, such as half a surrogate pair."""
    raw = text.cast(pa.binary())
    try:
        return raw.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array(
            [None if value is None else value.decode(errors="replace") for value in raw.to_pylist()],
            pa.string(),
        )


def _json_text(text: pa.StringArray) -> pa.StringArray:
    text = _valid(text)
    strings = pc.starts_with(text, '"').fill_null(False)
    if not pc.any(strings).as_py():
        return text
    escaped = pc.and_(strings, pc.match_substring(text, "\\").fill_null(False))
    bare = pc.if_else(strings, pc.utf8_slice_codeunits(text, 1, -1), text)
    if not pc.any(escaped).as_py():
        return bare
    values = [_unquoted(value) for value in text.filter(escaped).to_pylist()]
    return pc.replace_with_mask(bare, escaped, pa.array(values, pa.string()))


def _unquoted(text: str) -> str:
    value: Any = json.loads(text)
    # A lone half of a surrogate pair, which JSON can write, is no text.
    return str(value).encode("utf-16", "surrogatepass").decode("utf-16", "replace")

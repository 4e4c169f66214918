"""Arrow columns as JSON text, one text a value: no Python object is made of a value that needs none."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.compute as pc

from sluice.text_columns import value_bytes

# What JSON does not allow as it is within a string.
_ESCAPED = r'["\\\x00-\x1f]'
# Whitespace that JSON allows between tokens and that would break a line in two.
_LINE_BREAKS = (10, 13)


def quoted(text: pa.StringArray) -> pa.StringArray:
    """Return the values as JSON strings; only those that need it are looked at one by one."""
    plain = pc.binary_join_element_wise('"', text, '"', "")
    if not needs_escapes(text):
        return plain
    escaped = pc.match_substring_regex(text, _ESCAPED).fill_null(False)
    values = [json.dumps(value, ensure_ascii=False) for value in text.filter(escaped).to_pylist()]
    return pc.replace_with_mask(plain, escaped, pa.array(values, plain.type))


def needs_escapes(text: pa.StringArray) -> bool:
    """Say whether any value has a character that a JSON string must escape."""
    data = value_bytes(text)
    return bool(((data < 0x20) | (data == 0x22) | (data == 0x5C)).any())


def one_line(text: pa.StringArray) -> pa.StringArray:
    """Return JSON texts without line breaks: within JSON strings they are escaped, so these are blanks."""
    data = value_bytes(text)
    if not any((data == code).any() for code in _LINE_BREAKS):
        return text
    return pc.replace_substring_regex(text, r"[\n\r]", " ")


def doubles(column: pa.Array) -> pa.StringArray:
    """Return the shortest text that reads back as the same double, always with a point or an exponent.

    NaN and infinity, which JSON does not know, are null.
    """
    finite = pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
    text = finite.cast(pa.string())
    whole = pc.match_substring_regex(text, r"^-?\d+$")
    return pc.if_else(whole, pc.binary_join_element_wise(text, ".0", ""), text)

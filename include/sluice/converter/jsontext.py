"""JSON as text: reading it without losing a digit, writing a scalar, measuring what is JSON at all."""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import NoReturn

import orjson

from sluice.converter.limits import MAX_NESTING
from sluice.converter.outcomes import Json, RowError

# Python writes integers of at most so many digits as text.
_TOO_LONG = "an integer of more than 4,300 digits cannot be written as text"
_MAX_INTEGER = 10**4300
# orjson reads an integer above 64 bits as a double, and refuses lone surrogates that JSON's grammar allows.
_LONG_NUMBER = re.compile(r"\d{19}")


class BrokenJson(ValueError):
    """The text is not JSON; the message says why."""


def _refuse_constant(name: str) -> NoReturn:
    raise BrokenJson(f"{name} is not JSON")


def _finite_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise RowError("", f"the number {shorten(text)} is too large for a double")
    return number


def parse(text: str) -> Json:
    """Parse JSON text exactly: integers keep all their digits (up to 4,300), later duplicate keys win.

    Raises `BrokenJson` for text that is not JSON or nests deeper than about 1,000
    levels, and `RowError` for
    a number that overflows a double (issue 3: an overflow to infinity is a row error, never an infinity).
    """
    if not _LONG_NUMBER.search(text):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError as error:
            if "infinity" not in str(error) and "surrogate" not in str(error):
                raise BrokenJson(str(error)) from None
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite_float)
    except RecursionError:
        raise BrokenJson("nested too deeply") from None
    except ValueError as error:
        raise BrokenJson(str(error)) from None


def scalar_text(value: str | float | bool) -> str:
    """Write a string as itself, a number or boolean as JSON does (decisions D-07); RowError above 4,300
    digits and for NaN and infinity, which are no JSON.
    """
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, str):
        return value
    if (reason := _scalar_fault(value, shared=False)) is not None:
        raise RowError("", reason)
    return repr(value)


def fault(value: Json, *, shared: bool = True) -> str | None:
    """Say why a Python value is no JSON value within the limits, or None if it is one.

    Walks without recursion. With `shared` false also checks the types of scalars and keys, as needed for
    values that no parser made.
    """
    level = [value]
    for _ in range(MAX_NESTING + 1):
        deeper: list[Json] = []
        for item in level:
            kind = item.__class__
            if kind is str or (kind is int and shared):
                continue
            if isinstance(item, dict):
                if (
                    not shared
                    and (key := next((key for key in item if not isinstance(key, str)), None)) is not None
                ):
                    return f"the object key {shorten(repr(key))} is not a string"
                deeper += item.values()
            elif isinstance(item, list):
                deeper += item
            elif (reason := _scalar_fault(item, shared)) is not None:
                return reason
        if not deeper:
            return None
        level = deeper
    return f"nested deeper than {MAX_NESTING:,} levels"


def _scalar_fault(value: Json, shared: bool) -> str | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{value} is not a JSON number"
    if isinstance(value, int):
        return None if shared or -_MAX_INTEGER < value < _MAX_INTEGER else _TOO_LONG
    if shared or value is None or isinstance(value, str):
        return None
    return f"a Python {type(value).__name__} is not a JSON value"


def shorten(text: str, width: int = 60) -> str:
    """Cut a text for a message."""
    return text if len(text) <= width else text[: width - 1] + "…"


def show(value: Json, width: int = 60) -> str:
    """Show a JSON value in a message: its type in words and its text, cut."""
    if isinstance(value, (dict, list)):
        noun = "object" if isinstance(value, dict) else "list"
        return (
            f"an empty {noun}"
            if not value
            else f"{'an object' if noun == 'object' else 'a list'} of {len(value)}"
        )
    if isinstance(value, str):
        return "the string " + shorten(json.dumps(value[: width + 1], ensure_ascii=False), width)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        try:
            return f"the number {shorten(repr(value), width)}"
        except ValueError:
            return "a number of more than 4,300 digits"
    return f"a Python {type(value).__name__}"


def canonical_hash(document: Json) -> str:
    """Hash a JSON document: hex SHA-256 of its text with sorted keys and no blanks."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()

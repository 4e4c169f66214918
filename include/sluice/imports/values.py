"""Casting a converted event's values to the types of the ingestion API (decisions I-4, amplitude-spec 6.1).

Only what cannot be mistaken is cast: digits to numbers, numbers to text. Everything else is a row error.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from sluice.converter import RowError

# The API cuts text beyond this (amplitude-spec 6.2).
MAX_TEXT = 1024

_WHOLE = re.compile(r"-?[0-9]{1,19}")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_INT64 = 1 << 63
# All numbers of so many digits fit in 64 bits.
_FEW_DIGITS = 18


def whole_number(field: str, value: Any) -> int:
    """Return a 64-bit integer: an integer, digits as text, or a float without fraction. Raises RowError."""
    kind = type(value)
    if kind is str and _WHOLE.fullmatch(value):
        number = int(value)
    elif kind is int:
        number = value
    elif kind is float and value.is_integer():
        number = int(value)
    else:
        raise RowError(field, f"must be a whole number, is {shown(value)}")
    if not -_INT64 <= number < _INT64:
        raise RowError(field, f"{shown(value)} does not fit in 64 bits")
    return number


def plain_integers(values: Sequence[Any]) -> Sequence[int] | None:
    """Return the integers of a list of integers, or of texts of few digits; None for any other list."""
    kinds = set(map(type, values))
    if kinds == {int}:
        return values
    if kinds == {str}:
        digits = "".join(values)
        if (
            digits.isdecimal()
            and digits.isascii()
            and "" not in values
            and max(map(len, values)) <= _FEW_DIGITS
        ):
            return [*map(int, values)]
    return None


def decimal_number(field: str, value: Any) -> float:
    """Return a finite double: a number, or decimal digits as text. Raises RowError."""
    kind = type(value)
    if kind is float or kind is int or (kind is str and _DECIMAL.fullmatch(value)):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise RowError(field, f"must be a number, is {shown(value)}")


def text(field: str, value: Any) -> str:
    """Return text; a number becomes its JSON text. Raises RowError for what is neither."""
    if isinstance(value, str):
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise RowError(field, "holds half a character (a lone surrogate), which is no text") from None
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return json.dumps(value, allow_nan=False)
        except ValueError:
            pass
    raise RowError(field, f"must be text, is {shown(value)}")


def truth(field: str, value: Any) -> bool:
    """Return a boolean, also from the words true and false in any case. Raises RowError."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise RowError(field, f"must be true or false, is {shown(value)}")


def shown(value: Any) -> str:
    """Show a value in a message: its JSON text, cut."""
    if isinstance(value, str):
        value = value[:60]
    try:
        shown_text = printable(json.dumps(value, ensure_ascii=False))
    except (TypeError, ValueError):
        # An integer of more than 4,300 digits.
        shown_text = f"a {type(value).__name__}"
    return shown_text if len(shown_text) <= 60 else shown_text[:59] + "…"


def printable(message: str) -> str:
    """Make a message that quotes a row's values fit for UTF-8 and for every database."""
    if message.isascii():
        return message.replace("\0", "\\0")
    return message.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")

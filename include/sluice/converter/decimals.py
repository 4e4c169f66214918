"""Exact decimal arithmetic on JSON numbers and numeric strings (amplitude-spec 5.5, decisions D-15)."""

from __future__ import annotations

import math
import re
from decimal import MAX_EMAX, MIN_EMIN, ROUND_DOWN, ROUND_FLOOR, Context, Decimal

from sluice.converter.limits import MAX_DIGITS
from sluice.converter.outcomes import Json, RowError

Number = int | Decimal

_NUMERIC = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?")
_MAX_BITS = int(MAX_DIGITS * math.log2(10))
# Wide enough for the exact sum or product of any two numbers within the limit, so nothing is ever rounded.
_EXACT = Context(prec=4 * MAX_DIGITS + 100, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
_HALF = Decimal("0.5")
_TOO_LARGE = f"a number of more than {MAX_DIGITS:,} digits"


def operand(value: Json) -> Number | None:
    """Take a JSON value as a number: null is zero, a numeric string is read; None if it is not a number."""
    kind = value.__class__
    if kind is int:
        return within(value)
    if value is None:
        return 0
    if kind is bool:
        return None
    if isinstance(value, float):
        return Decimal(repr(float(value))) if math.isfinite(value) else None
    if isinstance(value, str):
        return from_text(value)
    return within(int(value)) if isinstance(value, int) else None


def from_text(text: str) -> Number | None:
    """Read a decimal number in JSON's or Java's notation; None for any other text, blanks included."""
    if len(text) > MAX_DIGITS:
        if text.lstrip("+-.")[:1].isdecimal() and _NUMERIC.fullmatch(text):
            raise RowError("", _TOO_LARGE)
        return None
    if not _NUMERIC.fullmatch(text):
        return None
    number = Decimal(text)
    if not number:
        return 0
    if number.adjusted() > MAX_DIGITS:
        raise RowError("", _TOO_LARGE)
    return number if number.adjusted() >= -MAX_DIGITS else 0


def within(number: int) -> int:
    """Return the integer, or raise RowError if it has more digits than the stated limit."""
    if number.bit_length() > _MAX_BITS:
        raise RowError("", _TOO_LARGE)
    return number


def plain(number: Number) -> int | float:
    """Give a result as JSON: whole numbers as integers, others as the nearest double; RowError if it
    overflows.
    """
    if isinstance(number, int):
        return within(number)
    if number == number.to_integral_value(ROUND_DOWN, _EXACT):
        return truncate(number)
    result = float(number)
    if math.isinf(result):
        raise RowError("", "the result is too large for a double")
    return result


def truncate(number: Number) -> int:
    """Cut the fraction, toward zero."""
    return within(number if isinstance(number, int) else int(number))


def floor(number: Number) -> int:
    """Round toward negative infinity."""
    return number if isinstance(number, int) else int(number.to_integral_value(ROUND_FLOOR, _EXACT))


def round_half_up(number: Number) -> int:
    """Round to the nearest integer, a half toward positive infinity as Java's Math.round."""
    return number if isinstance(number, int) else floor(_EXACT.add(number, _HALF))


def add(left: Number, right: Number) -> Number:
    """Add exactly."""
    if isinstance(left, int) and isinstance(right, int):
        return left + right
    return _EXACT.add(Decimal(left), Decimal(right))


def subtract(left: Number, right: Number) -> Number:
    """Subtract exactly."""
    return add(left, -right if isinstance(right, int) else right.copy_negate())


def multiply(left: Number, right: Number) -> Number:
    """Multiply exactly; RowError as soon as a partial product has more digits than the stated limit."""
    if isinstance(left, int) and isinstance(right, int):
        return within(left * right)
    product = _EXACT.multiply(Decimal(left), Decimal(right))
    if not product:
        return 0
    if product.adjusted() > MAX_DIGITS:
        raise RowError("", _TOO_LARGE)
    return product if product.adjusted() >= -MAX_DIGITS else 0


def divide(left: Number, right: Number) -> int | None:
    """Divide, the quotient cut toward zero; None if the divisor is zero."""
    if not right:
        return None
    if isinstance(left, int) and isinstance(right, int):
        quotient = abs(left) // abs(right)
        return quotient if (left < 0) == (right < 0) else -quotient
    return truncate(_EXACT.divide_int(Decimal(left), Decimal(right)))

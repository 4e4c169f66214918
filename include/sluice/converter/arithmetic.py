"""Number operators (amplitude-spec 5.5, decisions D-15)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from sluice.converter import decimals
from sluice.converter.grammar import Example, Kind, Operator
from sluice.converter.outcomes import MISSING, Json, Source, column_of, with_column

_FEW_DIGITS = 18
_FRACTION = re.compile(r"[0-9]{1,9}\.[0-9]{1,9}")
_CASTS = "Numeric strings are numbers, null and no value are 0, anything else gives no value. "


def build_int(literal: int) -> Source:
    """Compile the literal."""
    return lambda element, clock: literal


def _number(source: Source, element: Json, clock: int) -> decimals.Number | None:
    value: Json = source(element, clock)
    if value.__class__ is int:
        return value
    return decimals.operand(None if value is MISSING else value)


def build_round(source: Source) -> Source:
    """Compile `round`: half up, as Java's Math.round."""

    def rounded(element: Json, clock: int) -> Json:
        number = _number(source, element, clock)
        return MISSING if number is None else decimals.within(decimals.round_half_up(number))

    return rounded


def _fold(
    combine: Callable[[decimals.Number, decimals.Number], decimals.Number],
    finish: Callable[[decimals.Number], int | float],
    sources: tuple[Source, ...],
) -> Source:
    first, *others = sources

    def fold(element: Json, clock: int) -> Json:
        total = _number(first, element, clock)
        if total is None:
            return MISSING
        for source in others:
            number = _number(source, element, clock)
            if number is None:
                return MISSING
            total = combine(total, number)
        return finish(total)

    return fold


def build_add(*sources: Source) -> Source:
    """Compile `add`: exact decimal sum; a fraction is kept, a whole sum is an integer."""
    add = _fold(decimals.add, decimals.plain, sources)
    if len(sources) != 1:
        return add
    # Much used to make a number of a text.
    take = column_of(sources[0])

    def column(elements: Sequence[Json], clock: int) -> list[Json]:
        return [_only(value) for value in take(elements, clock)]

    return with_column(add, column)


def _only(value: Json) -> Json:
    """Return the sum of one value."""
    kind = value.__class__
    if kind is int:
        return decimals.within(value)
    if kind is str:
        if value.isdecimal() and value.isascii() and len(value) <= _FEW_DIGITS:
            return int(value)
        # What is not whole as a double is not whole as a decimal either.
        if _FRACTION.fullmatch(value) and (double := float(value)) % 1:
            return double
    elif kind is float and value % 1:
        # Not true of infinity; and the double nearest to a double's own digits is that double.
        return value
    number = decimals.operand(None if value is MISSING else value)
    return MISSING if number is None else decimals.plain(number)


def build_subtract(left: Source, right: Source) -> Source:
    """Compile `subtract`: the fraction of the difference is cut."""
    return _fold(decimals.subtract, decimals.truncate, (left, right))


def build_multiply(*sources: Source) -> Source:
    """Compile `multiply`: the fraction of the product is cut."""
    return _fold(decimals.multiply, decimals.truncate, sources)


def build_divide(left: Source, right: Source) -> Source:
    """Compile `divide`: the fraction of the quotient is cut; by zero gives no value."""

    def divide(element: Json, clock: int) -> Json:
        dividend, divisor = _number(left, element, clock), _number(right, element, clock)
        if dividend is None or divisor is None:
            return MISSING
        quotient = decimals.divide(dividend, divisor)
        return MISSING if quotient is None else quotient

    return divide


OPERATORS: Final = (
    Operator(
        name="int",
        arguments=(Kind.RAW_INTEGER,),
        summary="A static integer.",
        rules="Anything else is a configuration error.",
        origin="amplitude-spec 5.5",
        examples=(Example(["int", 5], {}, 5),),
        build=build_int,
    ),
    Operator(
        name="round",
        arguments=(Kind.SOURCE,),
        summary="The nearest integer, a half toward positive infinity.",
        rules=_CASTS,
        origin="amplitude-spec 5.5, decisions D-15",
        examples=(Example(["round", "n"], {"n": "2.5"}, 3), Example(["round", "n"], {"n": -2.5}, -2)),
        build=build_round,
    ),
    Operator(
        name="add",
        aliases=("+",),
        arguments=(Kind.SOURCE,),
        repeated=(Kind.SOURCE,),
        summary="The sum, in exact decimal arithmetic.",
        rules=_CASTS + "A fraction is kept; a whole sum is an integer.",
        origin="amplitude-spec 5.5, decisions D-15",
        examples=(
            Example(["+", "a", "b"], {"a": 0.1, "b": "0.2"}, 0.3),
            Example(["add", "a", "b"], {"a": "10", "b": None}, 10),
        ),
        build=build_add,
    ),
    Operator(
        name="subtract",
        aliases=("-",),
        arguments=(Kind.SOURCE, Kind.SOURCE),
        summary="The first minus the second, the fraction cut.",
        rules=_CASTS,
        origin="amplitude-spec 5.5, decisions D-15",
        examples=(Example(["-", "a", "b"], {"a": 5, "b": 7}, -2),),
        build=build_subtract,
    ),
    Operator(
        name="multiply",
        aliases=("*",),
        arguments=(Kind.SOURCE,),
        repeated=(Kind.SOURCE,),
        summary="The product, the fraction cut.",
        rules=_CASTS,
        origin="amplitude-spec 5.5, decisions D-15",
        examples=(Example(["*", "price", ["int", 100]], {"price": 19.99}, 1999),),
        build=build_multiply,
    ),
    Operator(
        name="divide",
        aliases=("/",),
        arguments=(Kind.SOURCE, Kind.SOURCE),
        summary="The first by the second, the fraction cut.",
        rules=_CASTS + "Division by zero gives no value.",
        origin="amplitude-spec 5.5, decisions D-15",
        examples=(
            Example(["/", "a", ["int", 2]], {"a": -7}, -3),
            Example(["/", "a", "b"], {"a": 1, "b": 0}, no_value=True),
        ),
        build=build_divide,
    ),
)

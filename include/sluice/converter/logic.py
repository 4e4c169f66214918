"""Boolean operators, equality and sampling (amplitude-spec 5.4, decisions D-08 and D-14)."""

from __future__ import annotations

import hashlib
from typing import Final

from sluice.converter import decimals
from sluice.converter.grammar import Example, Kind, Operator
from sluice.converter.jsontext import scalar_text
from sluice.converter.outcomes import MISSING, Json, Source

_CASTS = {"true": True, "false": False}


def truth(value: Json) -> bool | None:
    """Cast to a boolean: null and no value are false, the strings true and false count; None for all else."""
    if value is True or value is False:
        return bool(value)
    if value is None or value is MISSING:
        return False
    if isinstance(value, str) and len(value) <= 5:
        return _CASTS.get(value.lower())
    return None


def equal(left: Json, right: Json) -> bool:
    """Compare deeply: 1 equals 1.0, true is not 1, "1" is not 1 (decisions D-08). Never recurses."""
    pairs = [(left, right)]
    while pairs:
        left, right = pairs.pop()
        if isinstance(left, dict):
            if not isinstance(right, dict) or len(left) != len(right):
                return False
            for key, value in left.items():
                if key not in right:
                    return False
                pairs.append((value, right[key]))
        elif isinstance(left, list):
            if not isinstance(right, list) or len(left) != len(right):
                return False
            pairs += zip(left, right, strict=True)
        elif isinstance(right, (dict, list)):
            return False
        elif isinstance(left, bool) or isinstance(right, bool):
            if left is not right:
                return False
        elif left != right:
            return False
    return True


def build_bool(literal: bool) -> Source:
    """Compile the literal."""
    return lambda element, clock: literal


def build_not(source: Source) -> Source:
    """Compile `not`; a value that is no boolean gives no value."""

    def negate(element: Json, clock: int) -> Json:
        holds = truth(source(element, clock))
        return MISSING if holds is None else not holds

    return negate


def build_and(*sources: Source) -> Source:
    """Compile `and`, lazily from left to right."""

    def both(element: Json, clock: int) -> Json:
        for source in sources:
            holds = truth(source(element, clock))
            if not holds:
                return MISSING if holds is None else False
        return True

    return both


def build_or(*sources: Source) -> Source:
    """Compile `or`, lazily from left to right."""

    def either(element: Json, clock: int) -> Json:
        for source in sources:
            holds = truth(source(element, clock))
            if holds is None:
                return MISSING
            if holds:
                return True
        return False

    return either


def build_equals(left: Source, right: Source) -> Source:
    """Compile `equals`; no value counts as null (decisions D-03)."""

    def equals(element: Json, clock: int) -> Json:
        a, b = left(element, clock), right(element, clock)
        if a.__class__ is str:
            return bool(a == b)
        return equal(None if a is MISSING else a, None if b is MISSING else b)

    return equals


def build_contains(text: str, source: Source) -> Source:
    """Compile `contains`: in a string, in the text of a number or boolean, or as member of a list (decisions
    D-08).
    """

    def contains(element: Json, clock: int) -> Json:
        value = source(element, clock)
        if value is None or value is MISSING:
            return False
        if isinstance(value, str):
            return text in value
        if isinstance(value, list):
            return text in value
        return MISSING if isinstance(value, dict) else text in scalar_text(value)

    return contains


def build_sample_md5(percent: Source, key: Source) -> Source:
    """Compile `sample_md5`: the first 32 bits of the key's MD5 as a share of 100 (decisions D-14)."""

    def sample(element: Json, clock: int) -> Json:
        share, value = percent(element, clock), key(element, clock)
        if (
            share is None
            or share is MISSING
            or value is None
            or isinstance(value, (dict, list))
            or value is MISSING
        ):
            return MISSING
        number = decimals.operand(share)
        if number is None:
            return MISSING
        text = scalar_text(value).encode("utf-8", "surrogatepass")
        digest = hashlib.md5(text, usedforsecurity=False).digest()
        return int.from_bytes(digest[:4]) * 100 < decimals.multiply(number, 2**32)

    return sample


OPERATORS: Final = (
    Operator(
        name="bool",
        arguments=(Kind.RAW_BOOLEAN,),
        summary="A static true or false.",
        rules="Anything else is a configuration error.",
        origin="amplitude-spec 5.4",
        examples=(Example(["bool", True], {}, True),),
        build=build_bool,
    ),
    Operator(
        name="not",
        aliases=("!",),
        arguments=(Kind.SOURCE,),
        summary="Negation.",
        rules="Null and no value are false, so their negation is true; "
        "the strings true and false (any case) are cast; all else gives no value.",
        origin="amplitude-spec 5.4, decisions D-08",
        examples=(Example(["not", "paid"], {}, True), Example(["!", "paid"], {"paid": "yes"}, no_value=True)),
        build=build_not,
    ),
    Operator(
        name="and",
        aliases=("&&",),
        arguments=(Kind.SOURCE,),
        repeated=(Kind.SOURCE,),
        summary="True if all are true.",
        rules="Lazy, left to right. Casts as `not`.",
        origin="amplitude-spec 5.4, decisions D-08",
        examples=(Example(["and", "a", "b"], {"a": True, "b": "true"}, True),),
        build=build_and,
    ),
    Operator(
        name="or",
        aliases=("||",),
        arguments=(Kind.SOURCE,),
        repeated=(Kind.SOURCE,),
        summary="True if at least one is true.",
        rules="Lazy, left to right. Casts as `not`.",
        origin="amplitude-spec 5.4, decisions D-08",
        examples=(Example(["or", "a", "b"], {"a": None, "b": "true"}, True),),
        build=build_or,
    ),
    Operator(
        name="equals",
        aliases=("eq", "="),
        arguments=(Kind.SOURCE, Kind.SOURCE),
        summary="True if and only if both are equal.",
        rules='Deep. 1 equals 1.0; true is not 1, "1" is not 1; no value equals null.',
        origin="amplitude-spec 5.4, decisions D-08",
        examples=(
            Example(["equals", "n", ["value", 1.0]], {"n": 1}, True),
            Example(["eq", "n", ["value", "1"]], {"n": 1}, False),
        ),
        build=build_equals,
    ),
    Operator(
        name="contains",
        aliases=("is_substring",),
        arguments=(Kind.RAW_STRING, Kind.SOURCE),
        summary="Whether the source contains the string.",
        rules="Case matters. On a list: membership; on numbers and booleans: in their text; "
        "null and no value: false; on an object: no value.",
        origin="amplitude-spec 5.4, decisions D-08",
        examples=(
            Example(["contains", "book", "ref"], {"ref": "facebook"}, True),
            Example(["contains", "vip", "tags"], {"tags": ["vip", "new"]}, True),
        ),
        build=build_contains,
    ),
    Operator(
        name="sample_md5",
        arguments=(Kind.SOURCE, Kind.SOURCE),
        summary="Whether the key (second) is in a sample of so many percent (first).",
        rules="The same key always gives the same answer: the first 8 hexadecimal digits of its MD5, as a "
        "share of "
        "2^32 times 100, must be below the percentage. Amplitude's own algorithm is not public, so its "
        "samples "
        "are others.",
        origin="amplitude-spec 5.3, decisions D-14",
        examples=(Example(["sample_md5", ["int", 50], "user"], {"user": "user-3"}, True),),
        build=build_sample_md5,
    ),
)

"""Operators on strings (amplitude-spec 5.3, decisions D-07 and D-10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sluice.converter.grammar import Example, Kind, Operator, Refusal
from sluice.converter.javaregex import BoundedPattern, RegexProblem, replacement_parts
from sluice.converter.jsontext import scalar_text
from sluice.converter.limits import MAX_TEXT
from sluice.converter.outcomes import MISSING, Json, RowError, Source, column_of, with_column


def _as_text(value: Json) -> str | None:
    """Give strings, numbers and booleans as text; None for null, no value, objects and lists."""
    if value is None or value is MISSING or isinstance(value, (dict, list)):
        return None
    return scalar_text(value)


def build_concat(*sources: Source) -> Source:
    """Compile `concat`: one part without text makes the whole no value (decisions D-07)."""

    def concat(element: Json, clock: int) -> Json:
        parts = []
        room = MAX_TEXT
        for source in sources:
            value = source(element, clock)
            part = value if value.__class__ is str else _as_text(value)
            if part is None:
                return MISSING
            room -= len(part)
            if room < 0:
                raise RowError("", f"the joined text would exceed {MAX_TEXT:,} characters")
            parts.append(part)
        return "".join(parts)

    columns = [column_of(source) for source in sources]

    def column(elements: Sequence[Json], clock: int) -> list[Json]:
        parts = zip(*(take(elements, clock) for take in columns), strict=True)
        try:
            joined = ["".join(row) for row in parts]
        except TypeError:
            # Not all parts are text.
            joined = None
        if joined is None or max(map(len, joined), default=0) > MAX_TEXT:
            return [concat(element, clock) for element in elements]
        return joined

    return with_column(concat, column)


def build_replace_with(old: str, new: str, source: Source) -> Source:
    """Compile `replace_with`: Java's `replaceAll` in bounded time."""
    try:
        pattern = BoundedPattern(old)
    except RegexProblem as problem:
        raise Refusal(1, f"{problem}") from None
    try:
        parts = replacement_parts(new, pattern.translation)
    except RegexProblem as problem:
        raise Refusal(2, f"{problem}") from None

    def replace(element: Json, clock: int) -> Json:
        text = _as_text(source(element, clock))
        return MISSING if text is None else pattern.replace_all(text, parts)

    return replace


def build_split(separator: str, source: Source) -> Source:
    """Compile `split`: a literal separator, empty parts kept (decisions D-10)."""

    def split(element: Json, clock: int) -> Json:
        value = source(element, clock)
        return value.split(separator) if isinstance(value, str) else MISSING

    return split


def build_lowercase(source: Source) -> Source:
    """Compile `lowercase`."""

    def lowercase(element: Json, clock: int) -> Json:
        value = source(element, clock)
        return value.lower() if isinstance(value, str) else MISSING

    return lowercase


OPERATORS: Final = (
    Operator(
        name="concat",
        arguments=(Kind.SOURCE,),
        repeated=(Kind.SOURCE,),
        summary="The results as strings, joined.",
        rules="Numbers and booleans in their JSON text. If one part is null, an object, a list or has no "
        "value, "
        "the whole has none: a half-built id is worse than none.",
        origin="amplitude-spec 5.3, decisions D-07",
        examples=(
            Example(["concat", "shop", ["value", "-"], "order"], {"shop": "eu", "order": 17}, "eu-17"),
            Example(["concat", "shop", "order"], {"shop": "eu"}, no_value=True),
        ),
        build=build_concat,
    ),
    Operator(
        name="replace_with",
        arguments=(Kind.REGEX, Kind.RAW_STRING, Kind.SOURCE),
        summary="Replaces every match of a Java regular expression.",
        rules="The replacement takes $1, ${name}, and \\$ for a dollar. Numbers and booleans become strings; "
        "null, objects and lists give no value. A match that takes longer than the stated time is a row "
        "error.",
        origin="amplitude-spec 5.3, decisions D-10",
        examples=(
            Example(["replace_with", "\\.", "", "ip"], {"ip": "1.2.3"}, "123"),
            Example(
                ["replace_with", "(\\d+)/(\\d+)/(\\d{4})", "$3-$1-$2", "day"],
                {"day": "12/31/2024"},
                "2024-12-31",
            ),
        ),
        build=build_replace_with,
    ),
    Operator(
        name="split",
        arguments=(Kind.SEPARATOR, Kind.SOURCE),
        summary="Splits a string at a character sequence into a list.",
        rules="The separator is literal, empty parts are kept; what is not a string gives no value.",
        origin="amplitude-spec 5.3, decisions D-10",
        examples=(
            Example(["split", ",", "tags"], {"tags": "a,,b"}, ["a", "", "b"]),
            Example(["path", ["split", "/", "page"], "1"], {"page": "en/home"}, "home"),
        ),
        build=build_split,
    ),
    Operator(
        name="lowercase",
        aliases=("lower",),
        arguments=(Kind.SOURCE,),
        summary="The string in lower case.",
        rules="What is not a string gives no value.",
        origin="amplitude-spec 5.3",
        examples=(Example(["lower", "email"], {"email": "Jo@Example.COM"}, "jo@example.com"),),
        build=build_lowercase,
    ),
)

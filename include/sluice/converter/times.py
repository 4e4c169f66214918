"""Operators on times (amplitude-spec 5.3, decisions D-11 and D-17)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sluice.converter import decimals
from sluice.converter.grammar import Example, Kind, Operator, Refusal
from sluice.converter.isotime import int96_to_ms, iso_to_ms, ms_to_iso
from sluice.converter.outcomes import MISSING, Json, Source
from sluice.converter.timepattern import TimePatternProblem, compile_pattern


def _reader(read: Callable[[str], int | None], source: Source) -> Source:
    """Compile an operator that reads a time from a string; anything else gives no value."""

    def to_ms(element: Json, clock: int) -> Json:
        value = source(element, clock)
        if not isinstance(value, str):
            return MISSING
        ms = read(value)
        return MISSING if ms is None else ms

    return to_ms


def build_iso_time_to_ms(source: Source) -> Source:
    """Compile `iso_time_to_ms`."""
    return _reader(iso_to_ms, source)


def build_int96_time_to_ms(source: Source) -> Source:
    """Compile `int96_time_to_ms`."""
    return _reader(int96_to_ms, source)


def build_parse_time_to_ms(pattern: str, source: Source) -> Source:
    """Compile `parse_time_to_ms`."""
    try:
        return _reader(compile_pattern(pattern), source)
    except TimePatternProblem as problem:
        raise Refusal(1, f"{problem}") from None


def build_ms_to_iso_time(source: Source) -> Source:
    """Compile `ms_to_iso_time`: takes a number or a numeric string; fractions of a millisecond are cut."""

    def ms_to_iso_time(element: Json, clock: int) -> Json:
        value = source(element, clock)
        if value is None or value is MISSING:
            return MISSING
        number = decimals.operand(value)
        text = None if number is None else ms_to_iso(decimals.floor(number))
        return MISSING if text is None else text

    return ms_to_iso_time


def build_iso_time_now() -> Source:
    """Compile `iso_time_now`."""

    def now(element: Json, clock: int) -> Json:
        text = ms_to_iso(clock)
        return MISSING if text is None else text

    return now


def build_ms_time_now() -> Source:
    """Compile `ms_time_now`."""
    return lambda element, clock: clock


_ISO_RULES = (
    "T or a blank before the time, up to 9 fraction digits of which those after the third are cut, then Z, "
    "±hh, "
    "±hhmm, ±hh:mm or nothing for UTC; a date alone is midnight. Anything else gives no value."
)

OPERATORS: Final = (
    Operator(
        name="iso_time_to_ms",
        arguments=(Kind.SOURCE,),
        summary="An ISO date-time as milliseconds since 1970-01-01 UTC.",
        rules=_ISO_RULES,
        origin="amplitude-spec 5.3, decisions D-11",
        examples=(
            Example(["iso_time_to_ms", "t"], {"t": "2020-01-25 17:03:11.123000"}, 1579971791123),
            Example(["iso_time_to_ms", "t"], {"t": "yesterday"}, no_value=True),
        ),
        build=build_iso_time_to_ms,
    ),
    Operator(
        name="ms_to_iso_time",
        arguments=(Kind.SOURCE,),
        summary="Milliseconds since 1970-01-01 UTC, as number or string, as an ISO date-time.",
        rules="UTC without a suffix; `.mmm` only if it is not zero, so that iso_time_to_ms is its inverse. "
        "Years 0 to 9999; all else gives no value.",
        origin="amplitude-spec 5.3, decisions D-11",
        examples=(Example(["ms_to_iso_time", "t"], {"t": "1645066434189"}, "2022-02-17T02:53:54.189"),),
        build=build_ms_to_iso_time,
    ),
    Operator(
        name="iso_time_now",
        summary="Now, as an ISO date-time.",
        rules="The clock is constant within a file.",
        origin="amplitude-spec 5.3",
        examples=(Example(["iso_time_now"], {}, "2022-02-17T02:53:54.189", clock_ms=1645066434189),),
        build=build_iso_time_now,
        uses_clock=True,
    ),
    Operator(
        name="ms_time_now",
        summary="Now, as milliseconds since 1970-01-01 UTC.",
        rules="The clock is constant within a file.",
        origin="amplitude-spec 5.3",
        examples=(Example(["ms_time_now"], {}, 1645066434189, clock_ms=1645066434189),),
        build=build_ms_time_now,
        uses_clock=True,
    ),
    Operator(
        name="int96_time_to_ms",
        arguments=(Kind.SOURCE,),
        summary="A base64 INT96 timestamp of parquet as milliseconds since 1970-01-01 UTC.",
        rules="An ISO date-time is read too, because parquet readers turn INT96 columns into timestamps.",
        origin="amplitude-spec 5.3, decisions D-17",
        examples=(Example(["int96_time_to_ms", "t"], {"t": "AP6qCz41AAAwhCUA"}, 1562516140600),),
        build=build_int96_time_to_ms,
    ),
    Operator(
        name="parse_time_to_ms",
        arguments=(Kind.TIME_PATTERN, Kind.SOURCE),
        summary="A time in a pattern of java.time.format.DateTimeFormatter, as milliseconds since "
        "1970-01-01 UTC.",
        rules="UTC if the pattern has no zone. A text that does not match, or names no instant, gives no "
        "value.",
        origin="amplitude-spec 5.3, decisions D-10",
        examples=(
            Example(["parse_time_to_ms", "M/d/yyyy H:mm:ss", "t"], {"t": "1/1/2021 5:06:07"}, 1609477567000),
            Example(
                ["parse_time_to_ms", "yyyy-MM-dd'T'HH:mm:ss.SSSX", "t"],
                {"t": "2021-01-01T00:00:00.250+02"},
                1609452000250,
            ),
        ),
        build=build_parse_time_to_ms,
    ),
)

"""The stated limits: what lies beyond one is a typed error, never a worker without memory or time."""

from typing import Final

MAX_OPERATORS: Final = 10_000
"""List operators in one configuration."""

MAX_SOURCES: Final = 100_000
"""Source descriptions (paths, operators and objects) in one configuration."""

MAX_SOURCE_DEPTH: Final = 200
"""Source descriptions nested in each other; each level is one Python frame when a row is evaluated."""

MAX_NESTING: Final = 200
"""Levels of objects and lists in a value; orjson reads 1,024 and writes 254, Amplitude takes 40."""

MAX_DIGITS: Final = 4_000
"""Digits of a number that takes part in arithmetic, and of its result."""

MAX_TEXT: Final = 64 * 1024 * 1024
"""Characters of a text that an operator builds (concat, replace_with, the keys of flatten_dict together)."""

MAX_PATTERN: Final = 10_000
"""Characters of a regular expression or a time pattern."""

MAX_REPEATS: Final = 100_000
"""Size of a regular expression with its counted repetitions written out: engines allocate it."""

MATCH_SECONDS: Final = 1.0
"""Time for the first slow match; each match that exceeds its time halves it for the next."""

MIN_MATCH_SECONDS: Final = 1 / 128
"""The least time that a match is ever given."""

MATCH_CHARACTERS: Final = 2_000_000
"""A text of so many characters gets the time twice, of twice as many three times, and so on."""

"""Patterns of `java.time.format.DateTimeFormatter`, compiled to a reader of instants (decisions D-10, D-15).

A pattern becomes one regular expression without nested repetition and a function that resolves the fields it
found. Differences from Java, all on the side of fewer surprises: a day that its month does not have is no
instant (Java silently takes the month's last day), English names are read in any case, and a missing month or
day is the first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import regex

from sluice.converter.isotime import MAX_OFFSET_MINUTES, MS_PER_DAY, epoch_day, is_leap
from sluice.converter.jsontext import shorten
from sluice.converter.limits import MATCH_SECONDS, MAX_PATTERN, MIN_MATCH_SECONDS
from sluice.converter.outcomes import RowError

_MONTHS = [
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
]  # fmt: skip
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]

# The zone names of Java's English locale that are not ambiguous there; each stands for a zone with its rules.
_ZONE_NAMES: Final = {
    "UTC": "UTC", "GMT": "UTC", "Z": "UTC", "UT": "UTC",
    "Coordinated Universal Time": "UTC", "Greenwich Mean Time": "UTC",
    "EST": "America/New_York", "EDT": "America/New_York", "ET": "America/New_York",
    "Eastern Standard Time": "America/New_York", "Eastern Daylight Time": "America/New_York",
    "CST": "America/Chicago", "CDT": "America/Chicago", "CT": "America/Chicago",
    "Central Standard Time": "America/Chicago", "Central Daylight Time": "America/Chicago",
    "MST": "America/Denver", "MDT": "America/Denver", "MT": "America/Denver",
    "Mountain Standard Time": "America/Denver", "Mountain Daylight Time": "America/Denver",
    "PST": "America/Los_Angeles", "PDT": "America/Los_Angeles", "PT": "America/Los_Angeles",
    "Pacific Standard Time": "America/Los_Angeles", "Pacific Daylight Time": "America/Los_Angeles",
    "AKST": "America/Anchorage", "AKDT": "America/Anchorage", "HST": "Pacific/Honolulu",
    "BST": "Europe/London", "British Summer Time": "Europe/London",
    "WET": "Europe/Lisbon", "WEST": "Europe/Lisbon",
    "CET": "Europe/Paris", "CEST": "Europe/Paris",
    "Central European Standard Time": "Europe/Paris", "Central European Summer Time": "Europe/Paris",
    "EET": "Europe/Bucharest", "EEST": "Europe/Bucharest", "MSK": "Europe/Moscow",
    "IST": "Asia/Kolkata", "India Standard Time": "Asia/Kolkata",
    "JST": "Asia/Tokyo", "Japan Standard Time": "Asia/Tokyo", "KST": "Asia/Seoul",
    "AEST": "Australia/Sydney", "AEDT": "Australia/Sydney",
    "NZST": "Pacific/Auckland", "NZDT": "Pacific/Auckland",
}  # fmt: skip
_ZONES_FOLDED = {name.casefold(): zone for name, zone in _ZONE_NAMES.items()}

# letter -> (largest count, what it reads)
LETTERS: Final = {
    "y": (19, "year of era"),
    "u": (19, "year"),
    "M": (4, "month, as number or English name"),
    "L": (4, "month, as number or English name"),
    "d": (2, "day of the month"),
    "D": (3, "day of the year"),
    "E": (4, "English day of the week"),
    "H": (2, "hour 0-23"),
    "k": (2, "hour 1-24"),
    "K": (2, "hour 0-11, with a"),
    "h": (2, "hour 1-12, with a"),
    "m": (2, "minute"),
    "s": (2, "second"),
    "S": (9, "fraction of the second"),
    "n": (19, "nanosecond of the second"),
    "A": (19, "millisecond of the day"),
    "a": (1, "AM or PM"),
    "X": (5, "offset, Z for zero"),
    "x": (5, "offset"),
    "Z": (5, "offset"),
    "O": (4, "offset as GMT+8"),
    "z": (4, "zone name such as PST"),
    "V": (2, "zone id such as Europe/Berlin"),
}
_ONLY_COUNTS: Final = {"O": (1, 4), "V": (2,), "M": (1, 2, 3, 4), "L": (1, 2, 3, 4)}
_OFFSETS: Final = {
    "X1": r"(?:Z|[+-][0-9]{2}(?:[0-9]{2})?)",
    "X2": r"(?:Z|[+-][0-9]{4})",
    "X3": r"(?:Z|[+-][0-9]{2}:[0-9]{2})",
    "X4": r"(?:Z|[+-][0-9]{4}(?:[0-9]{2})?)",
    "X5": r"(?:Z|[+-][0-9]{2}:[0-9]{2}(?::[0-9]{2})?)",
    "x1": r"[+-][0-9]{2}(?:[0-9]{2})?",
    "x2": r"[+-][0-9]{4}",
    "x3": r"[+-][0-9]{2}:[0-9]{2}",
    "x4": r"[+-][0-9]{4}(?:[0-9]{2})?",
    "x5": r"[+-][0-9]{2}:[0-9]{2}(?::[0-9]{2})?",
    "Z1": r"[+-][0-9]{4}",
    "Z2": r"[+-][0-9]{4}",
    "Z3": r"[+-][0-9]{4}",
    "Z4": r"GMT(?:[+-][0-9]{2}:[0-9]{2}(?::[0-9]{2})?)?",
    "Z5": r"(?:Z|[+-][0-9]{2}:[0-9]{2}(?::[0-9]{2})?)",
    "O1": r"GMT(?:[+-][0-9]{1,2}(?::[0-9]{2}(?::[0-9]{2})?)?)?",
    "O4": r"GMT(?:[+-][0-9]{2}:[0-9]{2}(?::[0-9]{2})?)?",
}
_OFFSET = re.compile(r"(?:UTC|GMT|UT)?(?:Z|([+-])([0-9]{1,2}):?([0-9]{2})?:?([0-9]{2})?)?", re.IGNORECASE)


class TimePatternProblem(ValueError):
    """A pattern that cannot be compiled; the message names the letter or construct."""


def compile_pattern(pattern: str) -> Callable[[str], int | None]:
    """Compile a pattern to a function text -> epoch milliseconds, or None if the text does not match it.

    Times without a zone are UTC (amplitude-spec 5.3). TimePatternProblem for a letter that does not help to
    find an instant, a count that Java does not have, or fields from which no instant follows.
    """
    if len(pattern) > MAX_PATTERN:
        raise TimePatternProblem(
            f"the pattern has {len(pattern):,} characters; at most {MAX_PATTERN:,} are allowed"
        )
    compiler = _Compiler(pattern)
    expression, fields = compiler.compile()
    _check_resolvable(set(fields))
    groups = _bounded(pattern, expression) if compiler.sections else _direct(expression)

    def read(text: str) -> int | None:
        parts = groups(text)
        if parts is None:
            return None
        found: dict[str, str] = {}
        for name, part in zip(fields, parts, strict=True):
            # Optional sections may read a field again: it must say the same.
            if part is not None and found.setdefault(name, part) != part:
                return None
        return _resolve(found)

    return read


_Groups = Callable[[str], tuple[str | None, ...] | None]


def _direct(expression: str) -> _Groups:
    """Match at once: without optional sections there is one way only to read a text."""
    matcher = re.compile(expression, re.IGNORECASE)

    def groups(text: str) -> tuple[str | None, ...] | None:
        match = matcher.fullmatch(text)
        return None if match is None else match.groups()

    return groups


def _bounded(pattern: str, expression: str) -> _Groups:
    """Match in bounded time: the ways to read a text multiply with every optional section (`[H][m][s]…`).

    Each match that exceeds its time is a row error and halves the time of the next, as for regular
    expressions.
    """
    matcher = regex.compile(expression, regex.IGNORECASE | regex.VERSION0)
    seconds = MATCH_SECONDS

    def groups(text: str) -> tuple[str | None, ...] | None:
        nonlocal seconds
        try:
            match = matcher.fullmatch(text, timeout=seconds)
        except TimeoutError:
            took, seconds = seconds, max(MIN_MATCH_SECONDS, seconds / 2)
            reason = f"the time pattern {shorten(repr(pattern))} took more than {took:.2g} s on this text"
            raise RowError("", reason) from None
        return None if match is None else match.groups()

    return groups


class _Compiler:
    """Reads a pattern from left to right and writes the expression."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.out: list[str] = []
        self.fields: list[str] = []  # one per group of the expression
        self.depth = 0
        self.sections = False
        self.open_number = ""  # the letter of a number of any width that ends right here

    def compile(self) -> tuple[str, list[str]]:
        at = 0
        while at < len(self.pattern):
            char = self.pattern[at]
            if char.isascii() and char.isalpha():
                end = at
                while end < len(self.pattern) and self.pattern[end] == char:
                    end += 1
                self.letter(char, end - at)
                at = end
                continue
            self.open_number = ""
            at += 1
            if char == "'":
                at = self.quoted(at)
            elif char == "[":
                self.depth += 1
                self.sections = True
                self.out.append("(?:")
            elif char == "]":
                if not self.depth:
                    raise TimePatternProblem("] without [")
                self.depth -= 1
                self.out.append(")?")
            elif char in "{}#":
                raise TimePatternProblem(f"{char} is reserved; quote it: '{char}'")
            else:
                self.out.append(re.escape(char))
        if self.depth:
            raise TimePatternProblem("[ without ]")
        return "".join(self.out), self.fields

    def quoted(self, at: int) -> int:
        """Take quoted text whose first quote is read; two quotes are one quote."""
        text = ""
        while True:
            end = self.pattern.find("'", at)
            if end < 0:
                raise TimePatternProblem("a quoted text without its second '")
            text += self.pattern[at:end]
            if self.pattern[end + 1 : end + 2] != "'":
                break
            text += "'"
            at = end + 2
        self.out.append(re.escape(text or "'"))
        return end + 1

    def letter(self, letter: str, count: int) -> None:
        if letter not in LETTERS:
            raise TimePatternProblem(
                f"the letter {letter} has no meaning for an instant; allowed are {' '.join(LETTERS)} and "
                f"'quoted text'"
            )
        largest, _ = LETTERS[letter]
        if count > largest or count not in _ONLY_COUNTS.get(letter, (count,)):
            allowed = " or ".join(letter * number for number in _ONLY_COUNTS.get(letter, ()))
            raise TimePatternProblem(
                f"{letter * min(count, 20)} has too many letters or too few; use "
                f"{allowed or f'at most {letter * min(largest, 9)}'}"
            )
        name, expression, open_ended = _element(letter, count)
        if name in self.fields and not self.sections:
            raise TimePatternProblem(f"{letter} reads the {LETTERS[letter][1]} a second time")
        if open_ended and self.open_number:
            raise TimePatternProblem(
                f"{self.open_number} and {letter} are numbers of any width with nothing between them"
            )
        self.open_number = letter if open_ended else ""
        self.fields.append(name)
        self.out.append(f"({expression})")


def _names(words: list[str], length: int | None) -> str:
    return "|".join(word[:length] for word in words)


def _element(letter: str, count: int) -> tuple[str, str, bool]:
    """Give one element's field, expression, and whether it is a number of any width."""
    if letter in "yu":
        if count == 2:
            return "short_year", "[0-9]{2}", False
        if count < 4:
            return "year", f"[0-9]{{{count},19}}", True
        return "year", f"[0-9]{{{count}}}|[+][0-9]{{{count + 1},19}}" if count < 19 else "[0-9]{19}", False
    if letter in "ML" and count > 2:
        return "month_name", _names(_MONTHS, 3 if count == 3 else None), False
    if letter == "E":
        return "day_name", _names(_DAYS, None if count == 4 else 3), False
    if letter in "MLdHhKkms":
        name = {"L": "month", "M": "month", "d": "day", "m": "minute", "s": "second"}.get(
            letter, f"hour_{letter}"
        )
        return name, "[0-9]{2}" if count == 2 else "[0-9]{1,19}", count == 1
    if letter == "D":
        return "day_of_year", {1: "[0-9]{1,19}", 2: "[0-9]{2,3}", 3: "[0-9]{3}"}[count], count == 1
    if letter == "S":
        return "fraction", f"[0-9]{{{count}}}", False
    if letter in "nA":
        return ("nano" if letter == "n" else "milli_of_day"), f"[0-9]{{{count},19}}", count < 19
    if letter == "a":
        return "half_day", "AM|PM", False
    if letter in "zV":
        return f"zone_{letter}", r"[A-Za-z][A-Za-z0-9_+:~/ -]*|[+-][0-9:]+", False
    return f"offset_{letter}", _OFFSETS[f"{letter}{count}"], False


def _check_resolvable(fields: set[str]) -> None:
    """Refuse fields from which no instant follows whatever the text."""
    hours = {name for name in fields if name.startswith("hour_")}
    if not fields & {"year", "short_year"}:
        raise TimePatternProblem("there is no year (y or u), so no instant follows")
    if "day_of_year" in fields and fields & {"day", "month", "month_name"}:
        raise TimePatternProblem("D is the day of the year; it goes without M and d")
    if hours & {"hour_h", "hour_K"} and "half_day" not in fields:
        letter = next(iter(hours))[-1]
        raise TimePatternProblem(
            f"{letter} is an hour of the half day and needs a (AM or PM); did you mean H?"
        )
    if "half_day" in fields and not hours:
        raise TimePatternProblem("a (AM or PM) needs an hour")
    if "minute" in fields and not hours:
        raise TimePatternProblem("m (minute) needs an hour; did you mean M (month)?")
    if "second" in fields and "minute" not in fields:
        raise TimePatternProblem("s (second) needs m (minute)")
    if fields & {"fraction", "nano"} and "second" not in fields:
        raise TimePatternProblem("S and n are parts of a second and need s")
    if "milli_of_day" in fields and hours:
        raise TimePatternProblem("A is the whole time of the day; it goes without an hour")
    if sum(name.startswith(("offset_", "zone_")) for name in fields) > 1:
        raise TimePatternProblem("the zone is read twice")


def _resolve(found: dict[str, str]) -> int | None:
    day = _resolve_day(found)
    time = _resolve_time(found)
    if day is None or time is None:
        return None
    local = day * MS_PER_DAY + time
    for name, text in found.items():
        if name.startswith("offset_"):
            return _minus_offset(local, text)
        if name.startswith("zone_"):
            return _minus_zone(local, text)
    return local


def _resolve_day(found: dict[str, str]) -> int | None:
    if "short_year" in found:
        year = 2000 + int(found["short_year"])
    else:
        if "year" not in found:
            return None
        year = int(found["year"])
    if not 1 <= year <= 9999:
        return None
    if "day_of_year" in found:
        of_year = int(found["day_of_year"])
        if not 1 <= of_year <= 365 + is_leap(year):
            return None
        first = epoch_day(year, 1, 1)
        day = None if first is None else first + of_year - 1
    else:
        if "month_name" in found:
            month = 1 + [name[:3].lower() for name in _MONTHS].index(found["month_name"][:3].lower())
        else:
            month = int(found.get("month", "1"))
        day = epoch_day(year, month, int(found.get("day", "1")))
    if day is not None and "day_name" in found:
        # 1970-01-01 was a Thursday.
        weekday = _DAYS[(day + 3) % 7]
        if weekday[:3].lower() != found["day_name"][:3].lower():
            return None
    return day


def _resolve_time(found: dict[str, str]) -> int | None:
    if "milli_of_day" in found:
        ms = int(found["milli_of_day"])
        return ms if ms < MS_PER_DAY else None
    hour = 0
    afternoon = found.get("half_day", "").lower() == "pm"
    for letter, low, high in (("H", 0, 24), ("k", 1, 24), ("K", 0, 11), ("h", 1, 12)):
        if (text := found.get(f"hour_{letter}")) is None:
            continue
        hour = int(text)
        if not low <= hour <= high:
            return None
        if letter == "k":
            hour %= 24
        elif letter in "Kh":
            hour = hour % 12 + 12 * afternoon
        if "half_day" in found and (hour >= 12) != afternoon:
            return None
    minute, second = int(found.get("minute", "0")), int(found.get("second", "0"))
    if minute > 59 or second > 59:
        return None
    if "nano" in found:
        nano = int(found["nano"])
        if nano > 999_999_999:
            return None
        milli = nano // 1_000_000
    else:
        milli = int(f"{found.get('fraction', '0'):0<3.3}")
    if hour == 24 and (minute or second or milli):
        return None  # 24:00 is the end of the day, as in Java; 24:01 is nothing
    return ((hour * 60 + minute) * 60 + second) * 1_000 + milli


def _minus_offset(local: int, text: str) -> int | None:
    match = _OFFSET.fullmatch(text)
    if match is None:
        return None
    sign, hours, minutes, seconds = match.groups()
    if sign is None:
        return local
    if int(minutes or 0) > 59 or int(seconds or 0) > 59:
        return None
    offset = int(hours) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    if offset > MAX_OFFSET_MINUTES * 60:
        return None
    return local - (offset if sign == "+" else -offset) * 1_000


def _minus_zone(local: int, text: str) -> int | None:
    fixed = _minus_offset(local, text)
    if fixed is not None:
        return fixed
    zone = _zone(text)
    if zone is None:
        return None
    moment = datetime(1970, 1, 1) + timedelta(milliseconds=local)
    # fold=0 is the earlier offset in an overlap and the one before a gap, as Java's ZonedDateTime.of.
    offset = zone.utcoffset(moment)
    return None if offset is None else local - int(offset.total_seconds() * 1_000)


@lru_cache(maxsize=256)
def _zone(text: str) -> ZoneInfo | None:
    name = _ZONES_FOLDED.get(text.casefold(), text)
    try:
        return ZoneInfo(name)
    except (ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        return None
    except KeyError:
        return None

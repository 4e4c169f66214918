"""ISO 8601 date-times and INT96 timestamps, to and from epoch milliseconds (amplitude-spec 5.3, decisions
D-11).
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from functools import lru_cache
from typing import Final

MS_PER_DAY: Final = 86_400_000
MAX_OFFSET_MINUTES: Final = 18 * 60
"""Java's limit of a zone offset."""

_DAYS_IN_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_JULIAN_DAY_OF_EPOCH = 2_440_588
_INT96 = struct.Struct("<qi")

_ISO = re.compile(
    r"\d{4}-\d\d-\d\d"
    r"(?:([Tt ](?:[01]\d|2[0-3]):[0-5]\d)(?::([0-5]\d)(?:\.(\d{1,9}))?)?"
    r" ?(?:[Zz]|([+-])(\d\d)(?::?([0-5]\d))?)?)?",
    re.ASCII,
)


def is_leap(year: int) -> bool:
    """Whether a year of the proleptic Gregorian calendar has 366 days."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def epoch_day(year: int, month: int, day: int) -> int | None:
    """Number a date in days since 1970-01-01; None if there is no such date. Any year, also 0 and before."""
    if not (1 <= month <= 12 and 1 <= day <= _DAYS_IN_MONTH[month - 1]):
        return None
    if month == 2 and day == 29 and not is_leap(year):
        return None
    # Count years from March, so that the leap day is the last of its year.
    shifted_year = year - (month <= 2)
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return (
        shifted_year * 365
        + shifted_year // 4
        - shifted_year // 100
        + shifted_year // 400
        + day_of_year
        - 719_468
    )


def date_of(day: int) -> tuple[int, int, int]:
    """Give year, month and day of an epoch day; the inverse of `epoch_day`."""
    shifted = day + 719_468
    era, day_of_era = divmod(shifted, 146_097)
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted_month = (5 * day_of_year + 2) // 153
    month = shifted_month + 3 if shifted_month < 10 else shifted_month - 9
    return era * 400 + year_of_era + (month <= 2), month, day_of_year - (153 * shifted_month + 2) // 5 + 1


@lru_cache(maxsize=4096)
def _minute(text: str) -> int | None:
    """Read `YYYY-MM-DD` or `YYYY-MM-DD HH:MM`; a file's rows share few minutes."""
    day = epoch_day(int(text[:4]), int(text[5:7]), int(text[8:10]))
    if day is None:
        return None
    return day * MS_PER_DAY + (int(text[11:13]) * 60 + int(text[14:]) if len(text) > 10 else 0) * 60_000


def iso_to_ms(text: str) -> int | None:
    """Read an ISO date-time, or a date alone, as epoch milliseconds; None if it is neither.

    `T` or a blank between date and time, 0 to 9 fraction digits of which those after the third are cut, then
    `Z`, `±hh`, `±hhmm`, `±hh:mm` or nothing for UTC, a blank before the zone allowed (decisions D-11).
    """
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    hours_minutes, second, fraction, sign, zone_hours, zone_minutes = match.groups()
    ms = _minute(text[:16] if hours_minutes is not None else text)
    if ms is None:
        return None
    if second is not None:
        ms += int(second) * 1_000
        if fraction is not None:
            ms += int(fraction[:3]) * (1, 100, 10, 1)[min(len(fraction), 3)]
    if sign is not None:
        offset = int(zone_hours) * 60 + int(zone_minutes or 0)
        if offset > MAX_OFFSET_MINUTES:
            return None
        ms += offset * (60_000 if sign == "-" else -60_000)
    return ms


def ms_to_iso(ms: int) -> str | None:
    """Write epoch milliseconds as `YYYY-MM-DDTHH:MM:SS`, with `.mmm` only if not zero; None outside years 0
    to 9999.
    """
    day, of_day = divmod(ms, MS_PER_DAY)
    if not -719_528 <= day <= 2_932_896:
        return None
    year, month, day_of_month = date_of(day)
    seconds, milliseconds = divmod(of_day, 1_000)
    minutes, second = divmod(seconds, 60)
    text = f"{year:04}-{month:02}-{day_of_month:02}T{minutes // 60:02}:{minutes % 60:02}:{second:02}"
    return f"{text}.{milliseconds:03}" if milliseconds else text


def int96_to_ms(text: str) -> int | None:
    """Read a base64 INT96 timestamp, or an ISO date-time (decisions D-17), as epoch milliseconds.

    The 12 bytes are nanoseconds of the day (int64) and Julian day (int32), both little-endian (amplitude-spec
    5.3).
    """
    if len(text) == 16:
        try:
            nanoseconds, julian_day = _INT96.unpack(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError, struct.error):
            pass
        else:
            return int((julian_day - _JULIAN_DAY_OF_EPOCH) * MS_PER_DAY + nanoseconds // 1_000_000)
    return iso_to_ms(text)

"""What the arguments of expectations may be, by the types of the catalogue."""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

# Longest pattern that is compiled, in characters.
MAX_PATTERN = 1_000
# The names of JSON's types, as the values of a property have them.
JSON_TYPES = ("str", "int", "float", "bool", "list", "dict")
_LARGEST = 2**63 - 1


def as_json(value: Any) -> Any:
    """Return a value of YAML as JSON types: times and dates become text, a time without zone is UTC."""
    if isinstance(value, dict):
        return {key: as_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(one) for one in value]
    if isinstance(value, datetime):
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value
        return moment.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    return value


def wrong(value: Any, argument: Mapping[str, Any]) -> str | None:
    """Say what is wrong with the value of an argument, which the catalogue describes, or return None."""
    if value is None:
        # The library takes null for not given.
        return "is missing" if argument.get("required") else None
    unsafe = _not_json(value)
    if unsafe:
        return f"holds {unsafe}"
    if "choices" in argument:
        return None if value in argument["choices"] else "is none of its choices"
    return _TYPES[argument["type"]].wrong(value)


def allowed_of(argument: Mapping[str, Any]) -> str:
    """Say what an argument may be."""
    if "choices" in argument:
        return " or ".join(argument["choices"])
    return _TYPES[argument["type"]].allowed


def near(name: str, known: Collection[str]) -> str:
    """Ask whether the known name was meant that comes nearest, or return nothing."""
    found = difflib.get_close_matches(name.lower()[:100], known, n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


def order(value: Any) -> Any:
    """Return a bound so that two of a kind can be compared: a time as its instant."""
    return _instant(value) if isinstance(value, str) else value


def is_instant(text: str) -> bool:
    """Whether a text is a time, or a date, of ISO 8601."""
    try:
        _instant(text)
    except ValueError:
        return False
    return True


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _not_json(value: Any) -> str | None:
    """Say what of a value no JSON holds exactly, or no engine counts with."""
    if isinstance(value, dict):
        return next((found for one in (*value, *value.values()) if (found := _not_json(one))), None)
    if isinstance(value, list):
        return next((found for one in value if (found := _not_json(one))), None)
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            return "a character that no text of an event has"
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return "what is no number"
    if isinstance(value, int) and abs(value) > _LARGEST:
        return "a number of more than 64 bits"
    return None if value is None or isinstance(value, int | float) else "what is no JSON"


@dataclass(frozen=True)
class _Type:
    """What an argument may be; `wrong` says what a value is instead, or None."""

    allowed: str
    wrong: Callable[[Any], str | None]


def is_number(value: Any) -> bool:
    """Whether it is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> str | None:
    return None if is_number(value) else "is not a number"


def _ratio(value: Any) -> str | None:
    return None if is_number(value) and value >= 0 else "is not a number from 0"


def _positive(value: Any) -> str | None:
    return None if is_number(value) and value > 0 else "is not a number greater than 0"


def _count(value: Any) -> str | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return None if whole and value >= 0 else "is not a whole number from 0"


def _share(value: Any) -> str | None:
    return None if is_number(value) and 0 <= value <= 1 else "is not a share"


def _number_or_time(value: Any) -> str | None:
    if is_number(value):
        return None
    good = isinstance(value, str) and is_instant(value)
    return None if good else "is neither a number nor a time"


def _boolean(value: Any) -> str | None:
    return None if isinstance(value, bool) else "is neither true nor false"


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) and value else "is not text"


def _values(value: Any) -> str | None:
    if not isinstance(value, list) or not value:
        return "is not a list of values"
    if any(isinstance(one, dict | list) or one is None for one in value):
        return "holds more than texts, numbers, true and false"
    return None


def _pairs(value: Any) -> str | None:
    if not isinstance(value, list) or not value:
        return "is not a list of pairs"
    if any(not isinstance(pair, list) or len(pair) != 2 or _values(pair) for pair in value):
        return "holds what is no pair of values"
    return None


def _columns(value: Any) -> str | None:
    if not isinstance(value, list) or not value or any(_text(one) for one in value):
        return "is not a list of columns"
    doubled = next((name for name, times in Counter(value).items() if times > 1), None)
    return f"names {doubled} twice" if doubled else None


def _json_type(value: Any) -> str | None:
    if not isinstance(value, str):
        return "is not the name of a type"
    return None if value in JSON_TYPES else f"is no type that a value of JSON has{near(value, JSON_TYPES)}"


def _json_types(value: Any) -> str | None:
    if not isinstance(value, list) or not value:
        return "is not a list of types"
    return next((reason for one in value if (reason := _json_type(one))), None)


def _pattern(value: Any) -> str | None:
    if _text(value):
        return "is not a regular expression"
    if len(value) > MAX_PATTERN:
        return f"is longer than {MAX_PATTERN} characters"
    try:
        re.compile(value)
    except (re.error, RecursionError, OverflowError) as error:
        return f"is no regular expression: {error}"
    return None


def _patterns(value: Any) -> str | None:
    if not isinstance(value, list) or not value:
        return "is not a list of regular expressions"
    return next((reason for one in value if (reason := _pattern(one))), None)


def _time_format(value: Any) -> str | None:
    if _text(value) or len(value) > MAX_PATTERN:
        return "is not a form of times"
    moment = datetime(2013, 1, 2, 3, 4, 5, tzinfo=UTC)
    try:
        datetime.strptime(moment.strftime(value), value)
    except (ValueError, re.error, IndexError, KeyError, OverflowError) as error:
        return f"cannot be read back by strptime: {error}"
    return None


def _schema(value: Any) -> str | None:
    if not isinstance(value, dict) or not value or not isinstance(value.get("$schema", ""), str):
        return "is not a JSON schema"
    if any(not text.startswith("#") for text in _references(value)):
        return "refers to a schema elsewhere: only `#/…` is followed"
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(value).check_schema(value)
    except SchemaError as error:
        return f"is not a JSON schema: {error.message}"
    return None


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            if key in ("$ref", "$dynamicRef", "$recursiveRef"):
                yield str(one)
            yield from _references(one)
    elif isinstance(value, list):
        for one in value:
            yield from _references(one)


def _numbers(value: Any, length: int | None = None) -> bool:
    good = isinstance(value, list) and bool(value) and all(map(is_number, value))
    return good and (length is None or len(value) == length)


def _quantiles(value: Any) -> str | None:
    if not isinstance(value, dict) or set(value) != {"quantiles", "value_ranges"}:
        return "is not made of quantiles and value_ranges"
    quantiles, ranges = value["quantiles"], value["value_ranges"]
    if not _numbers(quantiles) or not all(0 <= one <= 1 for one in quantiles):
        return "has quantiles that are no list of numbers from 0 to 1"
    if not isinstance(ranges, list) or len(ranges) != len(quantiles):
        return "has not one value range for each quantile"
    for pair in ranges:
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or any(one is not None and not is_number(one) for one in pair)
        ):
            return "has a value range that is no pair of numbers"
        low, high = pair
        if low is not None and high is not None and low > high:
            return f"has the value range [{low}, {high}], whose first number is the greater one"
    return None


def _partition(value: Any) -> str | None:
    if not isinstance(value, dict) or set(value) not in ({"values", "weights"}, {"bins", "weights"}):
        return "is not made of weights and either values or bins"
    weights = value["weights"]
    if not _numbers(weights) or min(weights) < 0 or not math.isclose(sum(weights), 1, abs_tol=1e-6):
        return "has weights that are no numbers from 0 that add up to 1"
    if "values" in value:
        good = not _values(value["values"]) and len(value["values"]) == len(weights)
        return None if good else "has not one value for each weight"
    bins = value["bins"]
    good = _numbers(bins, len(weights) + 1) and all(a < b for a, b in pairwise(bins))
    return None if good else "has not, rising, one more bin edge than weights"


_TYPES: Mapping[str, _Type] = {
    "column": _Type("a column, or <column of JSON>.<property>", _text),
    "columns": _Type("a list of columns, each once", _columns),
    "number": _Type("a number", _number),
    "ratio": _Type("a number from 0", _ratio),
    "positive": _Type("a number greater than 0", _positive),
    "count": _Type("a whole number from 0", _count),
    "share": _Type("a number from 0 to 1", _share),
    "number or time": _Type("a number, or a time such as 2013-01-02T12:00:00Z", _number_or_time),
    "boolean": _Type("true or false", _boolean),
    "text": _Type("text", _text),
    "values": _Type("a list of at least one text, number, true or false", _values),
    "pairs": _Type("a list of pairs of values, such as [[a, 1], [b, 2]]", _pairs),
    "type": _Type(", ".join(JSON_TYPES), _json_type),
    "types": _Type(f"a list of {', '.join(JSON_TYPES)}", _json_types),
    "pattern": _Type(f"a regular expression of Python, at most {MAX_PATTERN} characters", _pattern),
    "patterns": _Type("a list of regular expressions of Python", _patterns),
    "time format": _Type("a form of times as of strptime, such as %Y-%m-%d", _time_format),
    "schema": _Type("a JSON schema", _schema),
    "quantiles": _Type(
        "quantiles, a list of numbers from 0 to 1, and value_ranges, a list of as many pairs", _quantiles
    ),
    "partition": _Type("weights that add up to 1, and as many values or one more bins", _partition),
}  # fmt: skip

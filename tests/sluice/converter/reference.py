"""A plain evaluator of the language: it walks the description for each row, and is written for reading only.

The compiled converter must equal it (test_properties.py), and bench/converter.py measures how much compiling
gains.
"""

import base64
import contextlib
import datetime
import hashlib
import json
import math
import re
from decimal import Decimal, localcontext

from sluice.converter.javaregex import BoundedPattern, replacement_parts
from sluice.converter.timepattern import compile_pattern

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
ALIASES = {
    "cond": "condition", "parse_json_object": "parse_json_element", "lower": "lowercase", "!": "not",
    "&&": "and",
    "||": "or", "eq": "equals", "=": "equals", "is_substring": "contains", "+": "add", "-": "subtract",
    "*": "multiply", "/": "divide",
}  # fmt: skip


class Nothing(Exception):
    """No value."""


def evaluate(source, element, clock):
    if isinstance(source, str):
        if isinstance(element, dict) and source in element:
            return element[source]
        if isinstance(element, list) and re.fullmatch("[0-9]+", source) and int(source) < len(element):
            return element[int(source)]
        raise Nothing
    if isinstance(source, dict):
        return evaluate(["dict", *(item for pair in source.items() for item in pair)], element, clock)
    name, *arguments = source
    return OPERATORS[ALIASES.get(name, name)](arguments, element, clock)


def or_null(source, element, clock):
    try:
        return evaluate(source, element, clock)
    except Nothing:
        return None


def present(source, element, clock):
    value = evaluate(source, element, clock)
    if value is None:
        raise Nothing
    return value


def boolean(source, element, clock):
    value = or_null(source, element, clock)
    if value is None:
        return False
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise Nothing


def decimal(value):
    if value is None:
        return Decimal(0)
    if isinstance(value, (bool, dict, list)):
        raise Nothing
    text = value if isinstance(value, str) else repr(value)
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        raise Nothing
    return Decimal(text)


def numbers(sources, element, clock):
    return [decimal(or_null(source, element, clock)) for source in sources]


def text(value):
    if value is None or isinstance(value, (dict, list)):
        raise Nothing
    return value if isinstance(value, str) else json.dumps(value)


def string(source, element, clock):
    value = present(source, element, clock)
    if not isinstance(value, str):
        raise Nothing
    return value


def same(left, right):
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return (type(left) in (int, float) and type(right) in (int, float) and left == right) or (
        type(left) is type(right) and left == right
    )


def path(sources, element, clock):
    for source in sources:
        element = evaluate(source, element, clock)
    return element


def first(sources, element, clock):
    seen = []
    for source in sources:
        try:
            seen.append(evaluate(source, element, clock))
        except Nothing:
            continue
        if seen[-1] is not None:
            return seen[-1]
    if seen:
        return None
    raise Nothing


def build_dict(arguments, element, clock):
    result = {}
    for key, source in zip(arguments[::2], arguments[1::2], strict=True):
        with contextlib.suppress(Nothing):
            result[key] = evaluate(source, element, clock)
    return result


def array(sources, element, clock):
    result = []
    for source in sources:
        with contextlib.suppress(Nothing):
            result.append(evaluate(source, element, clock))
    return result


def condition(arguments, element, clock):
    for test, source in zip(arguments[::2], arguments[1::2], strict=True):
        if boolean(test, element, clock):
            return evaluate(source, element, clock)
    raise Nothing


def parse_json(sources, element, clock):
    value = present(sources[0], element, clock)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise Nothing from None


def merge(sources, element, clock):
    dicts = [value for source in sources if (value := or_null(source, element, clock)) is not None]
    if not dicts or not all(isinstance(value, dict) for value in dicts):
        raise Nothing
    return {key: item for value in dicts for key, item in value.items()}


def flatten(value, separator, levels):
    result = {}
    for key, item in value.items():
        if isinstance(item, dict) and item and levels:
            for inner, leaf in flatten(item, separator, levels - 1).items():
                result[key + separator + inner] = leaf
        else:
            result[key] = item
    return result


def flatten_dict(arguments, element, clock):
    separator, levels, source = arguments
    value = present(source, element, clock)
    count = decimal(levels if isinstance(levels, int) else present(levels, element, clock))
    if not isinstance(value, dict) or count != int(count):
        raise Nothing
    return flatten(value, separator, int(count))


def exclude_keys(arguments, element, clock):
    value = evaluate(arguments[0], element, clock)
    if not isinstance(value, dict):
        raise Nothing
    return {key: item for key, item in value.items() if key not in arguments[1:]}


def typeof(sources, element, clock):
    value = or_null(sources[0], element, clock)
    names = {type(None): "null", bool: "bool", int: "number", float: "number", str: "string", list: "list"}
    return names.get(type(value), "dict")


def replace_with(arguments, element, clock):
    pattern = BoundedPattern(arguments[0])
    value = text(evaluate(arguments[2], element, clock))
    return pattern.replace_all(value, replacement_parts(arguments[1], pattern.translation))


def contains(arguments, element, clock):
    value = or_null(arguments[1], element, clock)
    if value is None:
        return False
    return arguments[0] in (value if isinstance(value, list) else text(value))


def sample(sources, element, clock):
    percent = decimal(present(sources[0], element, clock))
    key = text(evaluate(sources[1], element, clock))
    return int(hashlib.md5(key.encode()).hexdigest()[:8], 16) * 100 < percent * 2**32


def iso_ms(value):
    match = re.fullmatch(
        r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?"
        r" ?([Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?",
        value,
    )
    if match is None:
        raise Nothing
    *parts, fraction, zone = match.groups()
    try:
        moment = datetime.datetime(*(int(part or 0) for part in parts), tzinfo=datetime.UTC)
    except ValueError:
        raise Nothing from None
    ms = (moment - EPOCH) // datetime.timedelta(milliseconds=1) + int(((fraction or "") + "000")[:3])
    if zone and zone not in "Zz":
        minutes = int(zone[1:3]) * 60 + int(zone[3:].lstrip(":") or 0)
        if minutes > 18 * 60 or int(zone[3:].lstrip(":") or 0) > 59:
            raise Nothing
        ms -= minutes * 60_000 * (1 if zone[0] == "+" else -1)
    return ms


def ms_iso(value):
    ms = math.floor(value)
    try:
        moment = EPOCH + datetime.timedelta(milliseconds=ms)
    except OverflowError:
        raise Nothing from None
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds" if ms % 1000 else "seconds")


def int96(value):
    try:
        raw = base64.b64decode(value, validate=True)
    except ValueError:
        raw = b""
    if len(raw) != 12:
        return iso_ms(value)
    day = int.from_bytes(raw[8:], "little", signed=True) - 2440588
    return day * 86_400_000 + int.from_bytes(raw[:8], "little", signed=True) // 10**6


def parse_time(arguments, element, clock):
    ms = compile_pattern(arguments[0])(string(arguments[1], element, clock))
    if ms is None:
        raise Nothing
    return ms


def both(sources, element, clock):
    return all(boolean(source, element, clock) for source in sources)


def either(sources, element, clock):
    return any(boolean(source, element, clock) for source in sources)


def add(sources, element, clock):
    total = sum(numbers(sources, element, clock))
    return int(total) if total == int(total) else float(total)


def divide(sources, element, clock):
    dividend, divisor = numbers(sources, element, clock)
    if divisor == 0:
        raise Nothing
    return int(dividend / divisor)


def exactly(operation):
    def in_wide_context(arguments, element, clock):
        with localcontext() as context:
            context.prec = 5000
            return operation(arguments, element, clock)

    return in_wide_context


OPERATORS = {
    "path": path,
    "any": first,
    "value": lambda arguments, element, clock: arguments[0],
    "dict": build_dict,
    "array": array,
    "condition": condition,
    "ifelse": lambda a, element, clock: evaluate(
        a[1] if boolean(a[0], element, clock) else a[2], element, clock
    ),
    "parse_json_element": parse_json,
    "merge_dicts": merge,
    "flatten_dict": exactly(flatten_dict),
    "exclude_keys": exclude_keys,
    "typeof": typeof,
    "concat": lambda a, element, clock: "".join([text(evaluate(source, element, clock)) for source in a]),
    "replace_with": replace_with,
    "split": lambda a, element, clock: string(a[1], element, clock).split(a[0]),
    "lowercase": lambda a, element, clock: string(a[0], element, clock).lower(),
    "iso_time_to_ms": lambda a, element, clock: iso_ms(string(a[0], element, clock)),
    "ms_to_iso_time": exactly(lambda a, element, clock: ms_iso(decimal(present(a[0], element, clock)))),
    "iso_time_now": lambda a, element, clock: ms_iso(clock),
    "ms_time_now": lambda a, element, clock: clock,
    "int96_time_to_ms": lambda a, element, clock: int96(string(a[0], element, clock)),
    "parse_time_to_ms": parse_time,
    "bool": lambda arguments, element, clock: arguments[0],
    "not": lambda a, element, clock: not boolean(a[0], element, clock),
    "and": both,
    "or": either,
    "equals": lambda a, element, clock: same(or_null(a[0], element, clock), or_null(a[1], element, clock)),
    "contains": contains,
    "sample_md5": exactly(sample),
    "int": lambda arguments, element, clock: arguments[0],
    "round": exactly(lambda a, element, clock: math.floor(numbers(a, element, clock)[0] + Decimal("0.5"))),
    "add": exactly(add),
    "subtract": exactly(
        lambda a, element, clock: int(numbers(a, element, clock)[0] - numbers(a, element, clock)[1])
    ),
    "multiply": exactly(
        lambda a, element, clock: int(math.prod(numbers(a, element, clock), start=Decimal(1)))
    ),
    "divide": exactly(divide),
}

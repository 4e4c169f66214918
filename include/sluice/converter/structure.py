"""Operators that choose, build and reshape values (amplitude-spec 5.3)."""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sluice.converter import decimals
from sluice.converter.grammar import Example, Kind, Operator, Refusal
from sluice.converter.jsontext import BrokenJson, parse
from sluice.converter.limits import MAX_NESTING, MAX_TEXT
from sluice.converter.logic import truth
from sluice.converter.outcomes import MISSING, Absence, Json, RowError, Source, column_of, with_column


def basic_path(key: str) -> Source:
    """Compile a BASIC_PATH: one literal key, never split (decisions D-02); on a list, a digit string is an
    index.
    """
    index = int(key) if key.isascii() and key.isdigit() and len(key) <= 18 else None

    def field(element: Json, clock: int) -> Json:
        if isinstance(element, dict):
            return element.get(key, MISSING)
        if index is not None and isinstance(element, list) and index < len(element):
            return element[index]
        return MISSING

    def column(elements: Sequence[Json], clock: int) -> list[Json]:
        return [
            element.get(key, MISSING) if element.__class__ is dict else field(element, clock)
            for element in elements
        ]

    field.key = key  # type: ignore[attr-defined]
    return with_column(field, column)


def build_path(*steps: Source) -> Source:
    """Compile `path`; without steps it is the element itself (decisions D-06)."""

    keyed = [(getattr(step, "key", None), step) for step in steps]

    def path(element: Json, clock: int) -> Json:
        for key, step in keyed:
            if key is not None and isinstance(element, dict):
                element = element.get(key, MISSING)
            else:
                element = step(element, clock)
            if element is MISSING:
                return MISSING
        return element

    columns = [column_of(step) for step in steps]

    def column(elements: Sequence[Json], clock: int) -> list[Json]:
        reached = elements
        for take in columns:
            reached = take(reached, clock)
            if not _complete(reached):
                # A later step must not see what is not there.
                return [path(element, clock) for element in elements]
        return list(reached)

    return with_column(path, column)


def build_any(*sources: Source) -> Source:
    """Compile `any`: skips no value and null (decisions D-03)."""

    def first(element: Json, clock: int) -> Json:
        result: Json = MISSING
        for source in sources:
            value = source(element, clock)
            if value is None:
                result = None
            elif value is not MISSING:
                return value
        return result

    head = column_of(sources[0])

    def column(elements: Sequence[Json], clock: int) -> list[Json]:
        return [
            first(element, clock) if value is None or value is MISSING else value
            for element, value in zip(elements, head(elements, clock), strict=True)
        ]

    return with_column(first, column)


def build_value(literal: Json) -> Source:
    """Compile a literal; a container is copied for each row, so that an event may be changed."""
    if isinstance(literal, (dict, list)):
        try:
            copied = marshal.dumps(literal)
        except ValueError:
            raise Refusal(1, "holds Python objects that are no JSON") from None
        return lambda element, clock: marshal.loads(copied)

    def value(element: Json, clock: int) -> Json:
        return literal

    return with_column(value, lambda elements, clock: [literal] * len(elements))


def build_dict(*arguments: Any) -> Source:
    """Compile `dict`: a key whose source has no value is left out, null is kept (decisions D-04)."""
    return build_object(zip(arguments[::2], arguments[1::2], strict=True))


def build_object(members: Iterable[tuple[str, Source]]) -> Source:
    """Compile an object of keys and sources."""
    fields = fields_of(members)

    def build(element: Json, clock: int) -> Json:
        result = {}
        is_object = isinstance(element, dict)
        for name, key, source in fields:
            value = element.get(key, MISSING) if key is not None and is_object else source(element, clock)
            if value is not MISSING:
                result[name] = value
        return result

    names = [name for name, _, _ in fields]
    columns = [column_of(source) for _, _, source in fields]

    def column(elements: Sequence[Json], clock: int) -> list[Json]:
        members = [take(elements, clock) for take in columns]
        if not members:
            return [{} for _ in elements]
        rows = zip(*members, strict=True)
        if all(map(_complete, members)):
            return [dict(zip(names, row, strict=True)) for row in rows]
        return [
            {name: value for name, value in zip(names, row, strict=True) if value is not MISSING}
            for row in rows
        ]

    return with_column(build, column)


def _complete(values: Sequence[Json]) -> bool:
    """Whether there is a value everywhere."""
    return Absence not in set(map(type, values))


def fields_of(members: Iterable[tuple[str, Source]]) -> list[tuple[str, str | None, Source]]:
    """List (name, key, source) of an object's members.

    `key` is set for a basic path: the loop over the members looks it up itself, which spares most calls.
    """
    return [(name, getattr(source, "key", None), source) for name, source in members]


def build_array(*sources: Source) -> Source:
    """Compile `array`: sources without value are skipped, null is kept."""

    def build(element: Json, clock: int) -> Json:
        result = []
        for source in sources:
            value = source(element, clock)
            if value is not MISSING:
                result.append(value)
        return result

    return build


def build_condition(*arguments: Source) -> Source:
    """Compile `condition`, lazily; a condition that is no boolean gives no value (decisions D-08)."""
    cases = list(zip(arguments[::2], arguments[1::2], strict=True))

    def condition(element: Json, clock: int) -> Json:
        for test, source in cases:
            holds = truth(test(element, clock))
            if holds is None:
                return MISSING
            if holds:
                return source(element, clock)
        return MISSING

    return condition


def build_ifelse(test: Source, then: Source, otherwise: Source) -> Source:
    """Compile `ifelse`, lazily."""

    def ifelse(element: Json, clock: int) -> Json:
        holds = test(element, clock)
        if holds is not True and holds is not False:
            holds = truth(holds)
            if holds is None:
                return MISSING
        return then(element, clock) if holds else otherwise(element, clock)

    return ifelse


def build_parse_json(source: Source) -> Source:
    """Compile `parse_json_element`: what is JSON already passes through (decisions D-12)."""

    def parse_json(element: Json, clock: int) -> Json:
        value = source(element, clock)
        if value is None:
            return MISSING
        if not isinstance(value, str):
            return value
        try:
            return parse(value)
        except BrokenJson:
            return MISSING

    return parse_json


def build_merge_dicts(*sources: Source) -> Source:
    """Compile `merge_dicts`: shallow, later wins, null and no value are skipped (decisions D-12)."""

    def merge(element: Json, clock: int) -> Json:
        result: dict[str, Json] | None = None
        for source in sources:
            value = source(element, clock)
            if value is None or value is MISSING:
                continue
            if not isinstance(value, dict):
                return MISSING
            if result is None:
                result = dict(value)
            else:
                result.update(value)
        return MISSING if result is None else result

    return merge


def flatten(value: dict[str, Json], separator: str, levels: int) -> dict[str, Json]:
    """Lift `levels` levels of objects, all if negative; lists and empty objects stay (decisions D-13)."""
    if levels < 0:
        levels = MAX_NESTING
    result: dict[str, Json] = {}
    room = MAX_TEXT
    open_objects = [("", iter(value.items()))]
    while open_objects:
        prefix, items = open_objects[-1]
        for key, child in items:
            name = prefix + key
            room -= len(name)
            if room < 0:
                raise RowError("", f"the flattened keys would exceed {MAX_TEXT:,} characters")
            if isinstance(child, dict) and child and len(open_objects) <= levels:
                if len(open_objects) == MAX_NESTING:
                    raise RowError("", f"nested deeper than {MAX_NESTING:,} levels")
                open_objects.append((name + separator, iter(child.items())))
                break
            result[name] = child
        else:
            open_objects.pop()
    return result


def build_flatten_dict(separator: str, levels: Source, source: Source) -> Source:
    """Compile `flatten_dict`; the number of levels must be whole."""

    def flatten_dict(element: Json, clock: int) -> Json:
        value = source(element, clock)
        count = levels(element, clock)
        if not isinstance(value, dict) or count is None or count is MISSING:
            return MISSING
        number = decimals.operand(count)
        if number is None or number != decimals.truncate(number):
            return MISSING
        return flatten(value, separator, decimals.truncate(number))

    return flatten_dict


def build_exclude_keys(source: Source, *keys: str) -> Source:
    """Compile `exclude_keys`: top level only, keys that are not there don't matter."""
    excluded = frozenset(keys)

    def exclude(element: Json, clock: int) -> Json:
        value = source(element, clock)
        if not isinstance(value, dict):
            return MISSING
        return {key: item for key, item in value.items() if key not in excluded}

    return exclude


def type_name(value: Json) -> str:
    """Name the type of a value as the reference does; no value counts as null (decisions D-03)."""
    if value is None or value is MISSING:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (int, float)):
        return "number"
    return "dict" if isinstance(value, dict) else "list"


def build_typeof(source: Source) -> Source:
    """Compile `typeof`."""
    return lambda element, clock: type_name(source(element, clock))


_DEVICE = {"device": {"os": "iOS", "tags": ["a", "b"]}}

OPERATORS: Final = (
    Operator(
        name="path",
        repeated=(Kind.SOURCE,),
        summary="Evaluates each source on the element that the one before returned.",
        rules="On a list, a digit string is an index from 0. A step that leads nowhere gives no value. "
        "Without arguments: the current element.",
        origin="amplitude-spec 5.3, decisions D-06",
        examples=(
            Example(["path", "device", "os"], _DEVICE, "iOS"),
            Example(["path", "device", "tags", "1"], _DEVICE, "b"),
            Example(["path", "device", "tags", "2"], _DEVICE, no_value=True),
        ),
        build=build_path,
    ),
    Operator(
        name="any",
        arguments=(Kind.SOURCE,),
        repeated=(Kind.SOURCE,),
        summary="The first value that a source returns.",
        rules='Null and no value are skipped; 0, false and "" count. If there is nothing but null, null.',
        origin="amplitude-spec 5.3, decisions D-03",
        examples=(
            Example(["any", "email", "login", ["value", "unknown"]], {"email": None, "login": "jo"}, "jo"),
            Example(["any", "email", "login"], {}, no_value=True),
        ),
        build=build_any,
    ),
    Operator(
        name="value",
        arguments=(Kind.RAW_JSON,),
        summary="A static value: any one JSON value, not evaluated.",
        rules='["value", null] is the way to say absent for a top-level field.',
        origin="amplitude-spec 5.3",
        examples=(
            Example(["value", "$identify"], {}, "$identify"),
            Example(["value", ["path", "a"]], {}, ["path", "a"]),
        ),
        build=build_value,
    ),
    Operator(
        name="dict",
        arguments=(Kind.RAW_STRING, Kind.SOURCE),
        repeated=(Kind.RAW_STRING, Kind.SOURCE),
        summary="Builds an object of keys and sources; a JSON object is the same in other letters.",
        rules="A key whose source has no value is left out; null is kept.",
        origin="amplitude-spec 5.2 and 5.3, decisions D-04",
        examples=(
            Example(["dict", "os", "platform", "v", "version"], {"platform": "iOS"}, {"os": "iOS"}),
            Example({"os": "platform"}, {"platform": "iOS"}, {"os": "iOS"}),
        ),
        build=build_dict,
    ),
    Operator(
        name="array",
        arguments=(Kind.SOURCE,),
        repeated=(Kind.SOURCE,),
        summary="Builds a list.",
        rules="A source without value is skipped; null is kept.",
        origin="amplitude-spec 5.3",
        examples=(Example(["array", "a", "b", "c"], {"a": 1, "c": None}, [1, None]),),
        build=build_array,
    ),
    Operator(
        name="condition",
        aliases=("cond",),
        arguments=(Kind.BOOLEAN_SOURCE, Kind.SOURCE),
        repeated=(Kind.BOOLEAN_SOURCE, Kind.SOURCE),
        summary="The source behind the first condition that is true.",
        rules='Lazy. None true: no value. A default is a last pair with ["bool", true].',
        origin="amplitude-spec 5.3, decisions D-08",
        examples=(
            Example(
                ["cond", ["equals", "t", ["value", "pv"]], ["value", "page view"], ["bool", True], "t"],
                {"t": "click"},
                "click",
            ),
        ),
        build=build_condition,
    ),
    Operator(
        name="ifelse",
        arguments=(Kind.BOOLEAN_SOURCE, Kind.SOURCE, Kind.SOURCE),
        summary="The second argument if the first is true, else the third.",
        rules="Lazy. Null is false; the strings true and false (any case) count as booleans; "
        "any other condition gives no value.",
        origin="amplitude-spec 5.3, decisions D-08",
        examples=(
            Example(["ifelse", ["eq", "id", ["value", ""]], ["value", None], "id"], {"id": ""}, None),
            Example(["ifelse", "paid", ["value", "pro"], ["value", "free"]], {"paid": "TRUE"}, "pro"),
        ),
        build=build_ifelse,
    ),
    Operator(
        name="parse_json_element",
        aliases=("parse_json_object",),
        arguments=(Kind.SOURCE,),
        summary="Parses a string that holds JSON, of any type.",
        rules="Broken JSON gives no value; what is not a string passes through; null gives no value.",
        origin="amplitude-spec 5.3, decisions D-12",
        examples=(
            Example(["path", ["parse_json_element", "props"], "sku"], {"props": '{"sku":"A1"}'}, "A1"),
            Example(["parse_json_object", "props"], {"props": "{oops"}, no_value=True),
        ),
        build=build_parse_json,
    ),
    Operator(
        name="merge_dicts",
        arguments=(Kind.SOURCE,),
        repeated=(Kind.SOURCE,),
        summary="Merges objects.",
        rules="Shallow, the later wins. Null and no value are skipped; any other type, or nothing to "
        "merge: no value.",
        origin="amplitude-spec 5.3, decisions D-12",
        examples=(
            Example(["merge_dicts", "a", "b"], {"a": {"x": 1, "y": 1}, "b": {"y": 2}}, {"x": 1, "y": 2}),
        ),
        build=build_merge_dicts,
    ),
    Operator(
        name="flatten_dict",
        arguments=(Kind.RAW_STRING, Kind.INTEGER_SOURCE, Kind.SOURCE),
        summary="Makes one level of nested objects; the string joins the keys.",
        rules="The integer is the number of levels to lift: 0 none, negative all. Depth first, a later key "
        "wins; "
        "lists are not opened, empty objects are kept.",
        origin="amplitude-spec 5.3, decisions D-13",
        examples=(
            Example(
                ["flatten_dict", "_", ["int", -1], "p"],
                {"p": {"a": {"b": {"c": 1}}, "d": 2}},
                {"a_b_c": 1, "d": 2},
            ),
            Example(["flatten_dict", ".", 1, "p"], {"p": {"a": {"b": {"c": 1}}}}, {"a.b": {"c": 1}}),
        ),
        build=build_flatten_dict,
    ),
    Operator(
        name="exclude_keys",
        arguments=(Kind.SOURCE,),
        repeated=(Kind.RAW_STRING,),
        summary="The object without the named keys.",
        rules='Top level only. ["exclude_keys", ["path"], "a"] is all columns but a.',
        origin="amplitude-spec 5.3",
        examples=(
            Example(["exclude_keys", ["path"], "user_id"], {"user_id": "u", "plan": "pro"}, {"plan": "pro"}),
        ),
        build=build_exclude_keys,
    ),
    Operator(
        name="typeof",
        arguments=(Kind.SOURCE,),
        summary="The type as a string: string, list, dict, bool, number or null.",
        rules="No value counts as null.",
        origin="amplitude-spec 5.3, decisions D-03",
        examples=(Example(["typeof", "a"], {"a": [1]}, "list"), Example(["typeof", "a"], {}, "null")),
        build=build_typeof,
    ),
)

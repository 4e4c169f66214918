"""The JSON Schema of a configuration, made from the operator table, so that editors complete and check."""

from __future__ import annotations

from typing import Any

from sluice.converter.compiler import OPERATORS
from sluice.converter.config import CONVERTER_KEYS, TOP_KEYS, VALIDATOR_KEYS, Key
from sluice.converter.fields import EVENT_KEYS
from sluice.converter.grammar import Kind, Operator

_SOURCE = {"$ref": "#/$defs/source"}
_KINDS: dict[Kind, dict[str, Any]] = {
    Kind.SOURCE: _SOURCE,
    Kind.BOOLEAN_SOURCE: _SOURCE,
    Kind.INTEGER_SOURCE: {"anyOf": [{"type": "integer"}, _SOURCE]},
    Kind.RAW_STRING: {"type": "string"},
    Kind.SEPARATOR: {"type": "string", "minLength": 1},
    Kind.REGEX: {"type": "string"},
    Kind.TIME_PATTERN: {"type": "string"},
    Kind.RAW_JSON: {},
    Kind.RAW_BOOLEAN: {"type": "boolean"},
    Kind.RAW_INTEGER: {"type": "integer"},
}


def _operator(operator: Operator) -> dict[str, Any]:
    names = [operator.name, *operator.aliases]
    schema: dict[str, Any] = {
        "description": f"{operator.signature}: {operator.summary} {operator.rules}".strip(),
        "type": "array",
        "prefixItems": [{"enum": names}, *(_KINDS[kind] for kind in operator.arguments)],
        "minItems": 1 + len(operator.arguments),
    }
    if not operator.repeated:
        schema["items"] = False
    elif len(operator.repeated) == 1:
        schema["items"] = _KINDS[operator.repeated[0]]
    else:  # JSON Schema cannot say that a group of items repeats
        schema["items"] = {"anyOf": [_KINDS[kind] for kind in operator.repeated]}
    return schema


def _object(keys: tuple[Key, ...]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {key.name: {"description": key.meaning, **key.schema} for key in keys},
        "required": [key.name for key in keys if key.required],
        "additionalProperties": False,
    }


def json_schema() -> dict[str, Any]:
    """Give the JSON Schema (2020-12) of a whole configuration."""
    mapping = {
        "type": "object",
        "properties": dict.fromkeys(sorted(EVENT_KEYS), _SOURCE),
        "additionalProperties": _SOURCE,
    }
    converter = _object(CONVERTER_KEYS)
    converter["properties"]["convertToAmplitudeFunc"] = {
        "description": next(key.meaning for key in CONVERTER_KEYS if key.name == "convertToAmplitudeFunc"),
        "anyOf": [mapping, _SOURCE],
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Converter configuration",
        **_object(TOP_KEYS),
        "$defs": {
            "converterConfig": converter,
            "keyValidatorConfig": _object(VALIDATOR_KEYS),
            "source": {
                "description": "A field of the row, a list operator, or an object of target keys and "
                "sources.",
                "anyOf": [
                    {"type": "string"},
                    {"type": "object", "additionalProperties": _SOURCE},
                    *({"$ref": f"#/$defs/{operator.name}"} for operator in OPERATORS),
                ],
            },
            **{operator.name: _operator(operator) for operator in OPERATORS},
        },
    }

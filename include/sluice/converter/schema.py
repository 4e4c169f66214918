"""The JSON Schema of a configuration, made from the operator table, so that editors complete and check."""

from __future__ import annotations

from typing import Any

from sluice.converter.compiler import BY_NAME, OPERATORS
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


def _named(operator: Operator) -> dict[str, Any]:
    names = [operator.name, *operator.aliases]
    return {"type": "array", "prefixItems": [{"enum": names}], "minItems": 1}


def _operator(operator: Operator) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "description": f"{operator.signature}: {operator.summary} {operator.rules}".strip(),
        "type": "array",
        "prefixItems": [{}, *(_KINDS[kind] for kind in operator.arguments)],
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
    converter = _object(CONVERTER_KEYS)
    # The names of the fields are for completion; $ref says what each value is.
    converter["properties"]["convertToAmplitudeFunc"]["properties"] = {
        name: {} for name in sorted(EVENT_KEYS)
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
                "type": ["string", "array", "object"],
                "additionalProperties": _SOURCE,
                "prefixItems": [{"enum": sorted(BY_NAME)}],
                "minItems": 1,
                # Only the operator that is named is looked at: trying alternatives would take too much time.
                "allOf": [
                    {"if": _named(operator), "then": {"$ref": f"#/$defs/{operator.name}"}}
                    for operator in OPERATORS
                ],
            },
            **{operator.name: _operator(operator) for operator in OPERATORS},
        },
    }

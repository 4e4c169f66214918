"""The whole configuration: top-level keys, checked and typed (amplitude-spec 5.1, decisions I-2 and D-19)."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from sluice.converter.compiler import Compiler, suggestion
from sluice.converter.grammar import json_key
from sluice.converter.javaregex import BoundedPattern, RegexProblem
from sluice.converter.jsontext import show
from sluice.converter.outcomes import Json

FILE_TYPES: Final = ("json", "csv", "parquet")
COMPRESSIONS: Final = ("none", "gzip")


@dataclass(frozen=True)
class ConverterConfig:
    """What a converter says about its files; the mapping itself is compiled."""

    file_type: Literal["json", "csv", "parquet"]
    compression: Literal["none", "gzip"]
    filter_pattern: str | None
    """Java regular expression that a data file's key must match in full; None takes every key."""
    name: str | None = None
    ignore_flag: str | None = None
    """The event's field that, if true, leaves the event out."""
    encoding: str = "utf-8"
    csv_delimiter: str = ","
    csv_quote: str | None = '"'
    """None: quotes are ordinary characters."""
    csv_escape: str | None = None
    """None: a quote inside quotes is doubled."""
    csv_header: bool = True
    csv_columns: tuple[str, ...] | None = None
    """The columns' names if the files have no header."""


_Check = Callable[[Json], str | None]


def _text(value: Json) -> str | None:
    return None if isinstance(value, str) and value else "a string that is not empty"


def _character(value: Json) -> str | None:
    if isinstance(value, str) and len(value) == 1 and value not in "\r\n\0":
        return None
    return "a string of one character, no line break"


def _character_or_null(value: Json) -> str | None:
    return (
        None
        if value is None or _character(value) is None
        else "a string of one character, no line break, or null"
    )


def _boolean(value: Json) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def _columns(value: Json) -> str | None:
    if isinstance(value, list) and value and all(isinstance(name, str) for name in value):
        return None if len(set(value)) == len(value) else "a list of different strings"
    return "a list of at least one string"


def _label(value: Json) -> str | None:
    if isinstance(value, str) or (isinstance(value, list) and len(value) == 1 and isinstance(value[0], str)):
        return None
    return "a list of one string, or a string"


def _encoding(value: Json) -> str | None:
    try:
        if isinstance(value, str) and codecs.lookup(value)._is_text_encoding:
            return None
    except (LookupError, ValueError):
        pass
    return "the name of a text encoding such as utf-8 or latin-1"


def _object(value: Json) -> str | None:
    return None if isinstance(value, dict) else "an object"


def _one_of(names: tuple[str, ...]) -> _Check:
    allowed = " or ".join(f'"{name}"' for name in names)

    def check(value: Json) -> str | None:
        if value in names and isinstance(value, str):
            return None
        return allowed + (suggestion(value, names) if isinstance(value, str) else "")

    return check


@dataclass(frozen=True)
class Key:
    """One key of the configuration, for the check, the JSON Schema and the reference page."""

    name: str
    check: _Check
    meaning: str
    schema: dict[str, Any]
    required: bool = False
    extension: bool = False


_ONE_CHARACTER: Final = {"type": "string", "minLength": 1, "maxLength": 1}

TOP_KEYS: Final = (
    Key(
        "config_name",
        _label,
        "A label: a list of one string, or a string.",
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 1},
            ]
        },
    ),
    Key(
        "converterConfig",
        _object,
        "The files' format and the mapping.",
        {"$ref": "#/$defs/converterConfig"},
        required=True,
    ),
    Key(
        "keyValidatorConfig",
        _object,
        "Which object keys are data files.",
        {"$ref": "#/$defs/keyValidatorConfig"},
    ),
    Key(
        "$schema",
        _text,
        "Where an editor finds the JSON Schema of this file.",
        {"type": "string"},
        extension=True,
    ),
)

CONVERTER_KEYS: Final = (
    Key(
        "fileType",
        _one_of(FILE_TYPES),
        "The files' format; json is one JSON object per line.",
        {"enum": list(FILE_TYPES)},
        required=True,
    ),
    Key(
        "compressionType",
        _one_of(COMPRESSIONS),
        "The files' compression; none for parquet, which compresses inside.",
        {"enum": list(COMPRESSIONS)},
        required=True,
    ),
    Key(
        "convertToAmplitudeFunc",
        lambda value: None,
        "A source that gives the event: normally an object of target field and source.",
        {"$ref": "#/$defs/source"},
        required=True,
    ),
    Key(
        "ignoreEventFlag",
        _text,
        "A field of the converted event: if it is true, the event is left out and is no error.",
        {"type": "string", "minLength": 1},
    ),
    Key(
        "csvDelimiter",
        _character,
        "CSV: what separates cells, a comma if absent.",
        _ONE_CHARACTER,
        extension=True,
    ),
    Key(
        "csvQuoteChar",
        _character_or_null,
        'CSV: what quotes cells, " if absent; null for none.',
        {"anyOf": [_ONE_CHARACTER, {"type": "null"}]},
        extension=True,
    ),
    Key(
        "csvEscapeChar",
        _character_or_null,
        "CSV: what escapes the next character; null or absent for doubled quotes.",
        {"anyOf": [_ONE_CHARACTER, {"type": "null"}]},
        extension=True,
    ),
    Key(
        "csvHeader",
        _boolean,
        "CSV: whether the first line names the columns, true if absent.",
        {"type": "boolean"},
        extension=True,
    ),
    Key(
        "csvColumns",
        _columns,
        "CSV: the columns' names if there is no header.",
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
        extension=True,
    ),
    Key(
        "encoding",
        _encoding,
        "CSV and JSON: the files' encoding, utf-8 if absent.",
        {"type": "string"},
        extension=True,
    ),
)

VALIDATOR_KEYS: Final = (
    Key(
        "filterPattern",
        _text,
        "A Java regular expression that must match the whole object key, or the key "
        "without the source's prefix. Without it every key is a data file.",
        {"type": "string", "minLength": 1},
    ),
)


def check_keys(
    compiler: Compiler, value: dict[str, Json], keys: tuple[Key, ...], pointer: str
) -> dict[str, Json]:
    """Check one object's keys; return those that are as they should be."""
    known = {key.name: key for key in keys}
    good: dict[str, Json] = {}
    for name, item in value.items():
        place = f"{pointer}/{json_key(name)}"
        key = known.get(name)
        if key is None:
            allowed = "; allowed are " + ", ".join(known)
            compiler.problem(place, "", f"unknown key{suggestion(str(name), known) or allowed}")
        elif (allowed_value := key.check(item)) is not None:
            compiler.problem(place, "", f"found {show(item)}; allowed is {allowed_value}")
        else:
            good[name] = item
    for key in keys:
        if key.required and key.name not in value:
            compiler.problem(pointer, "", f"the required key {key.name} is missing: {key.meaning}")
    return good


def read_config(
    compiler: Compiler, document: dict[str, Json]
) -> tuple[ConverterConfig | None, BoundedPattern | None]:
    """Check everything but the mapping; the configuration is None if it has problems."""
    before = len(compiler.problems)
    top = check_keys(compiler, document, TOP_KEYS, "")
    given = (
        check_keys(compiler, _relevant(top["converterConfig"]), CONVERTER_KEYS, "/converterConfig")
        if ("converterConfig" in top)
        else {}
    )
    validator = check_keys(compiler, top.get("keyValidatorConfig", {}), VALIDATOR_KEYS, "/keyValidatorConfig")
    pattern = None
    if "filterPattern" in validator:
        try:
            pattern = BoundedPattern(validator["filterPattern"])
        except RegexProblem as problem:
            compiler.problem("/keyValidatorConfig/filterPattern", "", f"{problem}")
    if given.get("fileType") == "parquet" and given.get("compressionType") == "gzip":
        compiler.problem(
            "/converterConfig/compressionType",
            "",
            'found the string "gzip"; allowed for parquet is "none": parquet compresses inside',
        )
    if given.get("fileType") == "csv":
        _check_csv(compiler, given)
    if len(compiler.problems) > before:
        return None, None
    label = top.get("config_name")
    columns = given.get("csvColumns")
    return ConverterConfig(
        file_type=given["fileType"],
        compression=given["compressionType"],
        filter_pattern=validator.get("filterPattern"),
        name=label[0] if isinstance(label, list) else label,
        ignore_flag=given.get("ignoreEventFlag"),
        encoding=given.get("encoding", "utf-8"),
        csv_delimiter=given.get("csvDelimiter", ","),
        csv_quote=given.get("csvQuoteChar", '"'),
        csv_escape=given.get("csvEscapeChar"),
        csv_header=given.get("csvHeader", True),
        csv_columns=None if columns is None else tuple(columns),
    ), pattern


def _relevant(inner: dict[str, Json]) -> dict[str, Json]:
    """Leave out the CSV keys of files that are no CSV: whatever they say is ignored (decisions I-2)."""
    if inner.get("fileType") not in ("json", "parquet"):
        return inner
    csv_keys = {key.name for key in CONVERTER_KEYS if key.name.startswith("csv")}
    return {name: value for name, value in inner.items() if name not in csv_keys}


def _check_csv(compiler: Compiler, given: dict[str, Json]) -> None:
    header, columns = given.get("csvHeader", True), given.get("csvColumns")
    if not header and columns is None:
        compiler.problem("/converterConfig", "", "csvHeader is false, so csvColumns must name the columns")
    if header and columns is not None:
        compiler.problem(
            "/converterConfig/csvColumns",
            "",
            "csvColumns names the columns of files without header: set csvHeader to false",
        )
    delimiter = given.get("csvDelimiter", ",")
    for name, default in (("csvQuoteChar", '"'), ("csvEscapeChar", None)):
        if given.get(name, default) == delimiter:
            compiler.problem(f"/converterConfig/{name}", "", f"is the delimiter {show(delimiter)} too")

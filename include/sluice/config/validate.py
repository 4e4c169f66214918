"""From a YAML document to a model: every mistake becomes a problem with its key, its line, and a way out."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sluice.config.document import Document
from sluice.config.model import ConfigModel
from sluice.config.problems import ConfigProblem, KeyPath, shown

Model = TypeVar("Model", bound=ConfigModel)


def build(
    model: type[Model], content: Any, document: Document, at: KeyPath = ()
) -> tuple[Model | None, list[ConfigProblem]]:
    """Build a model from a part of a document; `at` is where that part begins.

    Returns the model and no problems, or None and what is wrong.
    """
    if not isinstance(content, dict):
        key = ".".join(map(str, at))
        return None, [
            ConfigProblem(
                document.file, key, "not made of keys and values", shown(content), line=document.line(at)
            )
        ]
    try:
        built = model.model_validate(content)
    except ValidationError as error:
        return None, [
            _problem(model, detail, document, at)
            for detail in error.errors(include_url=False)
            # A default that depends on a key that is wrong: the wrong key is reported already.
            if detail["type"] != "default_factory_not_called"
        ]
    built._source_file = document.file
    built._place = at
    built._lines = document.lines
    return built, []


def _problem(
    model: type[ConfigModel], detail: ErrorDetails, document: Document, at: KeyPath
) -> ConfigProblem:
    # Parts that are no keys of the file: pydantic names the branch of a union in between.
    location = tuple(
        part for part in detail["loc"] if isinstance(part, int) or not part.startswith("function-")
    )
    path = at
    for part in location:
        if (*path, part) not in document.lines and path != at:
            break
        path = (*path, part)
    key = ".".join(map(str, path))
    line = document.line(path)
    kind = detail["type"]
    while len(location) > 1 and (inner := _inner(model, location[0])):
        model, location = inner, location[1:]
    if kind == "extra_forbidden":
        return unknown_key(str(location[-1]), list(model.model_fields), document.file, key, line)
    allowed = _allowed(model, location)
    if kind == "missing":
        return ConfigProblem(document.file, key, "missing", allowed=allowed, line=document.line(at))
    message = _MESSAGES.get(kind, "wrong value")
    if kind == "value_error":
        error = detail["ctx"]["error"]
        message, allowed = str(error), getattr(error, "allowed", allowed)
    found = shown(detail["input"]) if location else None
    if "credentials" in message:
        found = None
    return ConfigProblem(document.file, key, message, found, allowed, line)


_MESSAGES: Mapping[str, str] = {
    "string_type": "not text (put a text that looks like something else in quotes)",
    "int_type": "not a whole number",
    "float_type": "not a number",
    "bool_type": "neither true nor false",
    "tuple_type": "not a list",
}


def unknown_key(name: str, known: list[str], file: str, key: str, line: int | None) -> ConfigProblem:
    """Return the problem of a key that nobody reads, with the known key that comes nearest."""
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    hint = f"unknown key; did you mean {near[0]}?" if near else "unknown key"
    return ConfigProblem(file, key, hint, allowed=", ".join(known), line=line)


def _inner(model: type[ConfigModel], key: str | int) -> type[ConfigModel] | None:
    """Return the model of a key that is made of keys itself, or None."""
    info = model.model_fields.get(str(key))
    inner = info.annotation if info else None
    return inner if isinstance(inner, type) and issubclass(inner, ConfigModel) else None


def _allowed(model: type[ConfigModel], location: tuple[str | int, ...]) -> str | None:
    if not location:
        return None
    info = model.model_fields.get(str(location[0]))
    extra = info.json_schema_extra if info else None
    return str(extra["allowed"]) if isinstance(extra, dict) else None

"""From a YAML document to a model: every mistake becomes a problem with its key, its line, and a way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import Tag, ValidationError
from pydantic.fields import FieldInfo
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
    kind = detail["type"]
    path = at
    for number, part in enumerate(location):
        last = number == len(location) - 1
        if (*path, part) in document.lines or path == at or (last and kind == "missing"):
            path = (*path, part)
    key = ".".join(map(str, path))
    line = document.line(path)
    model, location = _innermost(model, location)
    if kind == "extra_forbidden":
        return unknown_key(str(location[-1]), _keys(model), document.file, key, line)
    allowed = _allowed(model, location)
    if kind == "missing":
        return ConfigProblem(document.file, key, "missing", allowed=allowed, line=document.line(path[:-1]))
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
    "model_type": "not made of keys and values",
    "dict_type": "not made of keys and values",
    "datetime_type": "not a time",
}


def unknown_key(name: str, known: list[str], file: str, key: str, line: int | None) -> ConfigProblem:
    """Return the problem of a key that nobody reads, with the known key that comes nearest."""
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    hint = f"unknown key; did you mean {near[0]}?" if near else "unknown key"
    return ConfigProblem(file, key, hint, allowed=", ".join(known), line=line)


def _innermost(
    model: type[ConfigModel], location: tuple[str | int, ...]
) -> tuple[type[ConfigModel], tuple[str | int, ...]]:
    """Return the innermost model that the last part of a location belongs to, and the rest of it there."""
    rest = location
    branches: list[_Branch] = [(None, model)]
    for number, part in enumerate(location[:-1], start=1):
        branches = list(_step(branches, part))
        models = [kind for _, kind in branches if _is_model(kind)]
        if len(models) == 1:
            model, rest = models[0], location[number:]
    return model, rest


# One of the types that a value may have, with the tag by which pydantic names it in a union.
_Branch = tuple[str | None, Any]


def _step(branches: list[_Branch], part: str | int) -> Iterator[_Branch]:
    tagged = [branch for branch in branches if branch[0] == part]
    if tagged:
        yield from ((None, kind) for _, kind in tagged)
        return
    for _, kind in branches:
        if isinstance(part, str) and _is_model(kind):
            info = next(
                (field for name, field in kind.model_fields.items() if _key(name, field) == part), None
            )
            if info is not None:
                yield from _branches(info.annotation)
        elif isinstance(part, int) and get_args(kind):
            # Lists are the only generic types of a configuration.
            yield from _branches(get_args(kind)[0])


def _branches(annotation: Any, tag: str | None = None) -> Iterator[_Branch]:
    origin = get_origin(annotation)
    if origin is Annotated:
        kind, *notes = get_args(annotation)
        tag = next((note.tag for note in notes if isinstance(note, Tag)), tag)
        yield from _branches(kind, tag)
    elif origin in (Union, UnionType):
        for kind in get_args(annotation):
            yield from _branches(kind, tag)
    else:
        yield tag, annotation


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, ConfigModel)


def _key(name: str, info: FieldInfo) -> str:
    return info.alias or name


def _keys(model: type[ConfigModel]) -> list[str]:
    return [_key(name, info) for name, info in model.model_fields.items()]


def _allowed(model: type[ConfigModel], location: tuple[str | int, ...]) -> str | None:
    fields = {_key(name, info): info for name, info in model.model_fields.items()}
    info = fields.get(str(location[0])) if location else None
    extra = info.json_schema_extra if info else None
    return str(extra["allowed"]) if isinstance(extra, dict) else None

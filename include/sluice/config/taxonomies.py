"""Taxonomies: the event types and properties that projects plan, one YAML in taxonomies/ each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator

from sluice.config.document import DocumentError, read_document
from sluice.config.model import ConfigModel, setting
from sluice.config.problems import ConfigProblem
from sluice.config.validate import build

FOLDER = "taxonomies"
# The original's limits of a project: 2,000 event types and 2,000 event properties (amplitude-spec 6.2).
MAX_BYTES = 4 << 20

ValueType = Literal["string", "number", "integer", "boolean", "array", "object", "any"]
Answer = Literal["allow", "warn", "reject"]

_TYPES = "string, number, integer, boolean, array, object or any"


def _nothing_as_empty(value: Any) -> Any:
    # `Flight cancelled:` without anything behind it is a type without properties of its own.
    return {} if value is None else value


def _named(value: dict[str, Any]) -> dict[str, Any]:
    for name in value:
        if not name.strip():
            raise ValueError("an empty name")
        if len(name) > 1024:
            raise ValueError(f"the name {name[:40]!r}… is longer than the 1,024 characters that a name has")
    return value


Properties = Annotated[dict[str, ValueType], BeforeValidator(_nothing_as_empty), AfterValidator(_named)]


class Unplanned(ConfigModel):
    """What becomes of an event that does not follow the plan."""

    event_types: Answer = setting(
        "warn", allowed="allow, warn or reject", meaning="An event type that the plan does not name."
    )
    properties: Answer = setting(
        "warn", allowed="allow, warn or reject", meaning="A property that the plan does not name."
    )
    value_types: Answer = setting(
        "warn",
        allowed="allow, warn or reject",
        meaning="A planned property whose value is of another type.",
    )


class Taxonomy(ConfigModel):
    """The plan of a project's events (decisions I-20).

    Names beginning with `$` or `[Amplitude]` are the original's own, and always planned.
    """

    event_types: Annotated[
        dict[str, Properties], BeforeValidator(_nothing_as_empty), AfterValidator(_named)
    ] = setting(
        default_factory=dict,
        allowed=f"event types, each with its properties and their type: {_TYPES}",
        default_text="none",
        meaning="The planned event types, each with the properties that it has of its own.",
    )
    event_properties: Properties = setting(
        default_factory=dict,
        allowed=f"properties with their type: {_TYPES}",
        default_text="none",
        meaning="Properties that every event may have.",
    )
    user_properties: Properties = setting(
        default_factory=dict,
        allowed=f"properties with their type: {_TYPES}",
        default_text="none",
        meaning="The planned user properties.",
    )
    unplanned: Unplanned = setting(
        default_factory=Unplanned,
        allowed="event_types, properties and value_types, each with allow, warn or reject",
        default_text="`warn` for all",
        meaning="What becomes of what is not planned: imported, imported and counted, or rejected.",
    )


def read_taxonomy(folder: Path, name: str) -> tuple[Taxonomy | None, list[ConfigProblem]]:
    """Read a taxonomy of a configuration folder: the model, or None and what is wrong with the file."""
    file = f"{FOLDER}/{name}"
    try:
        document = read_document(folder / FOLDER / name, file, MAX_BYTES)
    except DocumentError as error:
        return None, [error.problem]
    return build(Taxonomy, document.content, document)

"""What is wrong with the configuration, said so that the next step is clear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sluice.errors import SluiceError

# Where a value is in a document: keys and list indices from the outside in.
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class ConfigProblem:
    """One mistake in one configuration file.

    `file` is relative to the configuration's folder, `key` the path to the value (`projects.0`), empty where
    the file as a whole is meant; `found` and `allowed` are ready to print.
    """

    file: str
    key: str
    message: str
    found: str | None = None
    allowed: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}, line {self.line}" if self.line else self.file
        parts = [": ".join(part for part in (place, self.key, self.message) if part)]
        if self.found is not None:
            parts.append(f"Found: {self.found}")
        if self.allowed is not None:
            parts.append(f"Allowed: {self.allowed}")
        return " ".join(part if part.endswith((".", "?")) else f"{part}." for part in parts)


class NotAllowed(ValueError):
    """A validator's refusal that brings its own answer to what would be allowed instead."""

    def __init__(self, message: str, allowed: str) -> None:
        self.allowed = allowed
        super().__init__(message)


class ConfigError(SluiceError):
    """The configuration cannot be used; `problems` lists every mistake that was found."""

    def __init__(self, directory: Path, problems: Sequence[ConfigProblem]) -> None:
        self.directory = directory
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{count} in the configuration {directory}:\n{lines}")


def shown(value: object, limit: int = 80) -> str:
    """Return a value as an error message quotes it: one line, at most `limit` characters, with its kind."""
    if value is None:
        return "nothing (null)"
    text = " ".join(repr(value).split())
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    kind = _KINDS.get(type(value))
    return f"{text} ({kind})" if kind else text


# YAML's own conversions surprise (`no` is false, 1:30 is 90): the kind is part of the message.
_KINDS: dict[type, str] = {bool: "true or false", int: "a number", float: "a number", dict: "keys and values"}

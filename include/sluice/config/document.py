"""Reading one YAML file: safe types only, bounded in size and depth, no doubled keys, with line numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sluice.config.problems import ConfigProblem, KeyPath, shown

# A destination takes a few hundred bytes. Parsing time grows with the size, and the DAG processor waits.
MAX_BYTES = 256 * 1024
MAX_DEPTH = 16

# The parser in C where PyYAML has it: ten times as fast, and every parse of a DAG file reads everything.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_SCALARS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "timestamp")
)
_LIST = "tag:yaml.org,2002:seq"
_MAPPING = "tag:yaml.org,2002:map"


class DocumentError(Exception):
    """The file is no document that could be looked at further; `problem` says why."""

    def __init__(self, problem: ConfigProblem) -> None:
        self.problem = problem
        super().__init__(str(problem))


@dataclass(frozen=True)
class Document:
    """The content of one YAML file, and the line (from 1) of each key and list item."""

    file: str
    content: dict[str, Any]
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def line(self, path: KeyPath) -> int | None:
        """Return the line of a key path, or of the innermost part of it that the file has."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None


def read_document(path: Path, file: str, max_bytes: int = MAX_BYTES) -> Document:
    """Read a YAML file of at most `max_bytes` whose name in messages is `file`.

    Raises DocumentError if it cannot be read, is too large or too deep, is no YAML, uses anchors, tags or a
    key twice, or is not made of keys and values.
    """
    text = _text(path, file, max_bytes)
    try:
        _check_events(text, file)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                raise DocumentError(ConfigProblem(file, "", "the file is empty"))
            lines: dict[KeyPath, int] = {}
            content = _construct(loader, node, (), lines, file)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise DocumentError(_syntax_problem(error, file)) from error
    if not isinstance(content, dict):
        raise DocumentError(
            ConfigProblem(
                file, "", "not made of keys and values", shown(content), "lines such as `id: flights`", 1
            )
        )
    return Document(file, content, lines)


def _text(path: Path, file: str, max_bytes: int) -> str:
    try:
        with path.open("rb") as stream:
            raw = stream.read(max_bytes + 1)
    except OSError as error:
        raise DocumentError(ConfigProblem(file, "", f"cannot be read: {error.strerror}")) from error
    if len(raw) > max_bytes:
        raise DocumentError(
            ConfigProblem(
                file, "", "the file is too large", f"more than {max_bytes} bytes", f"{max_bytes} bytes"
            )
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DocumentError(
            ConfigProblem(file, "", "the file is not UTF-8", shown(raw[error.start : error.end]), line=line)
        ) from error


def _check_events(text: str, file: str) -> None:
    """Refuse what would cost memory or stack before any tree is built."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else None
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise DocumentError(
                ConfigProblem(
                    file, "", "anchors and aliases (& and *) are not read: write the value out", line=line
                )
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise DocumentError(
                    ConfigProblem(file, "", f"nested more than {MAX_DEPTH} levels deep", line=line)
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _construct(loader: Any, node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], file: str) -> Any:
    line = node.start_mark.line + 1
    key = ".".join(map(str, path))
    if isinstance(node, yaml.MappingNode) and node.tag == _MAPPING:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key_line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise DocumentError(ConfigProblem(file, key, "a key is text", line=key_line))
            name = key_node.value
            if not name.isprintable():
                raise DocumentError(ConfigProblem(file, key, "a key with control characters", line=key_line))
            inner = (*path, name)
            if name in values:
                raise DocumentError(
                    ConfigProblem(
                        file,
                        ".".join(map(str, inner)),
                        f"the key is there twice, first in line {lines[inner]}",
                        line=key_line,
                    )
                )
            lines[inner] = key_line
            values[name] = _construct(loader, value_node, inner, lines, file)
        return values
    if isinstance(node, yaml.SequenceNode) and node.tag == _LIST:
        items = []
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            items.append(_construct(loader, item, (*path, index), lines, file))
        return items
    if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
        try:
            return loader.construct_object(node)
        except (ValueError, OverflowError, AttributeError) as error:
            # An AttributeError is PyYAML's own answer to a `!!timestamp` that is none.
            reason = "not a time" if isinstance(error, AttributeError) else f"not a value: {error}"
            raise DocumentError(ConfigProblem(file, key, reason, shown(node.value), line=line)) from error
    raise DocumentError(
        ConfigProblem(
            file,
            key,
            "a YAML tag that is not read",
            shown(node.tag),
            "text, numbers, true, false, null, dates, lists and keys with values",
            line,
        )
    )


def _syntax_problem(error: yaml.YAMLError, file: str) -> ConfigProblem:
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return ConfigProblem(file, "", f"not YAML: {reason}", line=mark.line + 1 if mark else None)

"""What all configuration models share: strictness, the text of each key, and the hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr
from pydantic.config import JsonDict
from pydantic_core import PydanticUndefined

from sluice.config.problems import ConfigProblem, KeyPath


def setting(
    default: Any = PydanticUndefined,
    *,
    allowed: str,
    meaning: str,
    default_text: str | None = None,
    **constraints: Any,
) -> Any:
    """Declare one key of a configuration file.

    `allowed` is what an error message offers, `meaning` what docs/configuration.md says; `default_text`
    stands for a default that depends on other keys. Without a default the key is required.
    """
    extra: JsonDict = {"allowed": allowed}
    if default_text:
        extra["default_text"] = default_text
    if "default_factory" not in constraints:
        constraints["default"] = default
    return Field(description=meaning, json_schema_extra=extra, **constraints)


class ConfigModel(BaseModel):
    """One configured thing: immutable, typed strictly, and without keys that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    # Keys that change nothing of what is written or loaded; all others are part of the hash.
    UNHASHED: ClassVar[frozenset[str]] = frozenset()

    _source_file: str = PrivateAttr(default="")
    _place: KeyPath = PrivateAttr(default=())
    _lines: Mapping[KeyPath, int] = PrivateAttr(default_factory=dict)

    @property
    def source_file(self) -> str:
        """The file that it was read from, relative to the configuration's folder."""
        return self._source_file

    def problem(self, path: KeyPath, message: str, allowed: str | None = None) -> ConfigProblem:
        """Return a problem with one of its keys; `path` begins at the model."""
        whole = (*self._place, *path)
        key = ".".join(map(str, whole))
        # A key that is missing has no line: that of what it is missing from is the nearest.
        parts = (whole[:length] for length in range(len(whole), len(self._place) - 1, -1))
        line = next((self._lines[part] for part in parts if part in self._lines), None)
        return ConfigProblem(self._source_file, key, message, allowed=allowed, line=line)

    def as_json(self) -> dict[str, Any]:
        """Return all keys with their values, defaults included, as JSON types: what the ledger records."""
        return self.model_dump(mode="json", by_alias=True)

    @property
    def hash(self) -> str:
        """The SHA-256, in hex, of the keys that affect the output: equal hashes mean equal objects."""
        payload = self.model_dump(mode="json", by_alias=True, exclude=set(self.UNHASHED))
        text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

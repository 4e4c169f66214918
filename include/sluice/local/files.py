"""Files that are either whole or absent, and secrets that are made once per data directory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sluice.local.errors import IncompleteEnvironmentError


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, in one step: a reader sees the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{path.name}.new")
    half.unlink(missing_ok=True)
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    half.replace(path)


def made_once(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Read a JSON object from `path`; where there is none yet, make it and keep it."""
    if not path.exists():
        write_private(path, json.dumps(make(), indent=2))
    try:
        facts = json.loads(path.read_text())
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        raise IncompleteEnvironmentError(
            f"{path} is not a JSON object; remove it and start again, it is made anew"
        )
    return facts

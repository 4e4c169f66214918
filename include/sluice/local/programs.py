"""Where the programs of the local services are, or one line that says what is missing."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

from sluice.local.errors import IncompleteEnvironmentError

REMEDY = "`make install` installs it"


def require_program(name: str, wheel: str) -> str:
    """Find a program beside this Python, then on the PATH."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise IncompleteEnvironmentError(f"the program {name} (wheel {wheel}) is missing; {REMEDY}")
    return found


def require_module(name: str, wheel: str) -> None:
    """Check that a Python module is installed, without importing it."""
    if importlib.util.find_spec(name) is None:
        raise IncompleteEnvironmentError(f"the Python module {name} (wheel {wheel}) is missing; {REMEDY}")

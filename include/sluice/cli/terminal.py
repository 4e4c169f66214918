"""Where tables are printed to."""

from __future__ import annotations

import sys

from rich.console import Console


def console(columns: int = 200) -> Console:
    """Return the console: as wide as the terminal, and of so many columns in a pipe or a log.

    Nobody sees the edge of those: lines stay whole.
    """
    return Console(width=None if sys.stdout.isatty() else columns)

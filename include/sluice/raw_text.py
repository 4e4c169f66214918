"""How much of a rejected row's text is kept, by whoever rejects it."""

from __future__ import annotations

# A row of 100 MB must not end in the lake as it is.
MAX_RAW_CHARS = 65_536
CUT = "… (cut)"


def cut_raw(text: str) -> str:
    """Cut a row's text to what a reject keeps, and say so."""
    return text if len(text) <= MAX_RAW_CHARS else f"{text[:MAX_RAW_CHARS]}{CUT}"

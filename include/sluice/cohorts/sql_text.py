"""Looks through SQL text of any dialect: what is code, and what is a text, a quoted name or a comment."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

AS_OF = "as_of"

_NOT_CODE = re.compile(
    r"""
      (?<!\w)[eE]'(?:[^'\\]|''|\\.)*'        # a text with escapes, as PostgreSQL and DuckDB have it
    | '(?:[^']|'')*'                        # a text
    | "(?:[^"]|"")*"                        # a quoted name
    | `[^`]*`                               # the same, as BigQuery, Athena and MySQL quote it
    | --[^\n]*                              # a comment to the end of the line
    | /\*.*?\*/                             # a comment
    | (?P<tag>\$(?:[A-Za-z_]\w*)?\$).*?(?P=tag)   # a text in dollars, as PostgreSQL and DuckDB have it
    """,
    re.VERBOSE | re.DOTALL,
)
_PARAMETER = re.compile(r"\$as_of\b")

# How drivers write a parameter (PEP 249), and whether a % in the text must be doubled for them.
_STYLES: dict[str, tuple[str, bool]] = {
    "pyformat": (f"%({AS_OF})s", True),
    "format": ("%s", True),
    "named": (f":{AS_OF}", False),
    "qmark": ("?", False),
    "numeric": (":1", False),
}
PARAMETER_STYLES = tuple(_STYLES)


def _pieces(sql: str) -> Iterator[tuple[bool, str]]:
    """Yield the text in pieces, each with whether it is code."""
    place = 0
    for match in _NOT_CODE.finditer(sql):
        yield True, sql[place : match.start()]
        yield False, match[0]
        place = match.end()
    yield True, sql[place:]


def _with_code(sql: str, change: Callable[[str], str]) -> str:
    return "".join(change(piece) if is_code else piece for is_code, piece in _pieces(sql))


def without_semicolon(sql: str) -> str:
    """Return a single statement without the semicolon that may end it."""
    return _with_code(sql, lambda code: code.replace(";", " "))


def for_driver(sql: str, style: str, as_of: object) -> tuple[str, Any]:
    """Return a query and its parameters as a driver of a parameter style (PEP 249) takes them.

    `$as_of` in texts, quoted names and comments stays as it is. Parameters are None where there are none.
    """
    mark, doubles_percent = _STYLES[style]
    used = 0

    def change(code: str) -> str:
        nonlocal used
        code, count = _PARAMETER.subn("\0", code)
        used += count
        return code

    marked = _with_code(sql, change)
    if not used:
        # Without parameters a driver does not look at the text either.
        return sql, None
    if doubles_percent:
        marked = marked.replace("%", "%%")
    in_a_row = style in ("format", "qmark")
    # A parameter that is numbered or named is given once, however often it is used.
    values = {AS_OF: as_of} if style in ("pyformat", "named") else (as_of,) * (used if in_a_row else 1)
    return marked.replace("\0", mark), values

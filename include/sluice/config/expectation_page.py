"""The reference of all expectations in docs/quality-expectations.md, written from the catalogue.

`python -m sluice.config.expectation_page docs/quality-expectations.md` brings the file up to date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sluice.config.expectation_values import allowed_of
from sluice.config.expectations import catalogue

_BEGIN, _END = "<!-- the expectations -->\n", "<!-- end of the expectations -->"


def with_expectations(text: str) -> str:
    """Return a Markdown text whose marked part is what the catalogue says.

    Raises ValueError if the marks are missing.
    """
    pattern = re.compile(f"({_BEGIN}).*?({_END})", re.DOTALL)
    # A backslash in a replacement would be read as a reference to a group.
    part = "\n".join(_lines()).replace("\\", r"\\")
    text, count = pattern.subn(rf"\g<1>{part}\n\g<2>", text)
    if count != 1:
        raise ValueError(f"the text has {count} places for the expectations, not one")
    return text


def _lines() -> Iterator[str]:
    entries = catalogue()
    for title, method, explanation in (
        ("Over all rows", "exact", "Aggregates over every row, computed by the embedded SQL engine."),
        (
            "On the sample",
            "sample",
            "Evaluated by Great Expectations itself on at most `sample_rows` rows.",
        ),
        ("Against earlier runs", "history", "Sluice's own; the numbers come from the ledger."),
    ):
        yield from (f"## {title}", "", explanation, "")
        for name, entry in entries.items():
            if entry.get("method") == method:
                yield from _section(name, entry)
    yield from (
        "## What cannot stand in a suite",
        "",
        "| expectation | why |",
        "|---|---|",
        *(f"| `{name}` | {entry['refused']}. |" for name, entry in entries.items() if "refused" in entry),
        "",
    )


def _section(name: str, entry: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"### `{name}`", "", entry["meaning"], "")
    if "pipelines" in entry:
        where = " and ".join(f"{pipeline}s" for pipeline in entry["pipelines"])
        yield from (f"For {where} only; `severity` is `{entry['severity']}` by default.", "")
    if entry["arguments"]:
        yield from ("| argument | allowed | default |", "|---|---|---|")
        yield from (_row(name, argument) for name, argument in entry["arguments"].items())
        yield ""


def _row(name: str, argument: Mapping[str, Any]) -> str:
    if argument.get("required"):
        default = "**required**"
    elif argument.get("default") is None:
        default = "none"
    else:
        value = argument["default"]
        default = f"`{str(value).lower() if isinstance(value, bool) else value}`"
    cells = (f"`{name}`", allowed_of(argument), default)
    return "| " + " | ".join(cell.replace("|", r"\|").replace("<", "&lt;") for cell in cells) + " |"


if __name__ == "__main__":
    document = Path(sys.argv[1])
    document.write_text(with_expectations(document.read_text(encoding="utf-8")), encoding="utf-8")

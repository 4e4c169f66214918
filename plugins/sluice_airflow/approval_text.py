"""What a person reads before letting a sync go on: its numbers, its limits, and some of its members.

Values come from customers' data. They stand in code spans, in which Markdown means nothing, each on one
line and without invisible characters; and in lists, as the cells of tables have an escaping of their own.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sluice.config.syncs import Sync
    from sluice.lake import Lake
    from sluice.ledger.syncs import Turn

# Members of each list that are shown, and characters of a value.
SHOWN_MEMBERS = 10
_SHOWN_CHARS = 60
# Controls, surrogates and what turns the direction of writing or takes no room: one could pose as another.
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@dataclass(frozen=True)
class HeldSync:
    """What is shown of a sync that waits; `entering` and `exiting` are samples of members, as rows."""

    sync: str
    cohort: str
    destination: str
    as_of: datetime
    held_until: datetime
    reason: str
    counts: Mapping[str, int]
    entering: Sequence[Mapping[str, Any]]
    exiting: Sequence[Mapping[str, Any]]


def held_sync(sync: Sync, lake: Lake, turn: Turn) -> HeldSync:
    """Return what is shown of a held turn; the samples are the first rows of its staged lists."""
    from sluice.cohorts.list_files import ENTERING, EXITING

    assert turn.held_until is not None
    return HeldSync(
        sync=sync.id,
        cohort=sync.cohort.name,
        destination=sync.destination.name,
        as_of=turn.as_of,
        held_until=turn.held_until,
        reason=turn.reason or "",
        counts=turn.counts,
        entering=_sample_of(lake, f"{turn.folder}/{ENTERING}", sync),
        exiting=_sample_of(lake, f"{turn.folder}/{EXITING}", sync),
    )


def subject(held: HeldSync) -> str:
    """Return the headline: which sync, and what it would do."""
    return (
        f"Send {held.sync}? {held.counts['exiting']:,} of {_before(held):,} leave,"
        f" {held.counts['entering']:,} enter"
    )


def body(held: HeldSync) -> str:
    """Return the numbers and samples, as Markdown."""
    blocks = [
        f"The sync {code(held.sync)} of the cohort {code(held.cohort)} to {code(held.destination)} is beyond"
        f" its limits and waits: {code(held.reason, chars=500)}",
        f"| | members |\n| --- | ---: |\n"
        f"| as of the last delivered sync | {_before(held):,} |\n"
        f"| leaving | {held.counts['exiting']:,} ({_share(held):.1%}) |\n"
        f"| entering | {held.counts['entering']:,} |\n"
        f"| as of {held.as_of:%Y-%m-%d %H:%M} UTC | {held.counts['existing']:,} |",
        "**Approve** sends exactly this. **Reject** sends nothing: the baseline stays, and the next turn of"
        f" the sync compares with it again. Without an answer until {held.held_until:%Y-%m-%d %H:%M} UTC it"
        " is given up in the same way, and the task fails. Other syncs do not wait.",
        *_sample("Leaving", held.exiting, held.counts["exiting"]),
        *_sample("Entering", held.entering, held.counts["entering"]),
    ]
    return "\n\n".join(blocks)


def code(value: object, chars: int = _SHOWN_CHARS) -> str:
    """Return a value as a code span that no content can break out of."""
    text = "".join("\N{REPLACEMENT CHARACTER}" if _is_invisible(char) else char for char in str(value))
    if len(text) > chars:
        text = text[: chars - 1] + "…"
    # A run of backticks ends the span only if it is as long as the one that began it.
    fence = "`"
    while fence in text:
        fence += "`"
    return f"{fence} {text} {fence}"


def _is_invisible(char: str) -> bool:
    return unicodedata.category(char) in _INVISIBLE


def _before(held: HeldSync) -> int:
    return held.counts["existing"] - held.counts["entering"] + held.counts["exiting"]


def _share(held: HeldSync) -> float:
    return held.counts["exiting"] / max(_before(held), 1)


def _sample_of(lake: Lake, path: str, sync: Sync) -> list[dict[str, Any]]:
    from sluice.cohorts.list_files import AMPLITUDE_ID, VALUE, property_column
    from sluice.lake.staged import open_staged

    names = {AMPLITUDE_ID: AMPLITUDE_ID, VALUE: sync.destination.match_by}
    names |= {property_column(name): name for name in sync.properties}
    with open_staged(lake, path) as file:
        columns = [name for name in file.schema_arrow.names if name in names]
        first = next(file.iter_batches(SHOWN_MEMBERS, columns=columns), None)
    rows = [] if first is None else first.to_pylist()
    return [{names[column]: value for column, value in row.items()} for row in rows]


def _sample(title: str, members: Sequence[Mapping[str, Any]], total: int) -> Iterable[str]:
    if not members:
        return
    which = f" (the first {len(members):,} of {total:,})" if len(members) < total else ""
    yield f"**{title}**{which}: " + " · ".join(code(name) for name in members[0])
    yield "\n".join("- " + " · ".join(_cell(value) for value in member.values()) for member in members)


def _cell(value: Any) -> str:
    return "–" if value is None else code(value)

"""Prints what the cohort syncs of the demo sent: each hour's members and changes, files, a message."""

from __future__ import annotations

from itertools import zip_longest

from rich.console import Console
from rich.table import Table
from rich.tree import Tree

from sluice.demo.cohort_proof import Flow
from sluice.demo.cohorts import CohortSyncs

# Rows of a file that are shown.
_ROWS = 3


def print_cohorts(console: Console, done: CohortSyncs) -> None:
    """Print the table of hours, half of them beside the other, the files of one hour and one message."""
    title = "Cohort syncs, delayed to S3 and busy to Kinesis: members, +entered, -left"
    table = Table(title=title, title_justify="left")
    for _ in range(2):
        table.add_column("as of 2013, UTC")
        for name in ("delayed", "busy", "seconds"):
            table.add_column(name, justify="right")
    lines = [
        (
            f"{as_of:%m-%d %H}:00",
            _shown(done.files.flows.get(as_of)),
            _shown(done.messages.flows.get(as_of)),
            f"{seconds:.1f}",
        )
        for as_of, seconds in sorted(done.run_seconds.items())
    ]
    half = (len(lines) + 1) // 2
    for left, right in zip_longest(lines[:half], lines[half:], fillvalue=()):
        table.add_row(*left, *right)
    console.print(table)

    tree = Tree(
        f"s3://{done.bucket}/, {done.files.count} files, {done.files.bytes:,} bytes; of one hour of them:"
    )
    for key, text in done.files.sample.items():
        rows = text.splitlines()
        file = tree.add(f"{key}, rows: {len(rows) - 1}")
        for row in rows[: _ROWS + 1]:
            file.add(row)
        if len(rows) > _ROWS + 1:
            file.add("…")
    console.print(tree)

    console.print(
        f"Stream {done.stream}: {done.messages.count} messages, {done.messages.bytes:,} bytes; one of them:"
    )
    for message in done.messages.sample.values():
        console.print(message, markup=False, soft_wrap=True)
    runs = len(done.run_seconds)
    console.print(
        f"{runs} hours, oldest first, one run at a time, in {done.seconds:.0f} s:"
        f" {done.seconds / runs:.1f} s an hour."
    )


def _shown(flow: Flow | None) -> str:
    if flow is None:
        return "missing"
    return f"{flow.members} {f'+{flow.entering}':>3} {f'-{flow.exiting}':>3}"

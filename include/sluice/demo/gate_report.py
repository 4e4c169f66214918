"""Prints what the quality gates of the demo have looked at, and how one of them stopped a file."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from sluice.demo.gates import Gates, StoppedFile


def print_gates(console: Console, gates: Sequence[Gates], stopped: StoppedFile) -> None:
    """Print the gates that let something pass, and what `sluice quality` said of the one that did not."""
    table = Table(title="Quality gates", title_justify="left")
    for name in ("of", "gates", "verdicts", "rows", "one by one", "expectations", "seconds each"):
        table.add_column(name, justify="left" if name in ("of", "verdicts") else "right")
    for of in gates:
        table.add_row(
            of.of,
            str(of.gates),
            of.states,
            f"{of.rows:,}",
            f"{of.sampled:,}",
            str(of.expectations),
            f"{of.seconds:.1f}",
        )
    console.print(table)
    largest = max(gates, key=lambda of: of.rows).newest
    pages = stopped.link.rpartition("/")[0]
    for what, link, gate in (
        ("let the largest import pass", f"{pages}/{largest.id}", largest),
        ("stopped a file with swapped columns", stopped.link, stopped.gate),
    ):
        console.print(f"The gate that {what}: {link}, in the lake {gate.report}", soft_wrap=True)
    for text in (stopped.shown, stopped.discarded):
        console.print(text, markup=False, soft_wrap=True)
    console.print(
        f"Nothing of the file was loaded; {stopped.repaired} rows of the repaired one are in the lake,"
        f" {stopped.seconds:.0f} s after the first upload."
    )

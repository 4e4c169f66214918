"""Prints what the demo did: the hours, the bucket, one event, the verdict."""

from __future__ import annotations

import json

from rich.console import Console
from rich.table import Table
from rich.tree import Tree

from sluice.demo.cohort_report import print_cohorts
from sluice.demo.gate_report import print_gates
from sluice.demo.run import Demonstration


def print_report(console: Console, done: Demonstration, bucket: str, project: int) -> None:
    """Print the table of hours, the bucket's tree, one event and whether the proof holds."""
    proof = done.proof
    table = Table(title="Exported hours (UTC)", title_justify="left")
    for name in (
        "hour",
        "flights in the raw file",
        "events exported",
        "files",
        "bytes",
        "marker",
        "replayed",
        "seconds",
    ):
        table.add_column(name, justify="left" if name == "hour" else "right")
    for hour in proof.hours:
        table.add_row(
            f"{hour.hour:%Y-%m-%d %H}:00",
            f"{proof.expected[hour.hour]:,}",
            f"{hour.lines:,}",
            str(hour.files),
            f"{hour.bytes:,}",
            "yes" if hour.marker else "no",
            f"{hour.again:,}",
            f"{done.hour_seconds.get(hour.hour, 0):.1f}",
        )
    table.add_section()
    table.add_row(
        "all",
        f"{sum(proof.expected.values()):,}",
        f"{sum(hour.lines for hour in proof.hours):,}",
        str(sum(hour.files for hour in proof.hours)),
        f"{sum(hour.bytes for hour in proof.hours):,}",
        str(sum(hour.marker for hour in proof.hours)),
        f"{sum(hour.again for hour in proof.hours):,}",
        f"{sum(done.hour_seconds.values()):.1f}",
    )
    console.print(table)

    tree = Tree(f"s3://{bucket}/")
    folder = tree.add(f"{project}/")
    for hour in proof.hours:
        name = f"{project}_{hour.hour:%Y-%m-%d}_{hour.hour.hour}"
        for number in range(hour.files):
            folder.add(f"{name}#{number}.json.gz")
        if hour.marker:
            folder.add(f"{name}_complete")
    console.print(tree)

    if proof.sample:
        console.print("One event:")
        console.print_json(json.dumps(json.loads(proof.sample)))

    print_cohorts(console, done.cohorts)
    print_gates(console, done.gates, done.stopped)

    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in done.seconds.items())
    console.print(f"Time: {parts}. Tasks for {len(proof.hours)} hours: {done.tasks}.")
    notified = done.notified
    console.print(
        f"One file came by notification: its run started {notified.seconds_to_start:.1f} s after the upload,"
        f" {notified.rows:,} of its {notified.expected:,} rows are in the lake."
    )
    wrong = [*proof.problems, *(f"{key} was written again" for key in done.written_again)]
    for problem in [*wrong, *done.cohorts.problems, *done.stopped.problems]:
        console.print(f"[bold red]Wrong:[/] {problem}", highlight=False)
    if done.holds:
        console.print(
            "[bold green]The proof holds:[/] hour by hour the exported lines are the flights of the raw file,"
            " no uuid occurs twice, every line has the 55 keys, every hour has its marker,"
            " the second backfill wrote nothing, the files replayed into an empty lake are exported again"
            " line by line, the notified file is in the lake, and nothing of the file that its gate stopped."
            " Hour by hour the cohorts' files and messages, applied one after the other, make the members"
            " that the raw file gives."
        )
    else:
        console.print("[bold red]The proof does not hold.[/]")

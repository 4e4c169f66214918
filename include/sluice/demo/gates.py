"""Quality gates in the demo: those that let its work pass, and one that stops a file with swapped columns."""

from __future__ import annotations

import csv
import gzip
import io
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from sluice.demo.airflow_api import AirflowApi, Run
from sluice.demo.notified import DAG, SOURCE, Notified
from sluice.errors import SluiceError
from sluice.ledger import Ledger, quality
from sluice.ledger.quality import Gate

if TYPE_CHECKING:
    from sluice.local.stack import LocalStack

# Two of the numbers that a file of the source can have.
SPOILED, REPAIRED = 90, 91
# What the converter would make of it is well-formed: airlines and aircraft that do not exist.
SWAPPED = ("carrier", "tailnum")
TASK = "check_quality"
REASON = "The columns carrier and tailnum are swapped; a right file is on its way."
# More gates than the demo has.
_ALL = 1_000


@dataclass(frozen=True)
class StoppedFile:
    """What became of a file that a gate stopped, and of the right one after it."""

    gate: Gate
    states: dict[str, str]
    # Where the task's link leads, and what `sluice quality` said of it.
    link: str
    shown: str
    discarded: str
    repaired: int
    seconds: float
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Gates:
    """What all gates of one export, import or cohort sync have looked at; `seconds` is their mean."""

    of: str
    gates: int
    states: str
    rows: int
    sampled: int
    expectations: int
    seconds: float
    newest: Gate


def swap_columns(content: bytes) -> bytes:
    """Return a file of flights in which two columns have changed places below an unchanged header."""
    header, *rows = csv.reader(gzip.decompress(content).decode().splitlines())
    left, right = (header.index(name) for name in SWAPPED)
    for row in rows:
        row[left], row[right] = row[right], row[left]
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return gzip.compress(text.getvalue().encode(), mtime=0)


def stop_a_file(
    stack: LocalStack, api: AirflowApi, notified: Notified, content: bytes, say: Callable[[str], None]
) -> StoppedFile:
    """Upload a file with swapped columns, see its gate stop it, discard it, and upload the right one.

    Raises SluiceError where something does not happen in time; what happens wrongly is a problem.
    """
    began = time.monotonic()
    notified.wait_idle()
    before = notified.rows()
    notified.put(SPOILED, swap_columns(content))
    gate = notified.wait(lambda: _held(notified.access.ledger), "no gate stopped the file", 240)
    run = notified.wait(lambda: _ended(api, gate), "the stopped run did not end", 120)
    states = api.task_states(DAG, run.run_id)
    say(f"{DAG}: {TASK} stopped a file: {gate.failed} of {len(gate.results)} expectations failed")

    stopped = StoppedFile(
        gate=gate,
        states=states,
        link=api.links(DAG, run.run_id, TASK).get("Quality report") or "",
        shown=_sluice(stack, "quality", "show", gate.run),
        discarded=_sluice(stack, "quality", "discard", gate.run, "--reason", REASON),
        repaired=_load_repaired(notified, content),
        seconds=time.monotonic() - began,
    )
    for holds, problem in (
        (run.state == "failed", f"the run of the file is {run.state}, not failed"),
        (states[TASK] == "failed", f"{TASK} is {states[TASK]}, not failed"),
        (states["load_files"] == "upstream_failed", f"load_files is {states['load_files']} behind it"),
        (notified.rows() == before + stopped.repaired, "rows of the stopped file are in the lake"),
        ("swapped" in api.page(stopped.link), f"the report is not at {stopped.link}"),
        (gate.report is not None, "the gate has no report in the lake"),
    ):
        if not holds:
            stopped.problems.append(f"Quality gate: {problem}")
    return stopped


def gates_so_far(ledger: Ledger) -> list[Gates]:
    """Sum up the gates that let something pass, for each export, import and cohort sync."""

    def of(gate: Gate) -> str:
        return f"{gate.pipeline} {gate.name}"

    opened = sorted((gate for gate in quality.newest(ledger, _ALL) if gate.is_open), key=of)
    return [_sum(name, list(gates)) for name, gates in groupby(opened, of)]


def _sum(name: str, gates: Sequence[Gate]) -> Gates:
    states = sorted({gate.state for gate in gates})
    newest = max(gates, key=lambda gate: gate.checked_at)
    return Gates(
        of=name,
        gates=len(gates),
        states=", ".join(f"{sum(gate.state == state for gate in gates)} {state}" for state in states),
        rows=sum(gate.rows for gate in gates),
        sampled=sum(gate.sampled for gate in gates),
        expectations=len(newest.results),
        seconds=sum(gate.seconds for gate in gates) / len(gates),
        newest=newest,
    )


def _held(ledger: Ledger) -> Gate | None:
    return next(iter(quality.held(ledger, "import", SOURCE)), None)


def _ended(api: AirflowApi, gate: Gate) -> Run | None:
    run = api.run(DAG, gate.run.partition("/")[2])
    return run if run.ended and run.state in ("success", "failed") else None


def _load_repaired(notified: Notified, content: bytes) -> int:
    notified.put(REPAIRED, content)
    return notified.wait_loaded(REPAIRED)


def _sluice(stack: LocalStack, *arguments: str) -> str:
    done = subprocess.run(
        ["sluice", *arguments], env=stack.environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SluiceError(f"`sluice {' '.join(arguments)}` ended with {done.returncode}:\n{done.stderr}")
    return done.stdout.rstrip()

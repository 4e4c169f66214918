"""`sluice quality …`: what the gates have found, and what a person decides about what they stopped."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from sluice.access.connections import EnvironmentAccess
from sluice.cli.options import BY, CONFIG, LEDGER
from sluice.cli.quality_propose import propose_suite
from sluice.cli.terminal import console
from sluice.errors import SluiceError
from sluice.ledger import quality as gates
from sluice.ledger.quality import Gate, Pipeline
from sluice.quality.advice import VERDICTS, clear_command, steps
from sluice.quality.lookup import gates_named
from sluice.quality.report import counts, how, origin_of, printable, render, write_report
from sluice.quality.results import Result, sentence

RUN = click.argument("run")


class Reason(click.ParamType[str]):
    """Why somebody decides something: no empty text."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, context: click.Context | None) -> str:
        """Return the text without the blanks around it."""
        return value.strip() or self.fail("say why: it stays on record", param, context)


REASON = click.option("--reason", required=True, type=Reason(), help="Why; it stays on record.")
UNIT = click.option("--unit", help="Only this hour, load or turn of the run, as `show` names it.")
# How the room of each pipeline gives up what is staged.
_ADAPTERS: dict[Pipeline, str] = {
    "export": "sluice.exports.gate",
    "import": "sluice.imports.gate",
    "cohort": "sluice.cohorts.gate",
}


@click.group("quality")
@CONFIG
@LEDGER
@click.pass_context
def quality(context: click.Context, directory: Path | None, ledger_url: str | None) -> None:
    """Show what the quality gates have found; release or discard what they hold.

    RUN is the run's name dag_id/run_id, its run_id where only one DAG has it, or the id of one gate.
    """
    context.obj = EnvironmentAccess(directory, ledger_url)


quality.add_command(propose_suite)


@quality.command("list")
@click.argument("of", required=False, metavar="[PIPELINE/NAME]")
@click.option("--held", "only_held", is_flag=True, help="Only what waits for a person, the oldest first.")
@click.option(
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many of the newest gates to list.",
)
@click.pass_obj
def list_gates(access: EnvironmentAccess, of: str | None, only_held: bool, limit: int) -> None:
    """List the newest gates, or those that hold something; of one export, import or cohort sync."""
    pipeline, name = _pipeline(of) if of else (None, None)
    if only_held:
        found = gates.held(access.ledger, pipeline, name)
    else:
        found = gates.newest(access.ledger, limit, pipeline, name)
    if not found:
        click.echo("Nothing is held." if only_held else "No gate has checked anything yet.")
        return
    heads = ("gate", "of", "unit", "state", "rows", "failed", "warn", "checked (UTC)", "held until (UTC)")
    table = Table(*heads, "run")
    for gate in found:
        table.add_row(
            gate.id[:12],
            Text(f"{gate.pipeline}/{gate.name}"),
            Text(gate.unit),
            gate.state,
            *(f"{number:,}" for number in (gate.rows, gate.failed, gate.warnings)),
            f"{gate.checked_at:%Y-%m-%d %H:%M:%S}",
            _until(gate),
            Text(gate.run),
        )
    console(columns=240).print(table)


@quality.command()
@RUN
@click.pass_obj
def show(access: EnvironmentAccess, run: str) -> None:
    """Show all gates of RUN: what each expectation found, how it was looked at, and what to do."""
    for gate in gates_named(access.ledger, run):
        for line in (*_head(gate), "", *_results(gate), ""):
            click.echo(printable(line))
        for step in steps(gate):
            click.echo(step.text)
            if step.command is not None:
                click.echo(f"  {step.command}")
        click.echo()


@quality.command()
@RUN
@UNIT
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it to this file.")
@click.pass_obj
def report(access: EnvironmentAccess, run: str, unit: str | None, out: Path | None) -> None:
    """Write the report of a gate of RUN as HTML, to a file or to the standard output."""
    found = _of_unit(gates_named(access.ledger, run), unit)
    if len(found) > 1:
        units = ", ".join(f"{gate.unit} of {gate.name} ({gate.id[:12]})" for gate in found)
        raise SluiceError(f"The run has several gates, name one by its id or --unit: {units}")
    if out is None:
        click.echo(render(found[0]))
        return
    out.write_text(render(found[0]))
    click.echo(f"The report of the {found[0].gate} is in {out}.")


@quality.command()
@RUN
@REASON
@UNIT
@BY
@click.pass_obj
def release(access: EnvironmentAccess, run: str, reason: str, unit: str | None, by: str) -> None:
    """Let what the gates of RUN hold go on: the data are right."""
    released = []
    for gate in _held(gates_named(access.ledger, run), unit, "released"):
        decided = gates.release(access.ledger, gate, by, reason)
        write_report(access.lake, decided)
        click.echo(f"Released by {decided.decided_by}: the {decided.gate}.")
        released.append(decided)
    for command in sorted({command for gate in released if (command := clear_command(gate.run))}):
        click.echo(f"Now let the run go on:\n  {command}")


@quality.command()
@RUN
@REASON
@UNIT
@BY
@click.pass_obj
def discard(access: EnvironmentAccess, run: str, reason: str, unit: str | None, by: str) -> None:
    """Give up what the gates of RUN hold: nothing of it ever was visible. To repeat it does no harm."""
    for gate in _held(gates_named(access.ledger, run), unit, "discarded"):
        decided = gates.discard(access.ledger, gate, by, reason)
        importlib.import_module(_ADAPTERS[decided.pipeline]).discard_held(access, decided)
        write_report(access.lake, decided)
        click.echo(f"Discarded by {decided.decided_by}: the {decided.gate}.")
        for step in steps(decided):
            click.echo(f"  {step.text}")


def _pipeline(of: str) -> tuple[Pipeline, str | None]:
    pipeline, _, name = of.partition("/")
    for known in _ADAPTERS:
        if pipeline == known:
            return known, name or None
    raise SluiceError(f"{of!r} is no export, import or cohort: say export/ID, import/ID or cohort/SYNC.")


def _of_unit(found: list[Gate], unit: str | None) -> list[Gate]:
    chosen = [gate for gate in found if unit is None or gate.unit == unit]
    if not chosen:
        units = ", ".join(repr(gate.unit) for gate in found)
        raise SluiceError(f"The run has no gate of {unit!r}; there are {units}.")
    return chosen


def _held(found: list[Gate], unit: str | None, done: str) -> list[Gate]:
    """Return what is held, and what was decided likewise: to say it again finishes what was interrupted."""
    found = _of_unit(found, unit)
    chosen = [gate for gate in found if gate.state in ("held", done)]
    if not chosen:
        states = ", ".join(f"the {gate.gate} is {gate.state}" for gate in found)
        raise SluiceError(f"Nothing of the run is held: {states}.")
    return chosen


def _head(gate: Gate) -> Iterable[str]:
    yield f"{gate.pipeline} {gate.name}, {gate.unit}: {VERDICTS[gate.state]}"
    yield f"  run {gate.run}, gate {gate.id}"
    yield (
        f"  {gate.rows:,} rows, {gate.sampled:,} of them looked at one by one, in {gate.seconds:.1f} s,"
        f" {_moment(gate.checked_at)}"
    )
    yield f"  {sentence([Result.from_json(result) for result in gate.results]) or 'no expectations'}"
    if gate.state == "held" and gate.held_until is not None:
        yield f"  held until {_moment(gate.held_until)}"
    if gate.decided_at is not None:
        by = f" by {gate.decided_by}" if gate.decided_by else ""
        yield f"  decided {_moment(gate.decided_at)}{by}: {gate.reason or ''}"
    if gate.report:
        yield f"  report in the lake: {gate.report}"


def _results(gate: Gate) -> Iterable[str]:
    results = [Result.from_json(result) for result in gate.results]
    for result in sorted(results, key=lambda one: (not one.stops, not one.warns)):
        expectation = result.expectation
        yield f"  {_word(result):<5}  {expectation}"
        found = [result.error] if result.error is not None else counts(result)
        kind = f"{expectation.severity}, {origin_of(expectation)}"
        yield f"         {'; '.join([*found, how(result, gate), kind])}"
        if expectation.notes:
            yield f"         {expectation.notes}"


def _word(result: Result) -> str:
    if result.error is not None:
        return "error"
    if result.success:
        return "holds"
    return "fails" if result.stops else "warns"


def _until(gate: Gate) -> str:
    return f"{gate.held_until:%Y-%m-%d %H:%M}" if gate.state == "held" and gate.held_until else ""


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"

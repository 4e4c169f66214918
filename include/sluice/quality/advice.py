"""What a person can do about a gate, with the exact commands: the same words in reports, pages and shells."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from sluice.ledger.quality import Gate, Pipeline, State

VERDICTS: dict[State, str] = {
    "passed": "Passed: every expectation holds.",
    "warned": "Passed with warnings: nothing critical failed.",
    "held": "Held: nothing of it is visible, and a person has to decide.",
    "overridden": "Passed by a person's word: the gate would have stopped it, and the run was told to go on.",
    "released": "Released: the gate had stopped it, and a person let it pass.",
    "discarded": "Discarded: a person gave up what was staged. Nothing of it was visible.",
    "expired": "Expired: nobody decided in time, what was staged is given up. Nothing of it was visible.",
}

_GIVEN_UP: dict[Pipeline, str] = {
    "export": (
        "The hour counts as not exported: catch-up or a backfill exports it again once the data are mended,"
        " and it is checked again."
    ),
    "import": (
        "Its files have failed, and none of their rows is in the lake. Once the files or the converter are"
        " mended, `sluice import retry SOURCE KEY` takes a file again, and it is checked again."
    ),
    "cohort": "Nobody got these lists. The next turn is made anew, from the last delivered one.",
}


@dataclass(frozen=True)
class Step:
    """One thing that can be done; `command` is what to type, if it is a command."""

    text: str
    command: str | None = None


def steps(gate: Gate) -> list[Step]:
    """Return what a person can do about a gate now; nothing where all is done."""
    if gate.state == "held":
        return [
            Step(
                "If the data are right, let them pass, with the reason on record,", _decide("release", gate)
            ),
            *_go_on("and then let the run go on:", gate),
            *_mend(gate),
            Step("Until somebody decides, other runs pass it by."),
        ]
    if gate.state == "released":
        return _go_on("If the run has not gone on since, let it:", gate)
    if gate.state in ("discarded", "expired"):
        return [Step(_GIVEN_UP[gate.pipeline])]
    return []


def clear_command(run: str, *, whole: bool = False) -> str | None:
    """Return the command that lets a DAG run go on where it stopped, or do the whole of it again.

    None for a run that is not Airflow's.
    """
    dag_id, slash, run_id = run.partition("/")
    if not slash:
        return None
    only = "" if whole else " --only-failed"
    return f"airflow dags clear {shlex.quote(dag_id)} --run-id {shlex.quote(run_id)}{only} --yes"


def _go_on(text: str, gate: Gate) -> list[Step]:
    command = clear_command(gate.run)
    return [Step(text, command)] if command is not None else []


def _mend(gate: Gate) -> list[Step]:
    if gate.pipeline == "import":
        # Cleared, its run finds the files staged already, or converts them as before.
        text = (
            "If they are wrong, give up what is staged; once the files or the converter are mended,"
            " `sluice import retry SOURCE KEY` takes a file again:"
        )
        return [Step(text, _decide("discard", gate))]
    return [
        Step("If they are wrong, give up what is staged:", _decide("discard", gate)),
        Step(
            "Or mend what feeds the run and clear the whole of it: what it stages then is checked again.",
            clear_command(gate.run, whole=True),
        ),
    ]


def _decide(verb: str, gate: Gate) -> str:
    return f"sluice quality {verb} {gate.id} --reason '…'"

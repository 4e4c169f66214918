"""The gates that a person means by what they type: the name of a run, its bare id, or a gate's id."""

from __future__ import annotations

from difflib import get_close_matches

from sluice.errors import SluiceError
from sluice.ledger import Ledger, quality
from sluice.ledger.quality import Gate

# Among as many runs a near miss is looked for, and as many are shown.
_RUNS, _SHOWN = 1_000, 3
# Shorter beginnings of an id are not taken: they are soon those of several gates.
_MIN_ID = 6


class NoSuchGate(SluiceError):
    """Nothing was checked by that name, or several things were."""


def gates_named(ledger: Ledger, name: str) -> list[Gate]:
    """Return the gates of the run `dag_id/run_id` or `run_id`, or the one gate whose id begins so.

    Raises NoSuchGate, with what may have been meant.
    """
    if found := quality.of_run(ledger, name):
        return found
    if found := quality.of_run_id(ledger, name):
        return _of_one(name, found, sorted({gate.run for gate in found}))
    if len(name) >= _MIN_ID and (found := quality.by_id_start(ledger, name)):
        return _of_one(name, found, [gate.id for gate in found])
    raise NoSuchGate(f"No quality gate has checked {name}: {_meant(ledger, name)}")


def _of_one(name: str, found: list[Gate], choice: list[str]) -> list[Gate]:
    if len(choice) > 1:
        raise NoSuchGate(f"{name} may be any of these, say which: {', '.join(choice)}")
    return found


def _meant(ledger: Ledger, name: str) -> str:
    runs = quality.newest_runs(ledger, _RUNS)
    # Somebody who leaves the DAG's id out is compared with what they typed.
    names = {run if "/" in name else run.partition("/")[2]: run for run in reversed(runs)}
    close = [names[one] for one in get_close_matches(name, names, _SHOWN, 0.6)]
    if close:
        return f"do you mean {' or '.join(close)}?"
    return "`sluice quality list` shows the newest gates."

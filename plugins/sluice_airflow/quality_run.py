"""What quality gates and DAG runs have in common: a person's word given with a run, and what a run tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from sluice_airflow.dag_run import run_type
from sluice_airflow.listeners.run_note import NOTE_KEY

if TYPE_CHECKING:
    from sluice.ledger.quality import Gate
    from sluice.quality.gate import Override

OVERRIDE = "override_quality"
# Paths of reports that an XCom names; the ledger has all.
_REPORTS = 20
# Lines of the run's note.
_NOTED = 3


def override_param() -> dict[str, Param]:
    """Return the DAG param with which a person lets one run pass its gates."""
    return {
        OVERRIDE: Param(
            None,
            type=["null", "string"],
            maxLength=1000,
            title="Override the quality gate",
            description="Why this run may go on even if critical expectations fail; it is recorded with your"
            " name. Empty: a failure stops it.",
        )
    }


def override_of(context: Mapping[str, Any]) -> Override | None:
    """Return the word given with a run that its gates shall not stop it, and by whom; None without a reason.

    Nobody speaks for a scheduled run: it has none.
    """
    from sluice.quality.gate import Override

    reason = str((context.get("params") or {}).get(OVERRIDE) or "").strip()
    if not reason or run_type(context) == "scheduled":
        return None
    return Override(by=context["dag_run"].triggering_user_name or "somebody unnamed", reason=reason)


def summary(gates: Sequence[Gate]) -> dict[str, Any]:
    """Return what became of a run's gates as an XCom holds it: counts, and where the reports are."""
    return {
        "gates": len(gates),
        **Counter(gate.state for gate in gates),
        "rows": sum(gate.rows for gate in gates),
        "sampled": sum(gate.sampled for gate in gates),
        "expectations": sum(len(gate.results) for gate in gates),
        "failed": sum(gate.failed for gate in gates),
        "warnings": sum(gate.warnings for gate in gates),
        "seconds": round(sum(gate.seconds for gate in gates), 1),
        "reports": [gate.report for gate in gates if gate.report][:_REPORTS],
    }


def leave_note(context: Mapping[str, Any], gates: Sequence[Gate]) -> None:
    """Leave lines for the run's note about the gates that did not simply pass."""
    from sluice.quality.results import Result, sentence

    told = [gate for gate in gates if gate.state != "passed"]
    lines = [
        f"Quality gate of {gate.unit} of {gate.name}: {gate.state}"
        f" ({sentence([Result.from_json(result) for result in gate.results])})."
        for gate in told[:_NOTED]
    ]
    if len(told) > _NOTED:
        lines.append(f"And {len(told) - _NOTED} more.")
    if lines:
        lines.append(f"`sluice quality show {told[0].run}` shows them.")
        context["ti"].xcom_push(key=NOTE_KEY, value=" ".join(lines))

"""The page of the quality gates: what waits for a person, what was checked last, and each gate's report.

It only shows, and shows the ledger's record as it is now: a report in the lake says the same as of its last
check or decision. Nobody sees a gate of a DAG that Airflow does not let them see.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, get_user
from airflow.models.dag import DagModel
from airflow.sdk.exceptions import AirflowNotFoundException
from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse

from sluice.errors import SluiceError
from sluice_airflow.hooks.sluice import SluiceHook

if TYPE_CHECKING:
    from sluice.ledger import Ledger
    from sluice.ledger.quality import Gate

# As many gates as the list shows beside those that are held.
_NEWEST = 50
_HEADS = ("gate", "verdict", "rows", "failed, warned", "checked (UTC)", "held until (UTC)")

# Without its dependency a page would be public; the pages that FastAPI adds by itself do not have it.
app = FastAPI(dependencies=[Depends(get_user)], docs_url=None, redoc_url=None, openapi_url=None)


@app.get("/", response_class=HTMLResponse)
def list_gates(request: Request, user: GetUserDep, run: str | None = None) -> HTMLResponse:
    """Show what is held and the newest gates, or all of one run."""
    from sluice.ledger import quality

    ledger = _ledger()
    seen = get_auth_manager().get_authorized_dag_ids(user=user)
    root = request.scope["root_path"]
    if run is not None:
        lists = {f"Quality gates of {run}": quality.of_run(ledger, run)}
    else:
        lists = {
            "Held by a quality gate": quality.held(ledger),
            "Newest quality gates": quality.newest(ledger, _NEWEST),
        }
    body = [
        line
        for title, gates in lists.items()
        for line in _table(title, [gate for gate in gates if _dag_id(gate) in seen], root)
    ]
    return _html("Quality gates", body)


@app.get("/{gate_id}", response_class=HTMLResponse)
def show_report(gate_id: str, user: GetUserDep) -> HTMLResponse:
    """Show one gate's report."""
    from sluice.ledger import quality
    from sluice.quality.report import render

    gate = quality.by_id(_ledger(), gate_id)
    # What somebody may not see is not there for them: the answer does not tell the two apart.
    if gate is None or not _may_see(gate, user):
        return _sentence(404, "There is no quality gate of this id, or you may not see its DAG.")
    return _response(render(gate))


@app.exception_handler(SluiceError)
@app.exception_handler(AirflowNotFoundException)
def say_why(request: Request, error: Exception) -> HTMLResponse:
    """Answer with what a person can do about it: the ledger is not there, or not to be reached."""
    return _sentence(503, str(error))


def _ledger() -> Ledger:
    return SluiceHook().ledger


def _dag_id(gate: Gate) -> str:
    return gate.run.partition("/")[0]


def _may_see(gate: Gate, user: GetUserDep) -> bool:
    dag_id = _dag_id(gate)
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return bool(get_auth_manager().is_authorized_dag(method="GET", details=details, user=user))


def _table(title: str, gates: Sequence[Gate], root: str) -> Iterable[str]:
    from sluice.quality.report import text

    yield f"<h2>{text(title)} ({len(gates):,})</h2>"
    if not gates:
        return
    yield f"<table><tr>{''.join(f'<th>{head}</th>' for head in _HEADS)}</tr>"
    for gate in gates:
        yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in _cells(gate, root))}</tr>"
    yield "</table>"


def _cells(gate: Gate, root: str) -> Iterable[str]:
    from sluice.quality.report import COLOURS, text

    name = f"{text(gate.pipeline)} {text(gate.name)}: {text(gate.unit)}"
    yield f'<a href="{text(root)}/{text(gate.id)}">{name}</a><p class="dim">{text(gate.run)}</p>'
    yield f'<b class="{COLOURS[gate.state]}">{text(gate.state)}</b>'
    yield f"{gate.rows:,}"
    yield f"{gate.failed:,}, {gate.warnings:,}"
    yield f"{gate.checked_at:%Y-%m-%d %H:%M:%S}"
    yield f"{gate.held_until:%Y-%m-%d %H:%M}" if gate.state == "held" and gate.held_until else ""


def _sentence(status: int, sentence: str) -> HTMLResponse:
    from sluice.quality.report import text

    return _html("Quality gates", [f"<p>{text(sentence)}</p>"], status)


def _html(title: str, body: Iterable[str], status: int = 200) -> HTMLResponse:
    from sluice.quality.report import page, text

    return _response(page(title, [f"<h1>{text(title)}</h1>", *body]), status)


def _response(html: str, status: int = 200) -> HTMLResponse:
    from sluice.quality.report import CONTENT_SECURITY_POLICY

    headers = {
        # Airflow shows the page in a frame of its own.
        "Content-Security-Policy": f"{CONTENT_SECURITY_POLICY}; frame-ancestors 'self'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
    return HTMLResponse(html, status, headers)

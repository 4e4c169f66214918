"""The page as the API server serves it: Airflow's own app, with the plugin, its login and its permissions."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from fresh import fresh_ledger
from gates import RUN, a_gate, held

from sluice.ledger import Ledger, quality
from sluice.quality.advice import steps
from sluice.quality.report import render

PAGE = "/sluice/quality/"
DAG_ID = RUN.partition("/")[0]


@pytest.fixture(scope="module")
def api_server(airflow_db: str) -> Any:
    """Airflow's app, where the DAG of the gates is known."""
    from airflow.api_fastapi.app import create_app
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session
    from fastapi.testclient import TestClient

    with create_session() as session:
        session.merge(DagBundleModel(name="pages"))
        session.flush()
        session.merge(DagModel(dag_id=DAG_ID, bundle_name="pages", fileloc="x"))
    with TestClient(create_app(apps="core"), base_url="http://testserver") as client:
        yield client


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    path = tmp_path / "ledger.db"
    connection = json.dumps({"conn_type": "sqlite", "host": str(path)})
    monkeypatch.setenv("AIRFLOW_CONN_SLUICE_LEDGER", connection)
    return fresh_ledger(path)


@pytest.fixture
def get(api_server):
    """Ask for a path of the page as a user of this role; as nobody with None."""

    def ask(path: str = "", role: str | None = "viewer", **options: Any) -> Any:
        headers = {} if role is None else {"Authorization": f"Bearer {_token(role)}"}
        return api_server.get(f"{PAGE}{path}", headers=headers, **options)

    return ask


def _token(role: str) -> str:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    user = SimpleAuthManagerUser(username=role, role=None if role == "stranger" else role)
    return get_auth_manager().generate_jwt(user)


@pytest.mark.parametrize("path", ["", "?run=x", "0" * 32, "docs", "openapi.json", "redoc"])
def test_nobody_gets_in_without_airflows_login(get, ledger, path):
    gate = held(ledger)
    answer = get(path.replace("0" * 32, gate.id), role=None)
    assert answer.status_code == 401
    assert gate.id not in answer.text


def test_a_session_of_the_ui_is_let_in_by_its_cookie(api_server, ledger):
    api_server.cookies.set("_token", _token("viewer"))
    answer = api_server.get(PAGE)
    api_server.cookies.clear()
    assert answer.status_code == 200


def test_a_report_is_that_of_the_ledger_now(get, ledger):
    gate = held(ledger)
    answer = get(gate.id)
    assert answer.status_code == 200
    assert answer.text == render(gate)
    released = quality.release(ledger, gate, "ann", "right")
    assert get(gate.id).text == render(released)


def test_a_page_may_load_nothing_and_run_nothing(get, ledger):
    for answer in (get(held(ledger).id), get(), get("unknown")):
        policy = answer.headers["Content-Security-Policy"].split("; ")
        assert policy[:2] == ["default-src 'none'", "style-src 'unsafe-inline'"]
        assert "frame-ancestors 'self'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("path", ["0" * 32, "%2e%2e%2fetc%2fpasswd", "_quality%2fx.html", "<script>", "docs"])
def test_what_is_not_there_is_said(get, ledger, path):
    answer = get(path)
    assert answer.status_code == 404
    assert "<script>" not in answer.text


def test_an_unknown_id_is_answered_with_a_sentence(get, ledger):
    assert "There is no quality gate of this id" in get("0" * 32).text


def test_nobody_sees_the_gates_of_dags_that_airflow_hides(get, ledger):
    gate = held(ledger)
    assert get(gate.id, role="stranger").text == get("0" * 32).text
    assert get(gate.id, role="stranger").status_code == 404
    assert gate.id not in get(role="stranger").text
    assert gate.id in get().text
    other = held(ledger, run="unknown_dag/run")
    assert other.id not in get().text


def test_the_list_shows_what_is_held_before_what_is_newest(get, ledger):
    passed = quality.record(ledger, a_gate(unit="hour 1", state="passed"), 72)
    waiting = held(ledger, unit="hour 2")
    text = get().text
    before, _, after = text.partition("Newest quality gates (2)")
    assert "Held by a quality gate (1)" in before
    assert waiting.id in before
    assert passed.id not in before
    assert f'href="{PAGE}{passed.id}"' in after
    assert f"{waiting.held_until:%Y-%m-%d %H:%M}" in before


def test_the_list_of_a_run_has_its_gates_only(get, ledger):
    mine = held(ledger, unit="hour 1")
    other = held(ledger, unit="hour 1", run=f"{DAG_ID}/another")
    text = get("", params={"run": RUN}).text
    assert mine.id in text
    assert other.id not in text


def test_names_are_escaped(get, ledger):
    bad = "<script>alert(1)</script>"
    held(ledger, unit=bad, run=f"{DAG_ID}/{bad}")
    for answer in (get(), get("", params={"run": f"{DAG_ID}/{bad}"}), get("", params={"run": bad})):
        assert "<script" not in answer.text


def test_the_page_only_shows(api_server, ledger):
    headers = {"Authorization": f"Bearer {_token('admin')}"}
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert api_server.request(method, f"{PAGE}{held(ledger).id}", headers=headers).status_code == 405


def test_a_ledger_that_is_not_there_is_said(get, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_SLUICE_LEDGER", raising=False)
    answer = get()
    assert answer.status_code == 503
    assert "sluice_ledger" in answer.text
    unreachable = {
        "conn_type": "postgres",
        "host": "127.0.0.1",
        "port": 1,
        "login": "a",
        "password": "secret-1",
    }
    monkeypatch.setenv("AIRFLOW_CONN_SLUICE_LEDGER", json.dumps(unreachable))
    answer = get()
    assert answer.status_code == 503
    assert "does not answer" in answer.text
    assert "secret-1" not in answer.text


def test_the_ui_has_the_page_under_browse(api_server):
    headers = {"Authorization": f"Bearer {_token('admin')}"}
    plugins = api_server.get("/api/v2/plugins", headers=headers).json()["plugins"]
    (ours,) = [plugin for plugin in plugins if plugin["name"] == "sluice"]
    (view,) = ours["external_views"]
    assert (view["href"], view["category"]) == ("sluice/quality/", "browse")
    assert [one["url_prefix"] for one in ours["fastapi_apps"]] == [PAGE.rstrip("/")]


def test_airflow_knows_the_commands_that_a_report_advises():
    """Its own parser reads them, so that a change of its options is noticed here."""
    from airflow.cli.cli_parser import get_parser

    commands = [step.command for step in steps(a_gate()) if (step.command or "").startswith("airflow")]
    read = [get_parser().parse_args(shlex.split(command)[1:]) for command in commands]
    assert [(one.dag_id, one.run_id, one.only_failed, one.yes) for one in read] == [
        (DAG_ID, RUN.partition("/")[2], only_failed, True) for only_failed in (True, False)
    ]

"""`sluice cohort preview`: size, ten members, the query, and what was read."""

import json
from datetime import timedelta

import pytest
from click.testing import CliRunner
from cohort_config import write_cohort, write_cohort_config
from cohort_events import NOON, add_events
from fresh import fresh_ledger
from lake_staging import stage
from sqlalchemy import make_url

from sluice.cli import cli
from sluice.lake import LoadRequest, load


@pytest.fixture
def preview(tmp_path, lake):
    """Preview a cohort that is written first."""
    folder = tmp_path / "config"
    write_cohort_config(folder, lake=lake.uri, bucket="nowhere")

    def run(id, *arguments, **cohort):
        write_cohort(folder, id, **cohort)
        base = ["cohort", "--config", str(folder), "--ledger", f"sqlite:///{tmp_path}/ledger.db"]
        return CliRunner().invoke(cli, [*base, "preview", id, *arguments])

    run.folder = folder
    return run


def test_a_definition(preview, lake):
    rows = [
        {"amplitude_id": n, "user_id": f"user-{n}", "user_properties": {"plan": "gold"}} for n in range(1, 13)
    ]
    add_events(lake, rows)
    add_events(lake, [{"amplitude_id": 50, "server_upload_time": NOON - timedelta(days=9)}])
    definition = {"did": {"event": "tested", "last_days": 3}}
    done = preview("vip", "--at", "2013-01-03", definition=definition, properties=["plan"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("vip: The vip, project 187520, as of 2013-01-03 00:00:00 UTC\n")
    assert (
        "count(*) FILTER (event_type = 'tested' AND server_upload_time >= $as_of - INTERVAL 3 DAY)"
        in done.output
    )
    assert "12 members, 10 of them" in done.output
    assert "user-10" in done.output
    assert '"gold"' in done.output
    assert "user-11" not in done.output
    assert "Read: 1 of the lake's 2 data files of events (version 2), of these the columns" in done.output
    # Now is long after.
    assert "0 members" in preview("vip", definition=definition).output


def test_a_file_of_ids(preview, lake, tmp_path):
    ledger = fresh_ledger(tmp_path / "ledger.db")
    load(lake, ledger, LoadRequest(187520, "test", [stage(lake, "a.csv", ["ann"], user=str)]))
    (preview.folder / "cohorts").mkdir()
    (preview.folder / "cohorts" / "vips.csv").write_text("user_id\nann\nann\nbob\n")
    done = preview("vip", ids_file="vips.csv")
    assert done.exit_code == 0, done.output
    assert "1 members" in done.output
    assert "1 lines name nobody known, 1 a member again:" in done.output
    assert "  line 4: bob: nobody in the lake has this user_id" in done.output


def test_a_query_on_postgres(preview, postgres_url, monkeypatch):
    url = make_url(postgres_url)
    connection = {
        "conn_type": "postgres",
        "host": url.host or url.query.get("host"),
        "login": url.username,
        "password": url.password,
        "port": url.port or url.query.get("port"),
        "schema": url.database,
    }
    sql = "SELECT 7 AS amplitude_id, 'at ' || $as_of::date AS user_id"
    refused = preview("vip", sql=sql, connection="warehouse")
    assert isinstance(refused.exception, Exception)
    assert "AIRFLOW_CONN_WAREHOUSE is not set: a query is previewed on a PostgreSQL" in str(refused.exception)
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    done = preview("vip", "--at", "2013-01-03T12:00+00:00", sql=sql, connection="warehouse")
    assert done.exit_code == 0, done.output
    assert "at 2013-01-03" in done.output


def test_what_is_asked_wrongly(preview):
    assert "is no time such as 2013-01-03T14:00 (UTC)" in preview("vip", "--at", "noon").output
    done = preview("vip", sql="SELECT 1")
    assert "cohorts/vip.yaml: cohort vip: the query does not return the column" in str(done.exception)

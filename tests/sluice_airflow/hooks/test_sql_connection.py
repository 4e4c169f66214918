"""The cursor of an Airflow connection: a real PostgreSQL, and what is said of a connection that has none."""

import json

import pytest
from sqlalchemy.engine import make_url

from sluice.errors import SluiceError, TransientError
from sluice_airflow.hooks.sql_connection import sql_cursor


@pytest.fixture
def connect(monkeypatch):
    def connect(**settings):
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(settings))

    return connect


def test_a_query_runs_on_the_connections_database(connect, postgres_url):
    url = make_url(postgres_url)
    connect(conn_type="postgres", login=url.username, schema=url.database, host=url.query["host"])
    with sql_cursor("warehouse") as cursor:
        cursor.execute("SELECT current_database(), n FROM generate_series(1, 3) AS n")
        assert cursor.fetchall() == [(url.database, n) for n in (1, 2, 3)]


def refusal(connection="warehouse"):
    """Return the error with which the block is not even entered."""
    with pytest.raises(SluiceError) as caught, sql_cursor(connection):
        pytest.fail("there is a cursor")
    assert "secret" not in str(caught.value)
    return caught.value


def test_a_connection_that_there_is_not():
    assert "Airflow has no connection nowhere: add it" in str(refusal("nowhere"))


def test_a_connection_that_runs_no_sql(connect):
    connect(conn_type="aws", login="a", password="secret-key")
    assert "of the type 'aws', which runs no SQL" in str(refusal())


def test_a_connection_whose_provider_is_not_installed(connect):
    connect(conn_type="snowflake", login="a", password="secret-key")
    assert "'snowflake', for which nothing is installed: install" in str(refusal())


def test_a_database_that_does_not_answer_may_answer_later(connect, tmp_path):
    connect(conn_type="postgres", login="a", password="secret-key", host=str(tmp_path))
    error = refusal()
    assert isinstance(error, TransientError)
    assert "connection warehouse cannot be opened: OperationalError" in str(error)

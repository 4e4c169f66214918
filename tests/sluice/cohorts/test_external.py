"""A cohort's query on another engine: for real against PostgreSQL, by both of its drivers."""

from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import psycopg
import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cohort_events import NOON, cohort_of, config_of
from sqlalchemy import make_url

from sluice.cohorts.errors import CohortQueryError
from sluice.cohorts.external import CohortDatabaseUnavailable, open_cursor
from sluice.cohorts.snapshot import take_snapshot
from sluice.lake import Lake

NOWHERE = Lake("/nonexistent")


@pytest.fixture(params=[psycopg, psycopg2], ids=["psycopg", "psycopg2"])
def connection(request, postgres_url):
    url = make_url(postgres_url)
    place = {"host": url.host, "port": url.port, "user": url.username, "password": url.password}
    facts = {name: value for name, value in place.items() if value is not None} | dict(url.query)
    with closing(request.param.connect(dbname=url.database, **facts)) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'America/New_York'")
            cursor.execute(
                "CREATE TABLE flights (tail text, number bigint, late numeric, at timestamptz, extra jsonb)"
            )
        connection.commit()
        yield connection


@pytest.fixture
def members(connection, tmp_path):
    def take(cohort, as_of=NOON, **how):
        with open_cursor(connection) as cursor:
            snapshot = take_snapshot(
                cohort, config_of(cohort, **how), NOWHERE, as_of, tmp_path / "s.parquet", sql_cursor=cursor
            )
        return snapshot, pq.read_table(snapshot.path).to_pylist()

    return take


def fill(connection, rows):
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO flights VALUES (%s, %s, %s, %s, %s)", rows)
    connection.commit()


def on_postgres(sql, **settings):
    return cohort_of(sql=sql, connection="warehouse", **settings)


def test_the_time_is_a_parameter_and_the_rest_of_the_text_stays(connection, members):
    fill(
        connection,
        [
            ("N1", 1, 10, NOON - timedelta(days=3), None),
            ("N1", 1, 20, NOON - timedelta(seconds=1), None),
            ("N2", 2, 30, NOON, None),
            ("N3", 3, 40, NOON - timedelta(days=9), None),
        ],
    )
    cohort = on_postgres(
        """
        SELECT number AS amplitude_id, tail AS user_id, sum(late) AS late, '$as_of 100%' AS note -- $as_of; 5%
        FROM flights WHERE at < $as_of AND at >= $as_of - INTERVAL '7 days' AND tail LIKE 'N%'
        GROUP BY tail, number
        """,
        properties=["late", "note"],
    )
    snapshot, rows = members(cohort)
    assert rows == [{"amplitude_id": 1, "user_id": "N1", "late": 30.0, "note": "$as_of 100%"}]
    assert snapshot.sql == cohort.sql
    later = members(cohort, NOON + timedelta(seconds=1))[1]
    assert [row["user_id"] for row in later] == ["N1", "N2"]


def test_types_and_the_order_of_columns(connection, members, tmp_path):
    expected = {
        "text": ("'a'::text", pa.string(), "a"),
        "no_value": ("NULL::text", pa.string(), None),
        "flag": ("true", pa.bool_(), True),
        "small": ("1::smallint", pa.int64(), 1),
        "number": ("1.5::numeric", pa.float64(), 1.5),
        "nan": ("'NaN'::float8", pa.float64(), None),
        "day": ("DATE '2013-01-02'", pa.date32(), date(2013, 1, 2)),
        "instant": (
            "TIMESTAMPTZ '2013-01-01 19:00:00-05'",
            pa.timestamp("us", "UTC"),
            datetime(2013, 1, 2, tzinfo=UTC),
        ),
        "bare": ("TIMESTAMP '2013-01-02'", pa.timestamp("us", "UTC"), datetime(2013, 1, 2, tzinfo=UTC)),
        "uuid": ("'3e702190-9dcb-483a-94d8-58e93ce161de'::uuid::text", pa.string(), None),
        "object": ("""'{"a": [1, "é"]}'::jsonb""", pa.json_(), '{"a": [1, "é"]}'),
        "list": ("ARRAY[1, 2]", pa.json_(), "[1, 2]"),
    }
    selected = ", ".join(f'{sql} AS "{name}"' for name, (sql, _, _) in reversed(expected.items()))
    cohort = on_postgres(
        f'SELECT {selected}, \'\' AS "USER_ID", 5::numeric AS "AMPLITUDE_ID"', properties=list(expected)
    )
    snapshot, rows = members(cohort)
    expected["uuid"] = (None, pa.string(), "3e702190-9dcb-483a-94d8-58e93ce161de")
    assert rows == [{"amplitude_id": 5, "user_id": None} | {name: one[2] for name, one in expected.items()}]
    schema = pq.read_schema(snapshot.path)
    assert {name: schema.field(name).type for name in expected} == {n: one[1] for n, one in expected.items()}


def test_many_rows_come_in_pieces_from_the_server(connection, members):
    sql = (
        "SELECT i AS amplitude_id, 'u' || i AS user_id, CASE WHEN i > 15000 THEN i END AS p"
        " FROM generate_series(25000, 1, -1) i"
    )
    snapshot, rows = members(on_postgres(sql, properties=["p"]))
    assert snapshot.members == 25_000
    assert (rows[0]["p"], rows[-1]) == (None, {"amplitude_id": 25_000, "user_id": "u25000", "p": 25_000})


def test_a_cursor_stays_at_the_server_and_outside_of_a_transaction_too(connection):
    connection.autocommit = True
    with open_cursor(connection) as cursor:
        cursor.execute("SELECT generate_series(1, 5)")
        assert len(cursor.fetchmany(2)) == 2
        with connection.cursor() as other:
            other.execute("SELECT count(*) FROM pg_cursors WHERE name = 'sluice_cohort'")
            assert other.fetchone()[0] == 1


def test_nobody_is_a_fine_answer(members):
    snapshot, rows = members(
        on_postgres("SELECT 1 AS amplitude_id, 'u' AS user_id, 5 AS p WHERE false", properties=["p"])
    )
    assert (rows, snapshot.members) == ([], 0)


def test_a_portfolio(members):
    sql = "VALUES (1, 10, 'u', 'a'), (2, 20, 'u', 'b')"
    cohort = on_postgres(
        f"SELECT * FROM ({sql}) AS rows (app, amplitude_id, user_id, p)", properties=["p"], project=4
    )
    assert members(cohort, sources={2: "Second", 1: "First"})[1] == [
        {"amplitude_id": 20, "user_id": "u", "p (Second)": "b", "p (First)": "a"}
    ]


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ("1 AS amplitude_id", "does not return the column 'user_id'"),
        ("1 AS amplitude_id, 'u' AS user_id, 2 AS more", "returns the column 'more' too"),
        ("1 AS amplitude_id, 2 AS user_id", "'user_id' is whole number, not text: cast it"),
        ("'1' AS amplitude_id, 'u' AS user_id", "'amplitude_id' is text, not whole number: cast it"),
        ("1.5 AS amplitude_id, 'u' AS user_id", "'amplitude_id' has a value that is no number"),
        ("10::numeric ^ 20 AS amplitude_id, 'u' AS user_id", "'amplitude_id' has a value that is no"),
        ("NULL::bigint AS amplitude_id, 'u' AS user_id", "whose amplitude_id is null"),
        ("nothing AS amplitude_id, 'u' AS user_id", 'column "nothing" does not exist'),
        ("'ann'::text::bigint AS amplitude_id, 'u' AS user_id", "syntax for type bigint: '…'"),
    ],
)
def test_what_is_refused(members, columns, sentence):
    with pytest.raises(CohortQueryError, match=rf"cohorts/test\.yaml: cohort test: .*{sentence}"):
        members(on_postgres(f"SELECT {columns}"))


def test_bytes_are_refused(members):
    with pytest.raises(CohortQueryError, match=r"'p' has values of the type .*, which no receiver reads"):
        members(on_postgres("SELECT 1 AS amplitude_id, 'u' AS user_id, 'x'::bytea AS p", properties=["p"]))


def test_a_database_that_goes_away_is_no_mistake_of_the_query(connection, members):
    cohort = on_postgres("SELECT pg_terminate_backend(pg_backend_pid())::text AS user_id, 1 AS amplitude_id")
    with pytest.raises(CohortDatabaseUnavailable, match="warehouse failed at the query of cohort test"):
        members(cohort)


class Rows(SimpleNamespace):
    """A cursor of a driver that answers as it was told."""

    def execute(self, *_):
        pass

    def fetchmany(self, _):
        rows, self.pieces = (self.pieces[:1] or [[]])[0], self.pieces[1:]
        return rows


Rows.__module__ = "sqlite3"


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([[(1, "a", None)], [(2, "b", 5)], [(3, "c", Decimal("0.5"))]], [None, 5.0, 0.5]),
        ([[{"amplitude_id": 1, "user_id": "a", "p": "x"}]], ["x"]),
        ([[(1, "a", 1)], [(2, "b", "x")]], "whole number in some rows and text in others"),
        ([[(1, "a", True), (2, "b", 1)]], "in some rows and .* in others"),
    ],
)  # fmt: skip
def test_types_that_only_later_rows_show(tmp_path, pieces, expected):
    cohort = on_postgres("SELECT 1", properties=["p"])
    cursor = Rows(pieces=pieces, description=[("amplitude_id",), ("user_id",), ("p",)])

    def take():
        path = tmp_path / "s.parquet"
        take_snapshot(cohort, config_of(cohort), NOWHERE, NOON, path, sql_cursor=cursor)
        return pq.read_table(path)["p"].to_pylist()

    if isinstance(expected, str):
        with pytest.raises(CohortQueryError, match=expected):
            take()
    else:
        assert take() == expected


def test_without_airflow_there_is_no_connection(tmp_path):
    cohort = on_postgres("SELECT 1")
    with pytest.raises(CohortQueryError, match="Airflow connection warehouse, which only a task of Airflow"):
        take_snapshot(cohort, config_of(cohort), NOWHERE, NOON, tmp_path / "s.parquet")

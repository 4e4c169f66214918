"""What a cohort's SQL may be, refused with a sentence before anything is read; and what the lock refuses."""

import pytest
from cohort_events import NOON, cohort_of

from sluice.cohorts.engine import connect, lock, offer
from sluice.cohorts.errors import CohortQueryError
from sluice.cohorts.statement import checked
from sluice.cohorts.tables import TABLES, Events

WHO = "SELECT amplitude_id, user_id FROM events"


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("SELEC 1", "no SQL that DuckDB reads"),
        ("-- nothing", "must be one SELECT"),
        (f"{WHO}; {WHO}", "must be one SELECT"),
        ("INSERT INTO events SELECT 1", "must be one SELECT"),
        ("CREATE TABLE x AS SELECT 1", "must be one SELECT"),
        ("ATTACH '/etc/passwd'", "must be one SELECT"),
        ("COPY (SELECT 1) TO '/etc/x'", "must be one SELECT"),
        ("INSTALL httpfs", "must be one SELECT"),
        ("LOAD httpfs", "must be one SELECT"),
        ("SET memory_limit = '100GB'", "must be one SELECT"),
        ("PRAGMA database_list", "must be one SELECT"),
        ("CALL pragma_version()", "must be one SELECT"),
        ("EXPLAIN ANALYZE SELECT 1", "must be one SELECT"),
        ("PIVOT events ON event_type USING count(*)", "must be one SELECT"),
        ("DESCRIBE events", "DESCRIBE, SHOW and SUMMARIZE"),
        ("SELECT * FROM (SHOW TABLES)", "DESCRIBE, SHOW and SUMMARIZE"),
        ("SELECT * FROM read_csv('/etc/passwd')", r"reads from read_csv\(…\)"),
        ("SELECT * FROM '/etc/passwd'", "there is no table /etc/passwd"),
        ("SELECT * FROM 's3://bucket/x.parquet'", "there is no table s3://bucket/x.parquet"),
        ("SELECT * FROM arrow_scan(1, 2, 3)", r"reads from arrow_scan\(…\)"),
        ("SELECT * FROM query('SELECT 1')", r"reads from query\(…\)"),
        ("SELECT (SELECT count(*) FROM glob('/etc/*'))", r"reads from glob\(…\)"),
        ("WITH a AS (FROM duckdb_secrets()) SELECT * FROM a", r"reads from duckdb_secrets\(…\)"),
        ("SELECT * FROM information_schema.tables", "there is no table information_schema.tables"),
        ("SELECT * FROM main.events", "there is no table main.events"),
        ("SELECT * FROM users", "there is no table users yet: the properties of a user are in"),
        ("SELECT * FROM (WITH x AS (SELECT 1) FROM x), other", "there is no table other"),
        (f"{WHO} WHERE event_time > now()", r"time of day \(now\).*use \$as_of"),
        (f"{WHO} WHERE event_time > current_timestamp", r"time of day \(current_timestamp\)"),
        (f"{WHO} WHERE random() < 0.1", r"throws dice \(random\)"),
        (f"{WHO} TABLESAMPLE 10%", "TABLESAMPLE"),
        ("SELECT current_setting('temp_directory')", "tells of the engine"),
        (f"{WHO} WHERE event_time > $since", r"parameter \$since: the only one is \$as_of"),
        (f"{WHO} WHERE amplitude_id = ?", r"the only one is \$as_of"),
        ("SELECT 1" + " " * 100_000, "more than 100,000 characters"),
    ],
)
def test_what_is_refused(sql, sentence):
    with pytest.raises(CohortQueryError, match=rf"cohorts/test\.yaml: cohort test: .*{sentence}"):
        checked(cohort_of(sql=sql), sql, TABLES)


@pytest.mark.parametrize(
    ("sql", "text", "as_of"),
    [
        (WHO, WHO, False),
        (f"{WHO} ; -- all; of them", f"{WHO}   -- all; of them", False),
        (f"WITH e AS ({WHO} WHERE user_id != ';') FROM e", None, False),
        ("SELECT * FROM events, unnest([1, 2]) WHERE event_time < $as_of", None, True),
        ("SELECT EVENTS.amplitude_id FROM EVENTS", None, False),
        # `uuid` is a column of events, and a function only with brackets.
        ("SELECT amplitude_id, max(uuid) AS last FROM events GROUP BY amplitude_id", None, False),
    ],
)  # fmt: skip
def test_what_is_taken(sql, text, as_of):
    statement = checked(cohort_of(sql=sql), sql, TABLES)
    assert statement.text == (text or sql)
    assert statement.parameters(NOON) == ({"as_of": NOON} if as_of else {})


@pytest.mark.parametrize("depth", [900, 3000])
def test_a_query_that_is_nested_too_deeply_is_refused(depth):
    sql = "SELECT " + "abs(" * depth + "1" + ")" * depth
    with pytest.raises(CohortQueryError, match=r"no SQL|nested too deeply"):
        checked(cohort_of(sql=sql), sql, TABLES)


@pytest.mark.parametrize(
    "sql",
    [
        "ATTACH '{folder}/x.db'",
        "COPY (SELECT 1) TO '{folder}/x.csv'",
        "SELECT * FROM read_text('{folder}/secret')",
        "SELECT * FROM '{folder}/secret.csv'",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM outside",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET threads = 64",
        "RESET lock_configuration",
        "EXPORT DATABASE '{folder}/all'",
    ],
)
def test_the_engine_is_locked_whatever_reaches_it(sql, tmp_path):
    import duckdb

    (tmp_path / "secret").write_text("secret")
    (tmp_path / "secret.csv").write_text("a\nsecret\n")
    outside = [{"a": 1}]
    with connect() as connection:
        offer(connection, Events.empty(), NOON)
        lock(connection)
        assert connection.execute("SELECT count(*) FROM events").fetchall() == [(0,)]
        with pytest.raises(duckdb.Error):
            connection.execute(sql.format(folder=tmp_path)).fetchall()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret", "secret.csv"]
    assert outside


def test_what_does_not_fit_spills_though_the_engine_is_locked():
    with connect() as connection:
        connection.execute("SET memory_limit = '40MB'")
        lock(connection)
        rows = "SELECT i, row_number() OVER (ORDER BY hash(i)) AS place FROM range(2000000) r(i)"
        assert connection.execute(f"SELECT count(*) FROM ({rows}) WHERE place > i").fetchall()[0][0] > 0

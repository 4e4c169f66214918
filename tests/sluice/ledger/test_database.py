import sqlite3
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from importing import forks
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError

from sluice.ledger import Ledger, LedgerError
from sluice.ledger.database import HEAD, VERSION_TABLE, LedgerUnavailable
from sluice.ledger.migrate import script_directory
from sluice.ledger.tables import counters, leases, metadata


def test_migrations_give_exactly_the_tables_of_the_code(ledger):
    with ledger.begin() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, metadata) == []


def test_the_program_knows_the_newest_migration():
    assert script_directory().get_current_head() == HEAD


def _migrate(url):
    Ledger.open(url)


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def test_four_processes_migrate_at_once(database, request, tmp_path):
    if database == "sqlite":
        url = f"sqlite:///{tmp_path}/ledger.db"
    else:
        url = request.getfixturevalue("postgres_url")
    with ProcessPoolExecutor(4, mp_context=forks()) as pool:
        list(pool.map(_migrate, [url] * 4))
    with Ledger.open(url, migrate=False).begin() as connection:
        assert connection.execute(select(counters)).all() == []


def test_a_new_file_may_be_opened_while_another_process_writes_its_first_table(tmp_path, monkeypatch):
    """Where a file is not in WAL mode yet, SQLite refuses the switch at once instead of waiting."""
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("CREATE TABLE first (x)")
        monkeypatch.setattr("sluice.ledger.database.time.sleep", lambda _: other.execute("COMMIT"))
        ledger = Ledger.open(f"sqlite:///{path}")
        assert not other.in_transaction
    with ledger.begin() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"


def test_a_ledger_newer_than_the_program_is_refused(ledger):
    with ledger.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(LedgerError, match="9999"):
        ledger.migrate()


def test_an_exception_rolls_the_transaction_back(ledger):
    with pytest.raises(IntegrityError), ledger.begin() as connection:
        for _ in range(2):
            connection.execute(insert(counters).values(name="a", next=1))
    with ledger.begin() as connection:
        assert connection.execute(select(counters)).all() == []


def test_the_clock_is_aware_and_runs_within_a_transaction(ledger):
    before = ledger.now()
    assert before.tzinfo is not None
    assert abs(before - datetime.now(UTC)) < timedelta(minutes=1)
    assert ledger.now() >= before


def test_times_come_back_as_they_were_put_in(ledger):
    moment = datetime(2013, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    with ledger.begin() as connection:
        connection.execute(insert(leases).values(name="x", holder="h", acquired_at=moment, expires_at=moment))
        assert connection.execute(select(leases.c.acquired_at)).scalar_one() == moment
        assert connection.execute(select(leases.c.name).where(leases.c.expires_at <= moment)).all()
        assert not connection.execute(select(leases.c.name).where(leases.c.expires_at < moment)).all()


def test_naive_times_are_refused(ledger):
    naive = datetime(2013, 1, 1)
    with pytest.raises(Exception, match="aware"), ledger.begin() as connection:
        connection.execute(insert(leases).values(name="x", holder="h", acquired_at=naive, expires_at=naive))


def test_an_unreachable_server_is_one_clear_error():
    with pytest.raises(LedgerUnavailable, match="sluice_ledger") as caught:
        Ledger.open("postgresql+psycopg2://someone:very-secret@127.0.0.1:1/none")
    assert "very-secret" not in str(caught.value)


def test_a_file_that_stays_locked_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr("sluice.ledger.database._BUSY_SECONDS", 0.01)
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    with ledger.begin(), pytest.raises(LedgerUnavailable, match="locked"):
        ledger.now()


def test_other_databases_are_refused():
    with pytest.raises(LedgerError, match="SQLite or PostgreSQL"):
        Ledger.open("mysql://localhost/x")

"""Opening the ledger: one engine, one way to begin a transaction, one clock, migrations."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, inspect, make_url, select, text
from sqlalchemy.dialects.postgresql import Insert as PostgresqlInsert
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import Insert as SqliteInsert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool, QueuePool

from sluice.errors import SluiceError, TransientError
from sluice.ledger.types import utc_now

VERSION_TABLE = "sluice_version"
# The newest migration in migrations/versions.
HEAD = "0005"
# How long a writer of a SQLite ledger waits for another.
_BUSY_SECONDS = 60.0


class LedgerError(SluiceError):
    """The ledger cannot be used as it is."""


class LedgerUnavailable(TransientError):
    """The ledger's database does not answer."""


class Ledger:
    """The ledger's database, SQLite or PostgreSQL.

    A process keeps one; connections are opened per transaction, so that a forked child never shares one.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def open(cls, url: str | URL, *, migrate: bool = True) -> Ledger:
        """Open the ledger at a SQLAlchemy URL and bring its tables up to date.

        Raises LedgerUnavailable if the database does not answer, LedgerError if its tables are newer than
        this program.
        """
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            engine = sqlite_engine(parsed)
        elif parsed.get_backend_name() == "postgresql":
            engine = create_engine(parsed, poolclass=NullPool, isolation_level="READ COMMITTED")
        else:
            raise LedgerError(
                f"The ledger runs on SQLite or PostgreSQL, not on {parsed.get_backend_name()}:"
                " set the connection sluice_ledger to postgresql+psycopg2://… or sqlite:///…"
            )
        ledger = cls(engine)
        if migrate:
            ledger.migrate()
        return ledger

    @property
    def is_sqlite(self) -> bool:
        """Whether the ledger is a SQLite file, which serves one machine only."""
        return self.engine.dialect.name == "sqlite"

    def insert(self, table: Table) -> SqliteInsert | PostgresqlInsert:
        """Start an INSERT that knows ON CONFLICT; the two dialects spell it alike."""
        return sqlite_insert(table) if self.is_sqlite else postgresql_insert(table)

    @contextmanager
    def pooled(self, connections: int) -> Iterator[Ledger]:
        """Give the same ledger with connections that stay open for the block, for up to so many threads.

        Many small transactions then cost no connection each. Not for a process that forks meanwhile.
        """
        if self.is_sqlite:
            engine = sqlite_engine(self.engine.url, pool_size=connections)
        else:
            engine = create_engine(
                self.engine.url, pool_size=connections, max_overflow=0, isolation_level="READ COMMITTED"
            )
        try:
            yield Ledger(engine)
        finally:
            engine.dispose()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Give a connection in one transaction: committed at the end, rolled back on an exception.

        On SQLite it is BEGIN IMMEDIATE: writers queue instead of failing on a stale snapshot.
        """
        with ExitStack() as stack:
            try:
                connection = stack.enter_context(self.engine.connect())
                stack.enter_context(connection.begin())
            except OperationalError as error:
                raise LedgerUnavailable(
                    f"The ledger at {self.engine.url.render_as_string(hide_password=True)} does not answer:"
                    f" {error.orig}. Check the connection sluice_ledger and that its server runs."
                ) from error
            yield connection

    def now(self) -> datetime:
        """Return the time of the ledger's database, aware UTC: the only clock that instants come from."""
        with self.begin() as connection:
            return now(connection)

    def revision(self) -> str | None:
        """Return the migration at which the tables are, or None if there are none yet."""
        with self.begin() as connection:
            return _revision(connection)

    def migrate(self) -> None:
        """Bring the tables up to date; several processes may do so at once."""
        if self.revision() == HEAD:
            return
        # Alembic costs the better part of a second to import, which every task would pay.
        from sluice.ledger.migrate import upgrade

        with self.begin() as connection:
            upgrade(connection)


def _revision(connection: Connection) -> str | None:
    """Return the migration at which the tables are, or None if there are none yet."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one_or_none()


def now(connection: Connection) -> datetime:
    """Return the database's time within a transaction."""
    return connection.execute(select(utc_now())).scalar_one()


def sqlite_engine(url: URL, pool_size: int | None = None) -> Engine:
    """Return an engine for a SQLite file; with a pool its connections stay open, up to so many."""
    path = url.database
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    pool: dict[str, Any] = (
        {"poolclass": QueuePool, "pool_size": pool_size, "max_overflow": 0}
        if pool_size
        else {"poolclass": NullPool}
    )
    connect_args = {"timeout": _BUSY_SECONDS, "check_same_thread": pool_size is None}
    engine = create_engine(url, connect_args=connect_args, **pool)

    # pysqlite begins transactions by itself, and late; SQLAlchemy's documented way to take that over.
    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, record: Any) -> None:
        connection.isolation_level = None
        _use_wal(connection)
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to WAL; a new file that another process is writing refuses it without waiting."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return

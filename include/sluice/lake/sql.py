"""DuckDB as the embedded SQL engine: memory is bounded, what does not fit spills to disk."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache

import duckdb

MEMORY_LIMIT = "512MB"
# An engine deals out rows to its threads in lots of this size.
_ROWS_PER_THREAD = 122_880

_QUOTED = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|Input: .*", re.DOTALL)


@contextmanager
def connect(memory_limit: str = MEMORY_LIMIT) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give an in-memory DuckDB that spills to a temporary folder of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="sluice-sql-") as spill,
        duckdb.connect(config={"temp_directory": spill, "memory_limit": memory_limit}) as connection,
    ):
        connection.execute("SET enable_progress_bar = false")
        yield connection


def kept_engine() -> duckdb.DuckDBPyConnection:
    """Give a connection, to be closed, to the one engine that this process keeps: of one thread, for sums.

    A new engine costs 10 ms, which is much beside a small load.
    """
    # Not one of before a fork.
    return _kept(os.getpid()).cursor()


def engine_for(rows: int) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
    """Give a connection for so many rows: to the kept engine where they are few, else to a new one.

    In the kept engine only temporary tables are the connection's own, a setting is everybody's, and a file
    that changes may be read as it was: it is not for files.
    """
    return kept_engine() if rows <= _ROWS_PER_THREAD else connect()


@cache
def _kept(process: int) -> duckdb.DuckDBPyConnection:
    # Made only if something ever spills; the engine's default would be in the current folder.
    spill = os.path.join(tempfile.gettempdir(), f"sluice-sql-kept-{process}")
    connection = duckdb.connect(config={"temp_directory": spill, "memory_limit": MEMORY_LIMIT, "threads": 1})
    connection.execute("SET enable_progress_bar = false")
    return connection


def without_values(text: str) -> str:
    """Return a message without what it quotes: a value may be somebody's id, and errors are in logs."""
    return _QUOTED.sub("'…'", text)

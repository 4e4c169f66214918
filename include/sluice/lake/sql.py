"""DuckDB as the embedded SQL engine: memory is bounded, what does not fit spills to disk."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import duckdb

MEMORY_LIMIT = "512MB"

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


@cache
def _kept(process: int) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "threads": 1})


def without_values(text: str) -> str:
    """Return a message without what it quotes: a value may be somebody's id, and errors are in logs."""
    return _QUOTED.sub("'…'", text)

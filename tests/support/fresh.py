"""Empty lakes and ledgers. A ledger is a copy: its migrations took a tenth of a second of every test."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from sqlalchemy import make_url

from sluice.lake import Lake
from sluice.ledger import Ledger
from sluice.ledger.database import sqlite_engine


def fresh_lake(folder: Path) -> Lake:
    """Return an empty lake in a local folder. It is made anew: each has an id of its own."""
    lake = Lake(str(folder))
    lake.create()
    return lake


def fresh_ledger(file: Path) -> Ledger:
    """Return an empty ledger in a new SQLite file, as the migrations leave it; its connections stay open."""
    return Ledger(sqlite_engine(make_url(fresh_ledger_url(file)), pool_size=8))


def fresh_ledger_url(file: Path) -> str:
    """Make such a ledger; return its URL."""
    shutil.copyfile(_migrated(), file)
    return f"sqlite:///{file}"


@cache
def _migrated() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="sluice-ledger-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    Ledger.open(f"sqlite:///{folder}/ledger.db")
    return folder / "ledger.db"

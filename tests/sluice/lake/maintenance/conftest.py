"""A lake on each kind of store, for processes that keep it and load into it at once."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from fresh import fresh_lake, fresh_ledger_url
from sqlalchemy import make_url

from sluice.lake import Lake
from sluice.ledger import Ledger
from sluice.ledger.database import sqlite_engine


@dataclass(frozen=True)
class Where:
    """What a process needs to open a lake and its ledger."""

    uri: str
    options: dict[str, str]
    ledger_url: str

    def open(self) -> tuple[Lake, Ledger]:
        """Open them; the ledger's connections stay open, each of them costs as much as what it is for."""
        engine = sqlite_engine(make_url(self.ledger_url), pool_size=8)
        return Lake(self.uri, self.options), Ledger(engine)


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.integration)])
def where(request: pytest.FixtureRequest, tmp_path) -> Where:
    if request.param == "local":
        return request.getfixturevalue("local")
    uri = f"s3://{request.getfixturevalue('bucket')}/lake"
    options = request.getfixturevalue("s3_store").delta_options()
    Lake(uri, options).create()
    return Where(uri, options, fresh_ledger_url(tmp_path / "ledger.db"))


@pytest.fixture
def local(tmp_path) -> Where:
    return Where(fresh_lake(tmp_path / "lake").uri, {}, fresh_ledger_url(tmp_path / "ledger.db"))

"""Fixtures of the library's tests: a ledger on both databases, a lake on both kinds of store."""

from __future__ import annotations

import pytest
from fresh import fresh_lake, fresh_ledger_url

from sluice.lake import Lake
from sluice.ledger import Ledger


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def ledger_url(request: pytest.FixtureRequest, tmp_path) -> str:
    """A fresh ledger's URL, on each of the two databases in turn."""
    if request.param == "sqlite":
        return fresh_ledger_url(tmp_path / "ledger.db")
    return request.getfixturevalue("postgres_ledger_url")


@pytest.fixture
def ledger(ledger_url: str) -> Ledger:
    return Ledger.open(ledger_url, migrate=False)


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake = fresh_lake(tmp_path / "lake")
    return lake

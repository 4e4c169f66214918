"""Fixtures of the library's tests: a ledger on both databases, a lake on both kinds of store."""

from __future__ import annotations

import pytest

from sluice.lake import Lake
from sluice.ledger import Ledger


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def ledger_url(request: pytest.FixtureRequest, tmp_path) -> str:
    """A fresh, empty ledger's URL, on each of the two databases in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def ledger(ledger_url: str) -> Ledger:
    return Ledger.open(ledger_url)


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    lake.create()
    return lake

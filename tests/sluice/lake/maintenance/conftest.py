"""A lake on each kind of store, for processes that keep it and load into it at once."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from fresh import fresh_lake, fresh_ledger_url

from sluice.lake import Lake
from sluice.ledger import Ledger


@dataclass(frozen=True)
class Where:
    """What a process needs to open a lake and its ledger."""

    uri: str
    options: dict[str, str]
    ledger_url: str

    def open(self) -> tuple[Lake, Ledger]:
        return Lake(self.uri, self.options), Ledger.open(self.ledger_url, migrate=False)


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

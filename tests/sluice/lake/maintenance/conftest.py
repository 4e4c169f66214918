"""A lake on each kind of store, for processes that keep it and load into it at once."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

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
        place = Where(str(tmp_path / "lake"), {}, f"sqlite:///{tmp_path}/ledger.db")
    else:
        uri = f"s3://{request.getfixturevalue('bucket')}/lake"
        options = request.getfixturevalue("s3_store").delta_options()
        place = Where(uri, options, f"sqlite:///{tmp_path}/ledger.db")
    Ledger.open(place.ledger_url)
    Lake(place.uri, place.options).create()
    return place


@pytest.fixture
def local(tmp_path) -> Where:
    place = Where(str(tmp_path / "lake"), {}, f"sqlite:///{tmp_path}/ledger.db")
    Ledger.open(place.ledger_url)
    Lake(place.uri).create()
    return place

"""Fixtures of the cohorts' tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from cohort_turns import Syncs

from sluice.lake import Lake
from sluice.ledger import Ledger


@pytest.fixture
def cohort_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Syncs:
    """A lake's folder, a ledger, a bucket and a stream; the members are what the test says."""
    made = Syncs(Lake(str(tmp_path / "lake")), Ledger.open(f"sqlite:///{tmp_path}/ledger.db"))
    (tmp_path / "lake").mkdir()
    monkeypatch.setattr("sluice.cohorts.snapshot.take_snapshot", made.take_snapshot)
    return made

"""Fixtures of the cohorts' tests."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cohort_turns import Syncs
from fresh import fresh_ledger
from sqlalchemy import event
from streaming import WaitingTime

from sluice.lake import Lake


@pytest.fixture
def fresh_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Syncs]]:
    """Make lakes' folders, each with a ledger, a bucket and a stream; the members are what the test says.

    The ledgers keep their connections and do not wait for the disk: these tests end no machine.
    """
    with ExitStack() as stack:
        made: list[Syncs] = []

        def make() -> Syncs:
            folder = tmp_path / str(len(made))
            (folder / "lake").mkdir(parents=True)
            ledger = stack.enter_context(fresh_ledger(folder / "ledger.db").pooled(4))
            event.listen(ledger.engine, "connect", _do_not_wait)
            made.append(Syncs(Lake(str(folder / "lake")), ledger))
            monkeypatch.setattr("sluice.cohorts.snapshot.take_snapshot", made[-1].take_snapshot)
            return made[-1]

        yield make


def _do_not_wait(connection: sqlite3.Connection, record: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")


@pytest.fixture
def waiting_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine ends no delivery's budget; what waits does not wait."""
    monkeypatch.setattr("sluice.cohorts.deliver_messages.time", WaitingTime())


@pytest.fixture
def cohort_syncs(fresh_syncs: Callable[[], Syncs]) -> Syncs:
    return fresh_syncs()

"""Sweeps: due at first, after their time, and when asked for; not before."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sluice.ledger import Ledger, sweeps
from sluice.ledger.registry import record_source

DAY = timedelta(days=1)


@pytest.fixture
def source(ledger: Ledger) -> str:
    record_source(ledger, "small", {"bucket": "b"}, "hash", ())
    return "small"


def test_a_source_that_was_never_swept_is_due(ledger: Ledger, source: str) -> None:
    assert sweeps.due(ledger, source, DAY)


def test_it_is_due_again_when_the_time_since_the_last_began_is_over(ledger: Ledger, source: str) -> None:
    sweeps.record(ledger, source, ledger.now() - timedelta(hours=1))
    assert not sweeps.due(ledger, source, timedelta(hours=2))
    assert sweeps.due(ledger, source, timedelta(hours=1))
    record_source(ledger, "small", {"bucket": "b"}, "another hash", ())
    assert not sweeps.due(ledger, source, timedelta(hours=2))


def test_a_sweep_that_began_before_the_request_does_not_answer_it(ledger: Ledger, source: str) -> None:
    began = ledger.now()
    sweeps.request(ledger, source)
    sweeps.record(ledger, source, began)
    assert sweeps.due(ledger, source, DAY)
    sweeps.record(ledger, source, ledger.now() + timedelta(microseconds=1))
    assert not sweeps.due(ledger, source, DAY)

"""Gates as the ledger keeps them, for tests that need one and not what it stands in front of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import update

from sluice.ledger import Ledger, quality
from sluice.ledger.quality import Gate
from sluice.ledger.tables import quality_gates
from sluice.quality.results import Expectation, Result

RUN = "export_hourly__warehouse/scheduled__2013-01-02T13:00:00+00:00"
NULLS = Result(
    Expectation("expect_column_values_to_not_be_null", {"column": "event_time"}), False, "exact", 500, 12
)
CARRIERS = Result(
    Expectation(
        "expect_column_values_to_match_regex",
        {"column": "event_properties.carrier", "regex": "^[A-Z0-9]{2}$"},
        "warning",
        "Two characters, says IATA.",
        configured=True,
    ),
    False,
    "sample",
    200,
    3,
)
UNIQUE = Result(Expectation("expect_column_values_to_be_unique", {"column": "uuid"}), True, "exact", 500, 0)


def a_gate(*results: Result, **facts: Any) -> Gate:
    """Return a held gate of an exported hour, as a check makes it; `facts` replace what they name."""
    results = results or (NULLS, CARRIERS, UNIQUE)
    made = {
        "id": quality.new_id(),
        "pipeline": "export",
        "name": "warehouse",
        "run": RUN,
        "unit": "hour 2013-01-02T12 of project 187520",
        "content": "as it is",
        "state": "held",
        "rows": 500,
        "sampled": 200,
        "failed": 1,
        "warnings": 1,
        "results": [result.to_json() for result in results],
        "report": None,
        "seconds": 0.25,
        "checked_at": datetime(2013, 1, 2, 13, 1, tzinfo=UTC),
        "held_until": None,
        "decided_at": None,
        "decided_by": None,
        "reason": None,
    }
    return Gate(**made | facts)


def held(ledger: Ledger, **facts: Any) -> Gate:
    """Record a held gate."""
    return quality.record(ledger, a_gate(**facts), 72)


def end_time(ledger: Ledger) -> None:
    """Let the time of everything that is held be over."""
    with ledger.begin() as connection:
        connection.execute(
            update(quality_gates)
            .where(quality_gates.c.state == "held")
            .values(held_until=datetime(2013, 1, 3, tzinfo=UTC))
        )

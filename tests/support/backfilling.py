"""Backfills of a destination under test, planned and exported as the DAG's tasks do it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from exporting import Destination

from sluice.exports.backfill import BackfillPlan, BackfillPlanner
from sluice.exports.bucket import Bucket
from sluice.exports.chunk_export import ChunkExporter, raise_for_held
from sluice.exports.chunks import chunks_of
from sluice.exports.gate import raise_for_stopped
from sluice.exports.hour import HourOutcome, Run
from sluice.exports.ranges import HourRange


def plan(
    destination: Destination, hours: HourRange, *, bucket: Bucket | None = None, **how: Any
) -> BackfillPlan:
    """Plan a range; nothing is written unless `close` says so."""
    planner = BackfillPlanner(
        destination.config,
        lake=destination.lake,
        ledger=destination.ledger,
        bucket=bucket or destination.scripted(),
    )
    return planner.plan(hours, **how)


def states(found: BackfillPlan) -> dict[int, str]:
    """Return what the plan says, by the hour's place in the range."""
    return {(hour.hour - found.range.first) // timedelta(hours=1): hour.what for hour in found.hours}


def backfill(
    destination: Destination,
    run: str,
    hours: HourRange,
    *,
    bucket: Bucket | None = None,
    force: bool = False,
    order: Any = "oldest first",
    parallelism: int = 3,
) -> list[HourOutcome]:
    """Run a whole backfill; raises HourHeld or QualityStopped if another writer or a gate held hours."""
    bucket = bucket or destination.scripted()
    forced_before = destination.ledger.now() if force else None
    found = plan(destination, hours, bucket=bucket, forced_before=forced_before, close=True, run=run)
    exporter = ChunkExporter(
        destination.config,
        lake=destination.lake,
        ledger=destination.ledger,
        bucket=bucket,
        run=Run(run, "backfill"),
        parallelism=parallelism,
    )
    outcomes = [
        outcome
        for chunk in chunks_of(found, order, forced_before)
        for outcome in exporter.export(type(chunk).from_json(chunk.to_json()))
    ]
    raise_for_held(outcomes)
    raise_for_stopped(outcomes)
    return outcomes


def done(outcomes: list[HourOutcome]) -> Counter[str]:
    """Count what became of a backfill's hours."""
    return Counter(outcome.action for outcome in outcomes)


def hour(first: datetime, n: int) -> datetime:
    """Return the hour `n` places after the first."""
    return first + n * timedelta(hours=1)

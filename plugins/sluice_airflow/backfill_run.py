"""What the tasks of a backfill share: its destination's parts, and how a plan is shown."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from sluice_airflow.dag_run import run_id
from sluice_airflow.hooks.sluice import SluiceHook
from sluice_airflow.quality_run import override_of

if TYPE_CHECKING:
    from sluice.exports.backfill import BackfillPlan, BackfillPlanner
    from sluice.exports.chunk_export import ChunkExporter

# The XCom of plan_backfill that holds the plan; its return value is what export_chunk is mapped over.
PLAN = "plan"
# Rows of the plan's table that go into the XCom; the log and `sluice export plan` have all.
_ROWS = 100


def planner_of(destination: str) -> BackfillPlanner:
    """Build the planner of a destination."""
    from sluice.exports.backfill import BackfillPlanner
    from sluice.exports.bucket import Bucket

    hook = SluiceHook()
    config = hook.config.export(destination)
    client = hook.store(config.connection, config.region).client()
    bucket = Bucket.of(client, config)
    return BackfillPlanner(config, lake=hook.lake, ledger=hook.ledger, bucket=bucket)


def chunk_exporter_of(context: Mapping[str, Any], destination: str, parallelism: int) -> ChunkExporter:
    """Build the exporter of a destination's chunks, which works as this run."""
    from sluice.exports.bucket import Bucket
    from sluice.exports.chunk_export import ChunkExporter
    from sluice.exports.hour import Run

    hook = SluiceHook()
    config = hook.config.export(destination)
    client = hook.store(config.connection, config.region).client()
    return ChunkExporter(
        config,
        lake=hook.lake,
        ledger=hook.ledger,
        bucket=Bucket.of(client, config),
        run=Run(run_id(context), "backfill"),
        parallelism=parallelism,
        override=override_of(context),
    )


def shown(plan: BackfillPlan) -> dict[str, Any]:
    """Return a plan's sums and the first rows of its table, small enough for an XCom."""
    return plan.totals() | {"table": [line.as_json() for line in islice(plan.lines, _ROWS)]}

"""A backfill of a whole year of small hours, from nothing and again, with lake and bucket on SeaweedFS.

The year is as many hours and events as the demo's (New York's flights of 2013), spread over the hours as
flights are: none at night. The ledger is a PostgreSQL server. Each backfill plans, exports its chunks in two
processes at a time, as the DAG's tasks do, and plans again, without Airflow's own seconds per task.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench._measure import clocked, in_child

# Less only to try the benchmark itself.
SCALE = float(os.environ.get("SLUICE_BENCH_SCALE", "1"))
FIRST, LAST = datetime(2013, 1, 1, tzinfo=UTC), datetime(2014, 1, 1, 4, tzinfo=UTC)
EVENTS = int(336_776 * SCALE)
HOURS = int(8_765 * SCALE)
# Flights leave from 10:00 to 04:00 UTC.
BUSY = [*range(10, 24), *range(5)]
PROJECT = 187520
BUCKET = "bench-backfill"
CHUNKS_AT_ONCE, PARALLELISM = 2, 4


def run() -> dict[str, Any]:
    """Measure; the figures' names say their units."""
    from sluice.local.postgres import Postgres
    from sluice.local.seaweedfs import SeaweedFS

    figures: dict[str, Any] = {"backfill.hours": HOURS, "backfill.events": EVENTS}
    with (
        tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder,
        SeaweedFS(Path(folder)) as server,
        Postgres(Path(folder)) as postgres,
    ):
        access = server.access
        client = access.client()
        client.create_bucket(Bucket=BUCKET)
        order = {
            "endpoint_url": access.endpoint_url,
            "access_key": access.access_key,
            "secret_key": access.secret_key,
            "ledger": postgres.create_database("ledger"),
        }
        in_child("bench.backfill", order | {"what": "load"})
        before: dict[str, tuple[str, datetime]] = {}
        for name in ("first", "second"):
            times: dict[str, float] = {}
            with clocked(times):
                planned = in_child("bench.backfill", order | {"what": "plan", "run": name})
                tasks = [
                    order | {"what": "export", "run": name, "chunk": chunk} for chunk in planned["chunks"]
                ]
                with ThreadPoolExecutor(CHUNKS_AT_ONCE) as pool:
                    done = list(pool.map(lambda task: in_child("bench.backfill", task), tasks))
                left = in_child("bench.backfill", order | {"what": "plan", "run": name})
            if left["hours"]:
                raise RuntimeError(f"After the {name} backfill {left['hours']} hours are left: {left}")
            listing = _listing(client)
            written = sum(before.get(key) != facts for key, facts in listing.items())
            figures |= {
                f"backfill.{name}.seconds": times["seconds"],
                f"backfill.{name}.plan_seconds": planned["seconds"],
                f"backfill.{name}.chunks": len(tasks),
                f"backfill.{name}.objects_written": written + len(before.keys() - listing.keys()),
                f"backfill.{name}.requests": sum(one["requests"] for one in done),
                f"backfill.{name}.peak_memory_mb": max((one["peak_memory_mb"] for one in done), default=0.0),
            }
            if done:
                hours = sum(one["hours"] for one in done)
                seconds = sum(one["seconds"] for one in done)
                figures[f"backfill.{name}.milliseconds_per_hour"] = seconds / hours * 1e3
                # Of the exporting processes alone, without the store and the ledger's database.
                cpu = sum(one["cpu_seconds"] for one in done)
                figures[f"backfill.{name}.cpu_milliseconds_per_hour"] = cpu / hours * 1e3
                figures[f"backfill.{name}.requests_per_hour"] = sum(one["requests"] for one in done) / hours
            before = listing
    if figures["backfill.second.objects_written"]:
        raise RuntimeError(f"The second backfill wrote objects: {figures}")
    return figures


def _listing(client: Any) -> dict[str, tuple[str, datetime]]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="out/")
    return {
        item["Key"]: (item["ETag"], item["LastModified"])
        for page in pages
        for item in page.get("Contents", ())
    }


class _Parts:
    """What a task of the backfill works with."""

    def __init__(self, order: dict[str, Any]) -> None:
        from sluice.access.storage import S3Store
        from sluice.config import ExportConfig
        from sluice.exports.bucket import Bucket
        from sluice.lake import Lake
        from sluice.ledger import Ledger

        store = S3Store.of(
            access_key=order["access_key"],
            secret_key=order["secret_key"],
            endpoint_url=order["endpoint_url"],
            region="us-east-1",
        )
        self.lake = Lake(f"s3://{BUCKET}/lake", store.delta_options())
        self.ledger = Ledger.open(order["ledger"])
        self.requests = 0
        client = store.client()
        client.meta.events.register("before-send.s3.*", self._count)
        self.config = ExportConfig.model_validate(
            {
                "id": "bench",
                "name": "Bench",
                "owner": "bench@example.com",
                "projects": [PROJECT],
                "bucket": BUCKET,
                "prefix": "out",
                "close_wait": 0,
            }
        )
        self.bucket = Bucket.of(client, self.config)

    def _count(self, **_: Any) -> None:
        self.requests += 1


def _load(order: dict[str, Any]) -> dict[str, Any]:
    """Load the year in months, as an import of its files would."""
    from collections import defaultdict

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
    from lake_staging import stage

    from sluice.lake import LoadRequest, load

    parts = _Parts(order)
    parts.lake.create()
    all_hours = [FIRST + n * timedelta(hours=1) for n in range(HOURS)]
    busy = [hour for hour in all_hours if hour.hour in BUSY]
    months: dict[int, list[datetime]] = defaultdict(list)
    for n in range(EVENTS):
        hour = busy[n * len(busy) // EVENTS]
        months[hour.year * 12 + hour.month].append(hour + timedelta(seconds=n * 7 % 3600))
    for month, times in months.items():
        file = stage(
            parts.lake,
            f"{month}.csv",
            [f"{month}-{n}" for n in range(len(times))],
            at=lambda n, times=times: times[n],
        )
        load(parts.lake, parts.ledger, LoadRequest(PROJECT, "bench", [file], upload_time="event_time"))
    return {}


def _plan(order: dict[str, Any]) -> dict[str, Any]:
    from sluice.exports.backfill import BackfillPlanner
    from sluice.exports.chunks import chunks_of
    from sluice.exports.ranges import HourRange

    parts = _Parts(order)
    figures: dict[str, Any] = {}
    planner = BackfillPlanner(parts.config, lake=parts.lake, ledger=parts.ledger, bucket=parts.bucket)
    last = FIRST + (HOURS - 1) * timedelta(hours=1)
    with clocked(figures):
        plan = planner.plan(HourRange(FIRST, last), close=True)
        chunks = chunks_of(plan)
    return figures | plan.totals() | {"chunks": [chunk.to_json() for chunk in chunks], **figures}


def _export(order: dict[str, Any]) -> dict[str, Any]:
    from sluice.exports.chunk_export import ChunkExporter
    from sluice.exports.chunks import Chunk
    from sluice.exports.hour import Run

    parts = _Parts(order)
    exporter = ChunkExporter(
        parts.config,
        lake=parts.lake,
        ledger=parts.ledger,
        bucket=parts.bucket,
        run=Run(order["run"], "backfill"),
        parallelism=PARALLELISM,
    )
    figures: dict[str, Any] = {}
    with clocked(figures):
        outcomes = list(exporter.export(Chunk.from_json(order["chunk"])))
    return figures | {"hours": len(outcomes), "requests": parts.requests}


if __name__ == "__main__":
    order = json.load(sys.stdin)
    print(json.dumps({"load": _load, "plan": _plan, "export": _export}[order["what"]](order)))

"""What it takes to find new files among 100,000 objects: calls, seconds, ledger statements, memory.

A real S3 server (SeaweedFS) holds 1,000 date folders of 100 objects. A process of its own looks for files the
first time, again, and in the recent folders only; and among a tenth of the objects, for its memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench._measure import in_child

if TYPE_CHECKING:
    from sluice.local.seaweedfs import SeaweedFS

BUCKET = "customer"
LAYOUT = "{yyyy}/{MM}/{dd}/{HH}/"
HOURS = 1000
PER_HOUR = 100
CONVERTER = {
    "converterConfig": {"fileType": "json", "compressionType": "none", "convertToAmplitudeFunc": {}},
    "keyValidatorConfig": {"filterPattern": r".*\.json"},
}


def run() -> dict[str, float]:
    from sluice.local.postgres import Postgres
    from sluice.local.seaweedfs import SeaweedFS

    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        home = Path(folder)
        with SeaweedFS(home) as store, Postgres(home) as postgres:
            store.access.client().create_bucket(Bucket=BUCKET)
            _fill(store, home / "objects")
            access = {
                "endpoint_url": store.access.endpoint_url,
                "access_key": store.access.access_key,
                "secret_key": store.access.secret_key,
            }
            figures: dict[str, float] = {"discovery.objects": HOURS * PER_HOUR}
            for ledger in ("postgresql", "sqlite"):
                url = (
                    f"sqlite:///{home}/ledger.db" if ledger == "sqlite" else postgres.create_database("bench")
                )
                order = {"access": access, "ledger": url, "home": folder}
                for what, prefix, layout in (
                    ("first_full_scan", "all/", None),
                    ("full_scan", "all/", None),
                    ("recent_folders", "all/", LAYOUT),
                    ("first_full_scan_of_a_tenth", "tenth/", None),
                ):
                    result = in_child(
                        "bench.discovery", order | {"what": what, "prefix": prefix, "layout": layout}
                    )
                    for name, value in result.items():
                        figures[f"discovery.{ledger}.{what}.{name}"] = value
    return figures


def _fill(store: SeaweedFS, folder: Path) -> None:
    """Bring the objects in by the server's own tool: a hundred thousand PUTs would take ten minutes."""
    now = datetime.now(UTC)
    for prefix, hours in (("all", HOURS), ("tenth", HOURS // 10)):
        for hour in range(hours):
            place = folder / prefix / f"{now - timedelta(hours=hour):%Y/%m/%d/%H}"
            place.mkdir(parents=True)
            for number in range(PER_HOUR):
                (place / f"part-{number:03d}.json").write_bytes(b"{}\n")
    filer = f"http://127.0.0.1:{store.ports['filer']}.{store.ports['filer.grpc']}/buckets/{BUCKET}/"
    for prefix in ("all", "tenth"):
        subprocess.run(
            [store.program, "filer.copy", "-c=32", str(folder / prefix), filer],
            check=True,
            capture_output=True,
        )


def measure(order: dict[str, Any]) -> dict[str, float]:
    from sqlalchemy import event, update

    from sluice.access.storage import S3Store
    from sluice.config import ImportConfig
    from sluice.imports.discovery import discover
    from sluice.imports.session import ImportRun
    from sluice.lake import Lake
    from sluice.ledger import Ledger
    from sluice.ledger.tables import files

    home = Path(order["home"])
    converter = home / "converter.json"
    converter.write_text(json.dumps(CONVERTER))
    lake = Lake(str(home / "lake"))
    if not lake.exists():
        lake.create()
    source = ImportConfig(
        id=order["prefix"].rstrip("/"),
        name="Discovery",
        owner="data@example.com",
        project=1,
        bucket=BUCKET,
        prefix=order["prefix"],
        region="us-east-1",
        account="own",
        converter="converter.json",
        size_policy="ignore",
        layout=order["layout"],
    )
    store = S3Store.of(region="us-east-1", **order["access"])
    ledger = Ledger.open(order["ledger"])
    counts = {"list_calls": 0, "ledger_statements": 0}

    def listed(**facts: Any) -> None:
        counts["list_calls"] += 1

    store.session.events.register("before-call.s3.ListObjectsV2", listed)

    @event.listens_for(ledger.engine, "before_cursor_execute")
    def executed(*facts: Any) -> None:
        counts["ledger_statements"] += 1

    began, began_cpu = time.perf_counter(), time.process_time()
    found = discover(ImportRun(source, "bench", store, lake, ledger, converter))
    figures = {
        **counts,
        "new_files": found.new,
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - began_cpu,
    }
    # The next look is at a bucket whose files are all imported.
    with ledger.begin() as connection:
        connection.execute(update(files).values(state="done"))
    return figures


if __name__ == "__main__":
    print(json.dumps(measure(json.load(sys.stdin))))

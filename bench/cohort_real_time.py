"""A real-time sync of a million members with a hundred changes, from the lake to PutRecords.

The query is included. The lake of ten million events lies on SeaweedFS, the stream is moto's, the ledger a
PostgreSQL server. The first turn sends everybody; then a hundred users come, and the next minute's turn is
measured: three processes, as its tasks are in the DAG, with Python's start and imports.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench._measure import clocked, in_child

# Less only to try the benchmark itself.
SCALE = float(os.environ.get("SLUICE_BENCH_SCALE", "1"))
EVENTS, CHANGES, TURNS = int(10_000_000 * SCALE), 100, 3
# A real-time cohort has at most a million members, the newcomers of all turns among them.
USERS = int(1_000_000 * SCALE) - TURNS * CHANGES
BUCKET, STREAM, REGION = "bench-real-time", "bench-real-time", "us-east-1"
SYNC = "everybody_now"

_PROJECTS = """
organisations: [{id: 1, name: Bench}]
projects: [{id: 187520, name: Bench, organisation: 1}]
"""
_DESTINATION = f"""
id: stream
name: Stream
owner: bench@example.com
kind: kinesis
projects: [187520]
region: {REGION}
stream: {STREAM}
# Moto never throttles, and the first turn is not what is measured.
shards: 200
"""
_COHORT = f"""
id: everybody
name: Everybody
owner: bench@example.com
project: 187520
sql: |
  SELECT amplitude_id, max(user_id) AS user_id
  FROM events
  WHERE server_upload_time >= $as_of - INTERVAL 31 DAY
  GROUP BY amplitude_id
syncs: [{{id: {SYNC}, destination: stream, cadence: real_time}}]
"""


def run() -> dict[str, Any]:
    """Measure; the figures' names say their units."""
    from sluice.local.moto import Moto
    from sluice.local.postgres import Postgres
    from sluice.local.seaweedfs import SeaweedFS

    figures: dict[str, Any] = {"real_time.events": EVENTS, "real_time.members": USERS}
    figures["real_time.changes"] = CHANGES
    with (
        tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder,
        SeaweedFS(Path(folder)) as server,
        Moto(Path(folder)) as moto,
        Postgres(Path(folder)) as postgres,
    ):
        access = server.access
        access.client().create_bucket(Bucket=BUCKET)
        order = {
            "endpoint_url": access.endpoint_url,
            "access_key": access.access_key,
            "secret_key": access.secret_key,
            "kinesis_url": moto.endpoint,
            "ledger": postgres.create_database("ledger"),
            "config": str(_write_config(Path(folder) / "config")),
        }
        in_child("bench.cohort_real_time", order | {"what": "lake"})
        first = _turn(order, 0)
        if first["fix"]["entering"] != USERS:
            raise RuntimeError(f"The first turn has {first['fix']['entering']} members: {first}")
        figures["real_time.first.seconds"] = first["seconds"]
        turns = []
        for minute in range(1, TURNS + 1):
            in_child("bench.cohort_real_time", order | {"what": "users", "minute": minute})
            turns.append(_turn(order, minute))
            if turns[-1]["fix"]["entering"] != CHANGES:
                raise RuntimeError(f"A turn of {CHANGES} changes has others: {turns[-1]}")
    best = min(turns, key=lambda turn: turn["seconds"])
    figures |= {
        "real_time.seconds": best["seconds"],
        "real_time.seconds_of_all": [round(turn["seconds"], 2) for turn in turns],
        "real_time.fix.seconds": best["fix"]["seconds"],
        "real_time.fix.cpu_seconds": best["fix"]["cpu_seconds"],
        "real_time.fix.peak_memory_mb": best["fix"]["peak_memory_mb"],
        "real_time.gate.seconds": best["gate"]["seconds"],
        "real_time.gate.cpu_seconds": best["gate"]["cpu_seconds"],
        "real_time.gate.peak_memory_mb": best["gate"]["peak_memory_mb"],
        "real_time.deliver.seconds": best["deliver"]["seconds"],
        "real_time.deliver.peak_memory_mb": best["deliver"]["peak_memory_mb"],
    }
    return figures


def _turn(order: dict[str, Any], minute: int) -> dict[str, Any]:
    times: dict[str, Any] = {}
    step = order | {"minute": minute, "run": f"minute-{minute}"}
    with clocked(times):
        times["fix"] = in_child("bench.cohort_real_time", step | {"what": "fix"})
        for what in ("gate", "deliver"):
            turn = {"what": what, "turn": times["fix"]["turn"]}
            times[what] = in_child("bench.cohort_real_time", step | turn)
    return times


def _write_config(folder: Path) -> Path:
    contents = {
        "projects.yaml": _PROJECTS,
        "lake.yaml": f"uri: s3://{BUCKET}/lake\nregion: {REGION}\n",
        "cohorts/everybody.yaml": _COHORT,
        "cohort_destinations/stream.yaml": _DESTINATION,
    }
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def work(order: dict[str, Any]) -> dict[str, Any]:
    """Do one step in this process."""
    from bench._cohort_lake import END, add_users, write_lake
    from sluice.access.storage import S3Store
    from sluice.access.streams import KinesisStream
    from sluice.config import load_config
    from sluice.lake import Lake
    from sluice.ledger import Ledger

    store = S3Store.of(
        access_key=order["access_key"],
        secret_key=order["secret_key"],
        endpoint_url=order["endpoint_url"],
        region=REGION,
    )
    lake = Lake(f"s3://{BUCKET}/lake", store.delta_options())
    ledger = Ledger.open(order["ledger"])
    stream = KinesisStream(STREAM, REGION, store.session, order["kinesis_url"])
    if order["what"] == "lake":
        write_lake(lake, EVENTS, USERS)
        stream.client().create_stream(StreamName=STREAM, ShardCount=4)
        return {}
    as_of = END + timedelta(minutes=order["minute"])
    if order["what"] == "users":
        newcomers = USERS + (order["minute"] - 1) * CHANGES
        add_users(lake, CHANGES, newcomers, as_of - timedelta(seconds=30))
        return {}
    config = load_config(Path(order["config"]))
    sync = config.sync(SYNC)
    figures: dict[str, Any] = {}
    with clocked(figures):
        if order["what"] == "fix":
            from sluice.cohorts.fix import fix

            turn = fix(sync, config, lake, ledger, as_of=as_of, run=order["run"]).turn
            if turn is None:
                raise RuntimeError("The sync is busy.")
            figures |= {"turn": turn.number, "entering": turn.counts["entering"]}
        elif order["what"] == "gate":
            from sluice.cohorts.gate import check_turn

            gate = check_turn(sync, lake, ledger, number=order["turn"], run=order["run"])
            if gate is None or gate.state != "passed":
                raise RuntimeError(f"The gate is {gate and gate.results}.")
        else:
            from sluice.cohorts.turns import deliver

            done = deliver(sync, lake, ledger, number=order["turn"], run=order["run"], stream=stream)
            if done.skipped:
                raise RuntimeError(f"Skipped: {done.reason}")
    return figures


if __name__ == "__main__":
    print(json.dumps(work(json.load(sys.stdin))))

"""An hour of events from the lake to published objects on SeaweedFS, beside everything else that could do it.

Each contestant runs in a process of its own and writes to the same endpoint; time and CPU are taken around
the work, without the imports, memory over the process and what it starts. Lines are about 1.7 KB: the 55 keys
alone, all null, take 1.2 KB. Before the timing, each must give the same events; one that does not is listed
as failing and not timed. Peers: bench/peers.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import statistics
import sys
import tempfile
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench._measure import clocked, in_child
from bench._peer_environment import peer_environment

# Fewer only to try the benchmark itself.
SCALE = float(os.environ.get("SLUICE_BENCH_SCALE", "1"))
SMALL, EVENTS, LARGE = (int(count * SCALE) for count in (100_000, 1_000_000, 5_000_000))
# What is compared, line by line, before the timing.
GATE = min(20_000, SMALL)
REPEATS = 3
# A peer slower than this, in seconds, runs once.
SLOW = 30.0
PROJECT = 187520
HOUR = datetime(2013, 1, 2, 12, tzinfo=UTC)
BUCKET = "bench-export"
# In this repository's own environment; all others have one of their own, Singer another.
AT_HOME, SINGER = "airflow_sql_to_s3", "singer_target"
PEERS = (
    "orjson_isal", "smart_open_orjson", "chdb_s3", "duckdb_file", "duckdb_fsspec", "posthog_shape",
    "orjson_gzip", SINGER, "awswrangler_to_json", "json_gzip", "pandas_to_json", "dlt_filesystem", AT_HOME,
)  # fmt: skip
# These keep the dictionary fields as strings: less work, listed all the same.
STRINGS = {AT_HOME}


def run() -> dict[str, Any]:
    """Measure; the figures' names say their units."""
    from sluice.local.seaweedfs import SeaweedFS

    python = peer_environment("requirements")
    singer = peer_environment("singer").with_name("target-s3-jsonl")
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder, SeaweedFS(Path(folder)) as server:
        access = server.access
        access.client().create_bucket(Bucket=BUCKET)
        order = {
            "folder": folder,
            "endpoint_url": access.endpoint_url,
            "access_key": access.access_key,
            "secret_key": access.secret_key,
            "bucket": BUCKET,
            "singer": str(singer),
        }
        for name, count in (("gate", GATE), ("small", SMALL), ("middle", EVENTS), ("large", LARGE)):
            loaded = _ours(order, "load", name, count)
            figures[f"export.load_seconds.{count}"] = loaded["seconds"]
        for name, count in (("gate", GATE), ("middle", EVENTS)):
            _ours(order, "source", name, count)
        _ours(order, "sluice", "gate", GATE, destination="gate")
        passing = [peer for peer in PEERS if _passes(order, peer, python, figures)]
        figures |= _timed(order, passing, python)
        for name, count in (("small", SMALL), ("large", LARGE)):
            one = [_ours(order, "sluice", name, count, destination=f"{name}{n}") for n in range(REPEATS)]
            figures |= _figures(f"export.sluice.{count}", count, one)
    figures["export.events_per_second"] = figures[f"export.sluice.{LARGE}.events_per_second"]
    figures["export.memory_large_to_small"] = (
        figures[f"export.sluice.{LARGE}.peak_memory_mb"] / figures[f"export.sluice.{SMALL}.peak_memory_mb"]
    )
    return figures


def _timed(order: dict[str, Any], peers: list[str], python: Path) -> dict[str, Any]:
    """Time ourselves and the peers in turn, round by round, and rank them by wall time."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in ("sluice", *peers)}
    for number in range(REPEATS):
        for name, done in runs.items():
            if done and done[0]["seconds"] > SLOW:
                continue
            if name == "sluice":
                done.append(_ours(order, name, "middle", EVENTS, destination=f"middle{number}"))
            else:
                done.append(_peer(order, name, python, "middle", EVENTS))
    figures: dict[str, Any] = {"export.events": EVENTS}
    for name, done in runs.items():
        figures |= _figures(f"export.{name}.{EVENTS}", EVENTS, done)
    walls = {name: figures[f"export.{name}.{EVENTS}.seconds"] for name in runs}
    ranking = sorted(walls, key=walls.__getitem__)
    figures["export.ranking"] = ", ".join(ranking)
    figures["export.rank"] = ranking.index("sluice") + 1
    figures |= {f"export.times_{name}": walls[name] / walls["sluice"] for name in peers}
    return figures


def _figures(prefix: str, count: int, runs: list[dict[str, Any]]) -> dict[str, Any]:
    wall = statistics.median(one["seconds"] for one in runs)
    cpu = statistics.median(one["cpu_seconds"] for one in runs)
    figures = {
        "repeats": len(runs),
        "seconds": wall,
        "cpu_seconds": cpu,
        "events_per_second": count / wall,
        "events_per_cpu_second": count / cpu,
        "peak_memory_mb": max(one["peak_memory_mb"] for one in runs),
        "output_mb": runs[0]["bytes"] / 1e6,
    }
    if "gate.seconds" in runs[0]:
        # Of the above, what the quality gate takes.
        gate = statistics.median(one["gate.seconds"] for one in runs)
        figures |= {"gate_seconds": gate, "gate_percent": 100 * gate / (wall - gate)}
    return {f"{prefix}.{name}": value for name, value in figures.items()}


def _passes(order: dict[str, Any], peer: str, python: Path, figures: dict[str, Any]) -> bool:
    """Say whether a peer writes the events that we write; record why not."""
    try:
        _peer(order, peer, python, "gate", GATE)
        _check_equal(order, peer)
    except RuntimeError as failure:
        figures[f"export.{peer}.fails"] = str(failure)[-300:]
        return False
    figures[f"export.{peer}.nested"] = peer not in STRINGS
    return True


def _ours(order: dict[str, Any], what: str, size: str, count: int, **more: str) -> dict[str, Any]:
    return in_child("bench.export", order | {"what": what, "size": size, "rows": count} | more)


def _peer(order: dict[str, Any], peer: str, python: Path, size: str, count: int) -> dict[str, Any]:
    from sluice.lake.schema import EXPORT_KEYS, JSON_COLUMNS

    key = f"peers/{size}/{peer}/events.json.gz"
    order = order | {
        "peer": peer,
        "key": key,
        "rows": count,
        "source": f"{order['folder']}/{size}.parquet",
        "columns": EXPORT_KEYS,
        "json_columns": sorted(JSON_COLUMNS),
    }
    figures = in_child("bench.peers.write", order, sys.executable if peer == AT_HOME else str(python))
    client = _store(order).client()
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix=key.removesuffix("events.json.gz"))["Contents"]
    return figures | {"bytes": sum(item["Size"] for item in listed)}


def _store(order: dict[str, Any]) -> Any:
    from sluice.access.storage import S3Store

    return S3Store.of(
        access_key=order["access_key"],
        secret_key=order["secret_key"],
        endpoint_url=order["endpoint_url"],
        region="us-east-1",
    )


def _open(order: dict[str, Any]) -> tuple[Any, Any]:
    from sluice.lake import Lake
    from sluice.ledger import Ledger

    place = f"{order['folder']}/{order['size']}"
    return Lake(f"{place}-lake"), Ledger.open(f"sqlite:///{place}-ledger.db")


def _load(order: dict[str, Any]) -> dict[str, Any]:
    """Make the events and load them the way an import does."""
    import pyarrow.parquet as pq

    from sluice.lake import LoadRequest, StagedFile, load
    from sluice.lake.schema import STAGED_EVENTS

    lake, ledger = _open(order)
    lake.create()
    lake.filesystem().create_dir("_staging")
    path, size, count = "_staging/events.parquet", 20_000, order["rows"]
    with (
        lake.filesystem().open_output_stream(path) as stream,
        pq.ParquetWriter(stream, STAGED_EVENTS, compression="zstd") as writer,
    ):
        for start in range(0, count, size):
            writer.write_batch(_events(start, min(size, count - start), count))
    file = StagedFile("bench", "events", "etag", count, 0, 0, events=path)
    figures: dict[str, float] = {}
    with clocked(figures):
        result = load(lake, ledger, LoadRequest(PROJECT, "bench", [file], upload_time="event_time"))
    lake.filesystem().delete_file(path)
    assert result.counts.loaded == count
    return figures


def _exporter(order: dict[str, Any], destination: str) -> tuple[Any, dict[str, Any]]:
    """Return an exporter, and what the gate of its hours needs."""
    from sluice.config import ExportConfig
    from sluice.exports.bucket import Bucket
    from sluice.exports.hour import Exporter, Run

    lake, ledger = _open(order)
    config = ExportConfig(
        id=destination,
        name="Benchmark",
        owner="owner@example.com",
        projects=(PROJECT,),
        bucket=BUCKET,
        prefix=destination,
    )
    store = _store(order)
    bucket = Bucket(store.client(), BUCKET, config.prefix)
    exporter = Exporter(config, lake=lake, ledger=ledger, bucket=bucket, run=Run("bench", "backfill"))
    return exporter, {"config": config, "lake": lake, "ledger": ledger}


def _sluice(order: dict[str, Any]) -> dict[str, Any]:
    """Close, stage, check and publish the hour."""
    # The engine imports them when it is given its first rows.
    import pandas  # noqa: F401
    import pyarrow.dataset  # noqa: F401

    from sluice.exports.gate import check_hours
    from sluice.ledger import exported

    exporter, parts = _exporter(order, order["destination"])
    figures: dict[str, float] = {}
    with clocked(figures):
        exporter.export(HOUR)
        with clocked(figures, "gate"):
            (gate,) = check_hours(parts["config"], lake=parts["lake"], ledger=parts["ledger"], run="bench")
        (outcome,) = exporter.publish(HOUR)
    assert gate.state == "passed", gate
    assert (outcome.action, outcome.rows) == ("published", order["rows"]), outcome
    files = exported.published_files(parts["ledger"], exported.HourId(order["destination"], PROJECT, HOUR))
    figures["bytes"] = sum(file.bytes for file in files)
    figures["raw_bytes"] = sum(file.raw_bytes for file in files)
    return figures


def _source(order: dict[str, Any]) -> dict[str, Any]:
    """Write the hour as the peers read it: times as an export writes them, dictionary fields as JSON text."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from sluice.exports.staging import content_of
    from sluice.lake import close_until, read_hour
    from sluice.lake.schema import EXPORT_KEYS

    lake, ledger = _open(order)
    close_until(lake, ledger, PROJECT, HOUR + timedelta(hours=1), 0)
    version = content_of(ledger, PROJECT, HOUR).version
    writer = None
    for batch in read_hour(lake, PROJECT, HOUR, version, EXPORT_KEYS):
        columns = [
            pc.strftime(column, "%Y-%m-%d %H:%M:%S") if pa.types.is_timestamp(column.type) else column
            for column in batch.columns
        ]
        rows = pa.RecordBatch.from_arrays(columns, names=list(EXPORT_KEYS))
        writer = writer or pq.ParquetWriter(f"{order['folder']}/{order['size']}.parquet", rows.schema)
        writer.write_batch(rows)
    assert writer is not None
    writer.close()
    return {}


def _check_equal(order: dict[str, Any], peer: str) -> None:
    """Raise RuntimeError unless the peer's lines are our events, all of the gate's."""
    ours = list(_lines(order, f"gate/{PROJECT}/"))
    theirs = list(_lines(order, f"peers/gate/{peer}/"))
    if len(ours) != len(theirs):
        raise RuntimeError(f"{len(theirs)} lines, not {len(ours)}")
    for n, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        if peer in STRINGS:
            other = {name: _unpacked(value) for name, value in other.items()}
            mine = {name: _unpacked(value) for name, value in mine.items()}
        different = sorted(name for name in mine if not _same(mine[name], other.get(name)))
        if different:
            name = different[0]
            raise RuntimeError(
                f"line {n} differs in {', '.join(different)}: {mine[name]!r} became {other.get(name)!r}"
            )


def _lines(order: dict[str, Any], prefix: str) -> Iterator[dict[str, Any]]:
    client = _store(order).client()
    for item in client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]:
        if not item["Size"] or "_dlt" in item["Key"] or item["Key"].endswith("/init"):
            continue
        # A file object: decompressing a member per record at once is quadratic.
        with gzip.open(client.get_object(Bucket=BUCKET, Key=item["Key"])["Body"]) as file:
            yield from map(json.loads, file)


def _unpacked(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) and value[:1] in "{[" else value
    except ValueError:
        return value


def _same(one: Any, other: Any) -> bool:
    """Compare two JSON values; doubles as far as pandas writes them, which is 15 decimals."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-12)
    return type(one) is type(other) and bool(one == other)


def _events(start: int, rows: int, count: int) -> Any:
    """Make events as the import stages them: skewed users and types, text that does not repeat itself."""
    import numpy as np
    import pyarrow as pa

    from sluice.lake.schema import STAGED_EVENTS

    random = np.random.default_rng(start + 1)
    index = np.arange(start, start + rows)
    users = (random.lognormal(9, 1.5, rows).astype(np.int64)) % 100_000
    types = random.zipf(1.5, rows) % 50
    keys = random.integers(-(2**63), 2**63 - 1, (rows, 2), dtype=np.int64)
    micros = int(HOUR.timestamp()) * 1_000_000 + index * (3_600_000_000 // count)
    times = pa.array(micros // 1000 * 1000, pa.timestamp("us", "UTC"))
    pools = {
        "city": ("City", 500),
        "country": ("Country", 60),
        "region": ("Region", 200),
        "device_carrier": ("Carrier", 9),
        "device_family": ("Device family", 20),
        "device_type": ("Device type", 40),
        "dma": ("Area, State", 200),
        "language": ("Language", 15),
        "library": ("library/1.", 6),
        "os_name": ("OS", 8),
        "os_version": ("17.", 40),
        "platform": ("Platform", 3),
        "version_name": ("4.", 12),
    }
    columns: dict[str, Any] = {
        name: pa.array([f"{text} {n}" for n in range(size)]).take(pa.array(users % size))
        for name, (text, size) in pools.items()
    }
    same = {"data_type": "event", "groups": "{}", "group_properties": "{}", "plan": "{}"}
    same["data"] = (
        '{"path":"/2/httpapi","user_properties_updated":true,"group_first_event":{},"group_ids":{}}'
    )
    columns |= {name: pa.array([text] * rows) for name, text in same.items()}
    columns |= dict.fromkeys(("client_event_time", "event_time"), times)
    numbers = random.integers(0, 10_000, (rows, 4))
    columns |= {
        "row": pa.array(index),
        "dedup_hi": pa.array(keys[:, 0]),
        "dedup_lo": pa.array(keys[:, 1]),
        "uuid": pa.array([str(uuid.UUID(bytes=random.bytes(16), version=5)) for _ in range(rows)]),
        "$insert_id": pa.array([random.bytes(16).hex() for _ in range(rows)]),
        "device_id": pa.array([f"4289c8b4-7afe-49ed-8814-{user * 7919:012x}" for user in users]),
        "user_id": pa.array([f"user{user}@example.com" for user in users]),
        "event_id": pa.array(index % 5_000),
        "event_type": pa.array([f"event type {n}" for n in range(50)]).take(pa.array(types)),
        "session_id": pa.array(1_357_000_000_000 + users * 1000),
        "ip_address": pa.array([f"203.0.{user % 256}.{user // 256}" for user in users]),
        "location_lat": pa.array(users / 1024.0),
        "location_lng": pa.array(-users / 777.0, mask=users % 3 == 0),
        "event_properties": pa.array(
            [
                f'{{"page":"/products/{a}","price":{b / 100},"unit":"EUR","step":{c % 9},"tags":["a","{d}"]}}'
                for a, b, c, d in numbers.tolist()
            ]
        ),
        "user_properties": pa.array(
            [
                f'{{"plan":"gold","age":{user % 90},"utm_source":"EMPTY","name":"Name {user}"}}'
                for user in users
            ]
        ),
    }
    return pa.RecordBatch.from_arrays(
        [
            columns[field.name].cast(field.type) if field.name in columns else pa.nulls(rows, field.type)
            for field in STAGED_EVENTS
        ],
        schema=STAGED_EVENTS,
    )


if __name__ == "__main__":
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    WORK = {"load": _load, "source": _source, "sluice": _sluice}
    an_order = json.loads(sys.stdin.read())
    print(json.dumps(WORK[an_order["what"]](an_order)))

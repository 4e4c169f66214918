"""One hour of a million events from a local lake to published objects on SeaweedFS, beside pandas.

Each contestant runs in a process of its own; its time, CPU and memory are taken there, around the work and
without the imports. Lines are about 1.7 KB: the 55 keys alone, all null, take 1.2 KB. Before the timing,
both must give equal events for the sample.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Fewer only to try the benchmark itself.
EVENTS = int(os.environ.get("SLUICE_BENCH_EVENTS", "1000000"))
# pandas goes row by row: its rate does not depend on how many there are.
SAMPLE = 50_000
REPEATS = 3
PROJECT = 187520
HOUR = datetime(2013, 1, 2, 12, tzinfo=UTC)
BUCKET = "bench-export"
REPOSITORY = Path(__file__).parents[1]


def run() -> dict[str, float]:
    """Measure; the figures' names say their units."""
    from sluice.local.seaweedfs import SeaweedFS

    figures: dict[str, float] = {"export.events": EVENTS, "export.repeats": REPEATS}
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder, SeaweedFS(Path(folder)) as server:
        access = server.access
        access.client().create_bucket(Bucket=BUCKET)
        setting = {
            "folder": folder,
            "endpoint_url": access.endpoint_url,
            "access_key": access.access_key,
            "secret_key": access.secret_key,
        }
        loaded = _in_child("load", setting)
        _check_equal(setting)
        ours = [_in_child("sluice", setting, destination=f"repeat{n}") for n in range(REPEATS)]
        pandas = [_in_child("pandas", setting) for _ in range(REPEATS)]
    wall = statistics.median(one["seconds"] for one in ours)
    cpu = statistics.median(one["cpu_seconds"] for one in ours)
    rate = EVENTS / wall
    pandas_rate = SAMPLE / statistics.median(one["seconds"] for one in pandas)
    pandas_cpu = SAMPLE / statistics.median(one["cpu_seconds"] for one in pandas)
    figures |= {
        "export.events_per_second": rate,
        "export.seconds": wall,
        "export.cpu_seconds": cpu,
        "export.events_per_cpu_second": EVENTS / cpu,
        "export.peak_memory_mb": max(one["peak_memory_mb"] for one in ours),
        "export.output_mb": ours[0]["bytes"] / 1e6,
        "export.line_bytes": ours[0]["raw_bytes"] / EVENTS,
        "export.pandas.events": SAMPLE,
        "export.pandas.events_per_second": pandas_rate,
        "export.pandas.events_per_cpu_second": pandas_cpu,
        "export.pandas.peak_memory_mb": max(one["peak_memory_mb"] for one in pandas),
        "export.times_pandas": rate / pandas_rate,
        "export.times_pandas_per_cpu": EVENTS / cpu / pandas_cpu,
        "export.load_seconds": loaded["seconds"],
    }
    return figures


def _in_child(what: str, setting: dict[str, str], **more: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.export"],
        input=json.dumps({"what": what, **setting, **more}),
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{what} failed:\n{done.stderr[-4000:]}")
    result: dict[str, float] = json.loads(done.stdout)
    return result


@contextmanager
def _measured(figures: dict[str, float]) -> Iterator[None]:
    """Take wall and CPU seconds of the block, and the peak of this process's share of memory (PSS)."""
    over = threading.Event()
    peak = 0

    def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, _pss_kb())
            if over.wait(0.02):
                return

    watcher = threading.Thread(target=watch, daemon=True)
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    watcher.start()
    yield
    figures["seconds"] = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    over.set()
    watcher.join()
    figures["cpu_seconds"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    figures["peak_memory_mb"] = peak / 1e3


def _pss_kb() -> int:
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _child(order: dict[str, str]) -> dict[str, float]:
    return {"load": _load, "sluice": _sluice, "pandas": _pandas, "pandas-sample": _pandas_sample}[
        order["what"]
    ](order)


def _open(order: dict[str, str]) -> tuple[Any, Any]:
    from sluice.lake import Lake
    from sluice.ledger import Ledger

    folder = order["folder"]
    return Lake(f"{folder}/lake"), Ledger.open(f"sqlite:///{folder}/ledger.db")


def _load(order: dict[str, str]) -> dict[str, float]:
    """Make the events and load them the way an import does."""
    import pyarrow.parquet as pq

    from sluice.lake import LoadRequest, StagedFile, load
    from sluice.lake.schema import STAGED_EVENTS

    lake, ledger = _open(order)
    lake.create()
    lake.filesystem().create_dir("_staging")
    path, size = "_staging/events.parquet", 50_000
    with (
        lake.filesystem().open_output_stream(path) as stream,
        pq.ParquetWriter(stream, STAGED_EVENTS, compression="zstd") as writer,
    ):
        for start in range(0, EVENTS, size):
            writer.write_batch(_events(start, size))
    file = StagedFile("bench", "events", "etag", EVENTS, 0, 0, events=path)
    figures: dict[str, float] = {}
    with _measured(figures):
        result = load(lake, ledger, LoadRequest(PROJECT, "bench", [file], upload_time="event_time"))
    assert result.counts.loaded == EVENTS
    return figures


def _exporter(order: dict[str, str], destination: str) -> tuple[Any, Any, Any]:
    from sluice.access.storage import S3Store
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
    store = S3Store.of(
        access_key=order["access_key"],
        secret_key=order["secret_key"],
        endpoint_url=order["endpoint_url"],
        region="us-east-1",
    )
    bucket = Bucket(store.client(), BUCKET, config.prefix)
    exporter = Exporter(config, lake=lake, ledger=ledger, bucket=bucket, run=Run("bench", "backfill"))
    return exporter, ledger, store


def _sluice(order: dict[str, str]) -> dict[str, float]:
    """Close, stage and publish the hour."""
    from sluice.ledger import exported

    exporter, ledger, _ = _exporter(order, order["destination"])
    figures: dict[str, float] = {}
    with _measured(figures):
        exporter.export(HOUR)
        (outcome,) = exporter.publish(HOUR)
    assert (outcome.action, outcome.rows) == ("published", EVENTS), outcome
    files = exported.published_files(ledger, exported.HourId(order["destination"], PROJECT, HOUR))
    figures["bytes"] = sum(file.bytes for file in files)
    figures["raw_bytes"] = sum(file.raw_bytes for file in files)
    return figures


def _sample_frame(order: dict[str, str]) -> Any:
    """Read the sample as pandas would have it: nested objects parsed, times as text."""
    import pyarrow as pa

    from sluice.exports.staging import content_of
    from sluice.lake import close_until, read_hour
    from sluice.lake.schema import EXPORT_KEYS, JSON_COLUMNS

    lake, ledger = _open(order)
    close_until(lake, ledger, PROJECT, HOUR.replace(hour=13), 0)
    version = content_of(ledger, PROJECT, HOUR).version
    batches, rows = [], 0
    for batch in read_hour(lake, PROJECT, HOUR, version, EXPORT_KEYS):
        batches.append(batch)
        rows += batch.num_rows
        if rows >= SAMPLE:
            break
    frame = pa.Table.from_batches(batches).slice(0, SAMPLE).to_pandas()
    for name in JSON_COLUMNS:
        frame[name] = [json.loads(text) if isinstance(text, str) else None for text in frame[name]]
    for name in frame.columns:
        if str(frame[name].dtype).startswith("datetime"):
            frame[name] = frame[name].dt.strftime("%Y-%m-%d %H:%M:%S.%f")
        elif str(frame[name].dtype) == "float64" and name not in ("location_lat", "location_lng"):
            # Integers with nulls, which pandas makes floats of.
            frame[name] = frame[name].astype("Int64")
    return frame


def _pandas(order: dict[str, str]) -> dict[str, float]:
    """Read the sample, write it with DataFrame.to_json, put it: memory and time of all three."""
    import pandas  # noqa: F401  (imported before the clock starts, like everything else)

    *_, store = _exporter(order, "unused")
    figures: dict[str, float] = {}
    target = f"{order['folder']}/pandas.json.gz"
    with _measured(figures):
        _sample_frame(order).to_json(target, orient="records", lines=True, compression="gzip")
        with open(target, "rb") as body:
            store.client().put_object(Bucket=BUCKET, Key="pandas.json.gz", Body=body)
    return figures


def _pandas_sample(order: dict[str, str]) -> dict[str, float]:
    target = f"{order['folder']}/pandas.json.gz"
    _sample_frame(order).to_json(
        target, orient="records", lines=True, compression="gzip", double_precision=15
    )
    return {}


def _check_equal(setting: dict[str, str]) -> None:
    """Raise unless the lines of both are equal events, for the whole sample."""
    _in_child("sluice", setting, destination="gate")
    _in_child("pandas-sample", setting)
    *_, store = _exporter(setting, "gate")
    key = f"gate/{PROJECT}/{PROJECT}_{HOUR:%Y-%m-%d}_{HOUR.hour}#0.json.gz"
    body = store.client().get_object(Bucket=BUCKET, Key=key)["Body"]
    with gzip.open(body) as ours, gzip.open(f"{setting['folder']}/pandas.json.gz") as pandas:
        for n, (one, other) in enumerate(zip(ours, pandas, strict=False)):
            mine, theirs = json.loads(one), json.loads(other)
            if not _same(mine, theirs):
                different = {name for name in mine if not _same(mine[name], theirs.get(name))}
                raise RuntimeError(f"Line {n} differs in {sorted(different)}: {one!r} and {other!r}")
    if n + 1 != SAMPLE:
        raise RuntimeError(f"Only {n + 1} lines were compared, not {SAMPLE}.")


def _same(one: Any, other: Any) -> bool:
    """Compare two JSON values; doubles as far as pandas writes them, which is 15 decimals."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-12)
    return type(one) is type(other) and bool(one == other)


def _events(start: int, rows: int) -> Any:
    """Make events as the import stages them: skewed users and types, text that does not repeat itself."""
    import numpy as np
    import pyarrow as pa

    from sluice.lake.schema import STAGED_EVENTS

    random = np.random.default_rng(start + 1)
    index = np.arange(start, start + rows)
    users = (random.lognormal(9, 1.5, rows).astype(np.int64)) % 100_000
    types = random.zipf(1.5, rows) % 50
    keys = random.integers(-(2**63), 2**63 - 1, (rows, 2), dtype=np.int64)
    micros = int(HOUR.timestamp()) * 1_000_000 + index * (3_600_000_000 // EVENTS)
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
    print(json.dumps(_child(json.loads(sys.stdin.read()))))

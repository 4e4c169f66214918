"""What the gate costs: exact expectations and a sample of rows, beside Great Expectations over all rows.

The same expectations over the same events of one hour, in turn: the exact ones by the embedded engine from
the lake's own Parquet files and the others by Great Expectations on a sample, as a gate does it; and all of
them by Great Expectations on a pandas frame of all rows, its usual use, as the peer (up to a million rows:
then it takes gigabytes). Each runs in a process of its own. Imports are timed on their own, because a task
that Airflow forks from a loaded process does not pay them; the gate's sample was picked before, as it is
while an hour is staged.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench._measure import clocked, in_child

# Less only to try the benchmark itself.
SCALE = float(os.environ.get("SLUICE_BENCH_SCALE", "1"))
SIZES = {
    name: max(100, int(rows * SCALE))
    for name, rows in {"1k": 1_000, "100k": 100_000, "1m": 1_000_000, "5m": 5_000_000}.items()
}
PEER_MOST = "1m"
SAMPLE_ROWS = 2_000
REPEATS = 3
BATCH = 20_000
START = "2013-01-02T12:00:00"

# What every gate of an export asks, and what a suite adds; the last three are looked at row by row.
EXACT: list[tuple[str, dict[str, Any]]] = [
    ("expect_column_values_to_not_be_null", {"column": "uuid"}),
    ("expect_column_values_to_be_unique", {"column": "uuid"}),
    ("expect_column_values_to_not_be_null", {"column": "event_type"}),
    ("expect_column_values_to_not_be_null", {"column": "amplitude_id"}),
    ("expect_column_values_to_not_be_null", {"column": "server_upload_time"}),
]
PROPERTY: list[tuple[str, dict[str, Any]]] = [
    (
        "expect_column_values_to_be_between",
        {"column": "event_properties.delay", "min_value": 0, "max_value": 100},
    ),
]
SAMPLED: list[tuple[str, dict[str, Any]]] = [
    ("expect_column_values_to_match_regex", {"column": "uuid", "regex": "^[0-9a-f-]{36}$"}),
    ("expect_column_values_to_match_regex", {"column": "device_id", "regex": "^d[0-9]+$"}),
    ("expect_column_values_to_be_of_type", {"column": "event_properties.carrier", "type_": "str"}),
]


def run() -> dict[str, Any]:
    """Measure; the figures' names say their units."""
    figures: dict[str, Any] = {"quality.sample_rows": SAMPLE_ROWS, "quality.repeats": REPEATS}
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        for name, rows in SIZES.items():
            order = {"folder": f"{folder}/{name}", "rows": rows}
            in_child("bench.quality", order | {"what": "write"})
            kinds = ["exact", "property", "gate", *(["peer"] if rows <= SIZES[PEER_MOST] else [])]
            done: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
            for _ in range(REPEATS):
                for kind, runs in done.items():
                    runs.append(in_child("bench.quality", order | {"what": kind}))
            for kind, runs in done.items():
                for figure in runs[0]:
                    values = [one[figure] for one in runs]
                    worst = max(values) if figure == "peak_memory_mb" else statistics.median(values)
                    figures[f"quality.{kind}.{name}.{figure}"] = worst
    imports = [in_child("bench.quality", {"what": "imports"}) for _ in range(REPEATS)]
    for figure in imports[0]:
        figures[f"quality.import.{figure}"] = statistics.median(one[figure] for one in imports)
    peer = f"quality.peer.{PEER_MOST}.seconds"
    figures["quality.times_peer"] = figures[peer] / figures[f"quality.gate.{PEER_MOST}.seconds"]
    return figures


def _events(rows: int) -> Iterator[Any]:
    import numpy as np
    import pyarrow as pa

    random = np.random.default_rng(1)
    start = np.datetime64(START, "us")
    for first in range(0, rows, BATCH):
        count = min(BATCH, rows - first)
        digits = random.integers(0, 256, (count, 16), dtype=np.uint8).tobytes().hex()
        each = (digits[n * 32 : n * 32 + 32] for n in range(count))
        times = start + np.sort(random.integers(0, 3_600_000_000, count)).astype("timedelta64[us]")
        delays, devices = random.integers(0, 100, count), random.integers(0, 500_000, count)
        yield pa.RecordBatch.from_pydict(
            {
                "app": pa.array(np.full(count, 187520)),
                "uuid": [f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}" for h in each],
                "event_type": pa.array(np.array(["view", "click", "buy"])[random.integers(0, 3, count)]),
                "amplitude_id": pa.array(random.integers(10**11, 10**12, count)),
                "server_upload_time": pa.array(times).cast(pa.timestamp("us", tz="UTC")),
                "device_id": [f"d{n}" for n in devices],
                "event_properties": [
                    f'{{"carrier": "AA", "delay": {n}, "text": "{"x" * 200}"}}' for n in delays
                ],
            }
        )


def _write(order: dict[str, Any]) -> dict[str, Any]:
    """Write the events as the lake's files are written."""
    import pyarrow.fs as pafs

    from sluice.lake.data_files import write_data_files

    Path(order["folder"]).mkdir()
    lake = pafs.SubTreeFileSystem(order["folder"], pafs.LocalFileSystem())
    write_data_files(lake, _events(order["rows"]), ["app"])
    return {}


def _paths(order: dict[str, Any]) -> list[str]:
    return [str(path) for path in sorted(Path(order["folder"]).rglob("*.parquet"))]


def _gate(order: dict[str, Any]) -> dict[str, Any]:
    """Evaluate as a gate does; what is not looked at row by row imports no Great Expectations."""
    from sluice.lake.sql import connect
    from sluice.quality.evaluate import evaluate
    from sluice.quality.results import Expectation
    from sluice.quality.sample import frame_of

    asked = (
        EXACT + (PROPERTY if order["what"] != "exact" else []) + (SAMPLED if order["what"] == "gate" else [])
    )
    expectations = [Expectation(type_, kwargs) for type_, kwargs in asked]
    sample: list[dict[str, Any]] = []
    if order["what"] == "gate":
        _import()
        sample = _sample(order, expectations)
    figures: dict[str, float] = {}
    with connect() as connection, clocked(figures):
        connection.execute("SET TimeZone = 'UTC'; SET threads = 2; SET preserve_insertion_order = false")
        connection.execute(f"CREATE VIEW events AS SELECT * FROM read_parquet({_paths(order)!r})")
        results = evaluate(expectations, connection, "events", lambda: frame_of(sample, expectations))[None]
    _all_hold(results)
    return figures


def _sample(order: dict[str, Any], expectations: Any) -> list[dict[str, Any]]:
    """Pick the sampled rows out of the files; a gate gets them from the stage before, which has all rows."""
    import pyarrow.dataset as pads

    from sluice.quality.sample import RowPicker, columns_of

    picker, first = RowPicker(order["rows"], SAMPLE_ROWS, "bench"), 0
    records: list[dict[str, Any]] = []
    columns = sorted({name.split(".")[0] for each in expectations for name in columns_of(each)})
    for batch in pads.dataset(_paths(order)).to_batches(columns=columns):
        records += batch.take(picker.pick(first, batch.num_rows)).to_pylist()
        first += batch.num_rows
    return records


def _peer(order: dict[str, Any]) -> dict[str, Any]:
    """Let Great Expectations look at all rows, read into a pandas frame."""
    _import()
    import great_expectations as gx
    import pandas as pd
    from great_expectations.data_context.types.base import ProgressBarsConfig
    from great_expectations.expectations.registry import get_expectation_impl

    figures: dict[str, float] = {}
    with clocked(figures):
        columns = [
            "uuid",
            "event_type",
            "amplitude_id",
            "server_upload_time",
            "device_id",
            "event_properties",
        ]
        frame = pd.read_parquet(_paths(order), columns=columns)
        properties = frame.pop("event_properties").map(json.loads)
        for name in ("carrier", "delay"):
            values = properties.map(lambda found, name=name: found.get(name))
            # A text column of pandas has one type; to find another in it, it must hold objects.
            frame[f"event_properties.{name}"] = values.astype(object) if name == "carrier" else values
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        asset = context.data_sources.add_pandas("p").add_dataframe_asset("a")
        batch = asset.add_batch_definition_whole_dataframe("w").get_batch({"dataframe": frame})
        chosen = [get_expectation_impl(type_)(**kwargs) for type_, kwargs in EXACT + PROPERTY + SAMPLED]
        found = batch.validate(gx.ExpectationSuite(name="s", expectations=chosen), result_format="BASIC")
    if not found.success:
        raise RuntimeError(f"The peer finds faults: {found.describe()}")
    return figures


def _all_hold(results: Any) -> None:
    if failed := [str(result) for result in results if not result.success]:
        raise RuntimeError(f"The gate finds faults: {failed}")


def _import() -> None:
    import great_expectations
    import pandas

    assert great_expectations
    assert pandas


def _imports(order: dict[str, Any]) -> dict[str, Any]:
    """Import what a gate needs, one after the other."""
    figures: dict[str, float] = {}
    for name in ("duckdb", "pandas", "great_expectations"):
        began, began_cpu = time.perf_counter(), time.process_time()
        __import__(name)
        figures[f"{name}.seconds"] = time.perf_counter() - began
        figures[f"{name}.cpu_seconds"] = time.process_time() - began_cpu
    return figures


if __name__ == "__main__":
    order = json.loads(sys.stdin.read())
    work = {"write": _write, "peer": _peer, "imports": _imports}
    print(json.dumps(work.get(order["what"], _gate)(order)))

"""The whole import path, from an object on S3 to committed rows, with 10 and 100 million known keys.

Download, gunzip, parse, convert, validate, stage, check, decide duplicates, commit: the conversion, the gate
and the load run in a process each, as their tasks do, against SeaweedFS, which holds the files and the lake.
One percent of each file's rows have keys that the lake knows; a run whose counts are wrong ends the
benchmark.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from bench import _shop_files as shop
from bench._measure import clocked, in_child

# Smaller only to try the benchmark itself.
SCALE = float(os.environ.get("SLUICE_BENCH_SCALE", "1"))
LARGE, SMALL = int(1e9 * SCALE), int(1e8 * SCALE)
HISTORIES = {"10m": int(10_000_000 * SCALE), "100m": int(100_000_000 * SCALE)}
FILE_TYPES = ("json", "csv", "parquet")
SUFFIX = {"json": "json.gz", "csv": "csv.gz", "parquet": "parquet"}
BUCKET = "bench-import"
PROJECT = 187520
# So many keys does a data file of the history have, and one row in so many of a file is known before.
HISTORY_FILE_ROWS = 1_000_000
ONE_IN = 100


def run() -> dict[str, float]:
    """Measure; the figures' names say their units."""
    from sluice.local.seaweedfs import SeaweedFS

    figures: dict[str, float] = {"import.file_bytes": LARGE, "import.small_file_bytes": SMALL}
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder, SeaweedFS(Path(folder)) as server:
        access = server.access
        access.client().create_bucket(Bucket=BUCKET)
        order = {
            "folder": folder,
            "endpoint_url": access.endpoint_url,
            "access_key": access.access_key,
            "secret_key": access.secret_key,
        }
        rows = {}
        for size_name, size in (("small", SMALL), ("large", LARGE)):
            for file_type in FILE_TYPES:
                made = in_child(
                    "bench.imports",
                    order | {"what": "file", "file_type": file_type, "size": size, "size_name": size_name},
                )
                rows[file_type, size_name] = int(made["rows"])
        small_rows = {file_type: rows[file_type, "small"] for file_type in FILE_TYPES}
        for history, keys in HISTORIES.items():
            editions = {
                f"{file_type}_{temperature}": rows[file_type, "large"]
                for temperature in ("cold", "warm")
                for file_type in (FILE_TYPES if (history, temperature) == ("10m", "warm") else ("json",))
            }
            lake = order | {"lake": history}
            in_child("bench.imports", lake | {"what": "history", "keys": keys, "editions": editions})
            for edition, count in editions.items():
                file_type, temperature = edition.split("_")
                one = _import(lake, file_type, "large", edition, count)
                figures |= {f"import.{file_type}.{history}.{temperature}.{k}": v for k, v in one.items()}
            if history == "10m":
                # Into the same lake: what the history takes, both sizes of files take.
                for file_type, count in small_rows.items():
                    one = _import(lake, file_type, "small", f"{file_type}_small", count, known=0)
                    figures |= {f"import.{file_type}.small.{k}": v for k, v in one.items()}
            shutil.rmtree(f"{folder}/cache-{history}", ignore_errors=True)
        in_child("bench.imports", order | {"what": "history", "lake": "small", "keys": 0, "editions": {}})
        for file_type in FILE_TYPES:
            figures |= _stages(order, file_type)
    for file_type in FILE_TYPES:
        large, small = (
            figures[f"import.{file_type}.{which}.peak_memory_mb"] for which in ("10m.warm", "small")
        )
        figures[f"import.{file_type}.memory_large_to_small"] = large / small
    figures["import.rows_per_second"] = figures["import.json.10m.warm.rows_per_second"]
    return figures


def _import(
    order: dict[str, Any], file_type: str, size_name: str, edition: str, rows: int, known: int | None = None
) -> dict[str, float]:
    """Import one file whole and return its figures. Raises RuntimeError if the counts are wrong."""
    order = order | {"file_type": file_type, "size_name": size_name, "edition": edition}
    convert = in_child("bench.imports", order | {"what": "convert"})
    check = in_child("bench.imports", order | {"what": "check"})
    load = in_child("bench.imports", order | {"what": "load"})
    known = len(range(0, rows, ONE_IN)) if known is None else known
    counts = load["counts"]
    if (counts["read"], counts["duplicate"], counts["loaded"]) != (rows, known, rows - known):
        raise RuntimeError(f"{edition}: {rows} rows, {known} of them known, became {counts}")
    seconds = convert["seconds"] + check["seconds"] + load["seconds"]
    return {
        "rows": rows,
        "rows_per_second": rows / seconds,
        "seconds": seconds,
        "convert_seconds": convert["seconds"],
        "check_seconds": check["seconds"],
        "load_seconds": load["seconds"],
        "convert_cpu_seconds": convert["cpu_seconds"],
        "check_cpu_seconds": check["cpu_seconds"],
        "load_cpu_seconds": load["cpu_seconds"],
        "convert_peak_memory_mb": convert["peak_memory_mb"],
        "check_peak_memory_mb": check["peak_memory_mb"],
        "load_peak_memory_mb": load["peak_memory_mb"],
        "peak_memory_mb": max(step["peak_memory_mb"] for step in (convert, check, load)),
    }


def _stages(order: dict[str, Any], file_type: str) -> dict[str, float]:
    """Return the CPU seconds of each stage of converting the small file, in one process, per million rows."""
    edition = f"{file_type}_stages"
    order = order | {"lake": "small", "file_type": file_type, "size_name": "small", "edition": edition}
    done = in_child("bench.imports", order | {"what": "stages"})
    del done["peak_memory_mb"]
    return {f"import.stages.{file_type}.{name}.cpu_s_per_million": value for name, value in done.items()}


def _key(order: dict[str, Any]) -> str:
    return f"{order['size_name']}/{order['file_type']}/events.{SUFFIX[order['file_type']]}"


def _store(order: dict[str, Any]) -> Any:
    from sluice.access.storage import S3Store

    return S3Store.of(
        access_key=order["access_key"],
        secret_key=order["secret_key"],
        endpoint_url=order["endpoint_url"],
        region="us-east-1",
    )


def _lake(order: dict[str, Any]) -> tuple[Any, Any]:
    from sluice.lake import Lake
    from sluice.ledger import Ledger

    name = order["lake"]
    os.environ["SLUICE_CACHE"] = f"{order['folder']}/cache-{name}"
    lake = Lake(f"s3://{BUCKET}-lake-{name}/lake", _store(order).delta_options())
    return lake, Ledger.open(f"sqlite:///{order['folder']}/ledger-{name}.db")


def _file(order: dict[str, Any]) -> dict[str, Any]:
    """Make a file and put it into the bucket."""
    path = Path(order["folder"]) / f"{order['size_name']}.{order['file_type']}"
    count = shop.write(path, order["file_type"], order["size"])
    _store(order).client().upload_file(str(path), BUCKET, _key(order))
    size = path.stat().st_size
    path.unlink()
    return {"rows": count, "bytes": size}


def _history(order: dict[str, Any]) -> dict[str, Any]:
    """Make a lake with known keys, spread over the last six days, some of them those of rows to come."""
    import numpy as np
    import pyarrow as pa

    from sluice.imports.identity import dedup_key
    from sluice.lake.commits import LogEntry
    from sluice.lake.data_files import write_data_files
    from sluice.lake.schema import TIMESTAMP
    from sluice.lake.snapshot import Snapshot

    store = _store(order)
    store.client().create_bucket(Bucket=f"{BUCKET}-lake-{order['lake']}")
    lake, ledger = _lake(order)
    lake.create()
    planted = [
        dedup_key(device, insert_id + edition)
        for edition, rows in order["editions"].items()
        for device, insert_id in _known_rows(rows)
    ]
    random = np.random.default_rng(7)
    files = max(1, order["keys"] // HISTORY_FILE_ROWS) if order["keys"] else 0
    begin = ledger.now() - timedelta(days=6)
    for number in range(files):
        keys = random.integers(-(2**63), 2**63 - 1, (HISTORY_FILE_ROWS, 2), dtype=np.int64)
        mine = planted[number::files]
        if mine:
            keys[: len(mine)] = mine
        instant = begin + number * (timedelta(days=6) / files)
        constants = {
            "app": pa.scalar(PROJECT, pa.int64()),
            "upload_date": pa.scalar(date(instant.year, instant.month, instant.day)),
            "server_upload_time": pa.scalar(instant, TIMESTAMP),
            "loaded_at": pa.scalar(instant, TIMESTAMP),
        }
        batch = pa.RecordBatch.from_pydict(
            {name: pa.repeat(value, HISTORY_FILE_ROWS) for name, value in constants.items()}
            | {"dedup_hi": keys[:, 0], "dedup_lo": keys[:, 1]}
        )
        snapshot = Snapshot.open(lake, ledger, PROJECT)
        entry = LogEntry("load", PROJECT, snapshot.number, f"history-{number}", "history", instant)
        partitions = snapshot.tables["events"].metadata().partition_columns
        snapshot.commit(write_data_files(lake.table_filesystem("events"), [batch], partitions), entry)
    return {}


def _known_rows(rows: int) -> list[tuple[str, str]]:
    """Return device and insert id of every hundredth row."""
    known = []
    for start in range(0, rows, shop.BLOCK_ROWS):
        block = shop.rows(start, shop.BLOCK_ROWS).slice(0, rows - start)
        places = list(range(-start % ONE_IN, block.num_rows, ONE_IN))
        ids = block.select(["device_id", "insert_id"]).take(places).to_pydict()
        known.extend(zip(ids["device_id"], ids["insert_id"], strict=True))
    return known


def _import_run(order: dict[str, Any]) -> Any:
    from sluice.config import ImportConfig
    from sluice.imports.session import ImportRun

    lake, ledger = _lake(order)
    converter = Path(order["folder"]) / f"{order['edition']}.json"
    converter.write_text(json.dumps(shop.converter(order["file_type"], order["edition"])))
    source = ImportConfig(
        id=order["edition"],
        name="Benchmark",
        owner="owner@example.com",
        project=PROJECT,
        bucket=BUCKET,
        prefix=f"{order['size_name']}/{order['file_type']}/",
        region="us-east-1",
        converter=converter.name,
        size_policy="ignore",
        error_budget=0,
        enabled=True,
    )
    return ImportRun(source, "bench", _store(order), lake, ledger, converter)


def _convert(order: dict[str, Any]) -> dict[str, Any]:
    """Do what the first two tasks of an import do: discover the file and convert it."""
    from sluice.imports.convert import convert_batch
    from sluice.imports.discovery import discover

    run = _import_run(order)
    figures: dict[str, Any] = {}
    with clocked(figures):
        batches = discover(run).batches
        done = [convert_batch(run, batch, f"bench#{batch.number}") for batch in batches]
    if sum(one.staged for one in done) != 1:
        raise RuntimeError(f"Not converted: {done}")
    return figures


def _stages_of(order: dict[str, Any]) -> dict[str, float]:
    """Go through the file up to each stage in turn: a stage costs what it adds to those before it."""
    import gc
    import pickle
    from itertools import islice

    from sluice.converter import Converter
    from sluice.imports.objects import SourceObject, describe
    from sluice.imports.pipelines import pipeline_for
    from sluice.imports.readers import reader_for
    from sluice.imports.staging import StagingWriter, run_folder

    run = _import_run(order)
    client, source = run.store.client(), run.source
    converter = Converter.from_file(run.converter_path)
    key = _key(order)
    found = describe(client, BUCKET, key)

    def content() -> SourceObject:
        return SourceObject(client, BUCKET, key, found.etag, found.size)

    pieces = list(reader_for(content(), converter).pieces())
    pipeline = pipeline_for(source, BUCKET, key, converter, run.ledger.now())
    first, numbered = 0, []
    for piece in pieces:
        numbered.append((first, piece))
        first += piece.count
    blocks = [pipeline.block(number, piece) for number, piece in numbered]

    def download() -> None:
        for _ in content().blocks():
            pass

    def cut() -> None:
        for _ in reader_for(content(), converter).pieces():
            pass

    def parse() -> None:
        for piece in pieces:
            for _ in piece.reader():
                pass

    def convert() -> None:
        for piece in pieces:
            reader = iter(piece.reader())
            while records := list(islice(reader, 1000)):
                converter.convert_columns(records, clock_ms=0)

    def validate() -> None:
        for number, piece in numbered:
            pipeline.block(number, piece)

    def hand_over() -> None:
        for piece in pieces:
            pickle.loads(pickle.dumps(piece, 5))
        for block in blocks:
            pickle.loads(pickle.dumps(block, 5))

    def stage() -> None:
        with StagingWriter(run.lake.filesystem(), run_folder(source.id, "stages")) as writer:
            for block in blocks:
                writer.write(block)
            writer.close(events=True)

    gc.disable()
    took = {}
    for step in (download, cut, parse, convert, validate, hand_over, stage):
        figures: dict[str, float] = {}
        with clocked(figures):
            step()
        took[step.__name__] = figures["cpu_seconds"] / first * 1e6
    return {
        "download": took["download"],
        "unpack_and_cut": took["cut"] - took["download"],
        "parse": took["parse"],
        "convert": took["convert"] - took["parse"],
        "validate_and_build": took["validate"] - took["convert"],
        "between_processes": took["hand_over"],
        "stage": took["stage"],
    }


def _check(order: dict[str, Any]) -> dict[str, Any]:
    """Do what the task of the quality gate does."""
    from sluice.imports.gate import check_load

    run = _import_run(order)
    figures: dict[str, Any] = {}
    with clocked(figures):
        gate = check_load(run)
    if gate is None or gate.state != "passed":
        raise RuntimeError(f"The gate did not pass: {gate}")
    return figures


def _load(order: dict[str, Any]) -> dict[str, Any]:
    """Do what the load task does."""
    from sluice.imports.load import load_run

    run = _import_run(order)
    figures: dict[str, Any] = {}
    with clocked(figures):
        loaded = load_run(run)
    return figures | {"counts": asdict(loaded.counts)}


if __name__ == "__main__":
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    WORK = {
        "file": _file,
        "history": _history,
        "convert": _convert,
        "check": _check,
        "load": _load,
        "stages": _stages_of,
    }
    an_order = json.loads(sys.stdin.read())
    print(json.dumps(WORK[an_order["what"]](an_order)))

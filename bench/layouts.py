"""Two layouts of the lake's `events`: partitions by day or by hour of server_upload_time.

Real times (the flights of 2013), 60 columns, on a real S3 server. For each layout: writing the year,
opening the table, reading single hours, scanning two columns, and a MERGE of 1,000 changed rows in two hours.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from deltalake import DeltaTable

from sluice.access.storage import S3Store
from sluice.demo.flights import source_path
from sluice.lake import Lake
from sluice.lake.data_files import write_data_files
from sluice.lake.schema import EVENTS, TIMESTAMP
from sluice.local.seaweedfs import SeaweedFS

PROJECT = 187520
READS = 24
REPEATS = 3
HOUR = timedelta(hours=1)
UPLOAD_HOUR = pa.field("upload_hour", pa.string())


def events() -> pa.Table:
    """Make rows of `events` from the flights, sorted by time."""
    flights = pd.read_csv(source_path(), dtype=str, keep_default_na=False)
    due = pd.to_datetime(flights["time_hour"], utc=True) + pd.to_timedelta(
        flights["minute"].astype(int), "min"
    )
    flights = flights.assign(due=due).sort_values("due", kind="stable")
    rows = len(flights)
    random_bytes = random.Random(1).randbytes(16 * rows)
    times = pa.array(flights["due"].to_numpy("datetime64[us]")).cast(TIMESTAMP)
    known: dict[str, pa.Array] = {
        "app": pa.array(np.full(rows, PROJECT)),
        "uuid": pa.array(str(uuid.UUID(bytes=random_bytes[16 * i : 16 * i + 16])) for i in range(rows)),
        "user_id": pa.array(flights["tailnum"]),
        "device_id": pa.array(flights["carrier"] + "-" + flights["flight"] + "-" + flights["origin"]),
        "event_type": pa.array(["departed"] * rows),
        "event_properties": pa.array(
            '{"origin":"' + flights["origin"] + '","destination":"' + flights["dest"] + '"}'
        ),
        "amplitude_id": pa.array(np.arange(rows) % 4000 + (1 << 40)),
        "upload_date": times.cast(pa.timestamp("us")).cast(pa.date32()),
        "loaded_at": times,
        "seq": pa.array(np.arange(rows)),
        "revision": pa.array(np.zeros(rows, dtype=np.int32)),
        **dict.fromkeys(("server_upload_time", "event_time", "processed_time", "client_event_time"), times),
    }
    columns = [
        known[field.name].cast(field.type) if field.name in known else pa.nulls(rows, field.type)
        for field in EVENTS
    ]
    return pa.table(columns, schema=EVENTS)


class Layout:
    """One way to partition the table."""

    def __init__(self, name: str, lake: Lake) -> None:
        self.partition = "upload_date" if name == "day" else "upload_hour"
        self.uri = f"{lake.uri}/layout-{name}"
        self.lake = lake
        self.name = name
        self.schema = EVENTS if name == "day" else EVENTS.append(UPLOAD_HOUR)

    def rows(self, table: pa.Table) -> pa.Table:
        if self.name == "day":
            return table
        hours = pc.strftime(table["server_upload_time"], format="%Y-%m-%dT%H")
        return table.append_column(UPLOAD_HOUR, hours)

    def write(self, table: pa.Table) -> None:
        """Write the year as twelve loads, as the demo does."""
        DeltaTable.create(
            self.uri,
            schema=self.schema,
            partition_by=["app", self.partition],
            configuration={"delta.dataSkippingStatsColumns": "server_upload_time,loaded_at"},
            storage_options=self.lake.storage_options,
        )
        months = pc.month(table["server_upload_time"])
        for month in range(1, 13):
            rows = self.rows(table.filter(pc.equal(months, month)))
            actions = write_data_files(
                self.lake.table_filesystem(f"layout-{self.name}"),
                rows.to_batches(20_000),
                ["app", self.partition],
            )
            opened = self.open()
            opened.create_write_transaction(actions, "append", self.schema, ["app", self.partition])

    def open(self) -> DeltaTable:
        return DeltaTable(self.uri, storage_options=self.lake.storage_options)

    def predicate(self, hour: datetime) -> str:
        if self.name == "day":
            return f"upload_date = '{hour:%Y-%m-%d}'"
        return f"upload_hour = '{hour:%Y-%m-%dT%H}'"

    def read(self, table: DeltaTable, hour: datetime) -> int:
        """Read one hour, all columns."""
        dataset = table.to_pyarrow_dataset(
            file_pruning_predicate=self.predicate(hour),
            filesystem=self.lake.table_filesystem(f"layout-{self.name}"),
        )
        column = pads.field("server_upload_time")
        within = (column >= pa.scalar(hour, TIMESTAMP)) & (column < pa.scalar(hour + HOUR, TIMESTAMP))
        return int(dataset.to_table(filter=within, columns=EVENTS.names).num_rows)

    def merge(self, table: pa.Table, hours: list[datetime]) -> None:
        """Change every row of the given hours, by uuid."""
        column = table["server_upload_time"]
        mask = pc.or_(
            *(pc.equal(pc.floor_temporal(column, unit="hour"), pa.scalar(h, TIMESTAMP)) for h in hours)
        )
        changed = self.rows(table.filter(mask))
        changed = changed.set_column(
            changed.schema.get_field_index("revision"), "revision", pa.array([1] * len(changed), pa.int32())
        )
        where = " OR ".join(f"t.{self.predicate(hour)}" for hour in hours)
        opened = self.open()
        (
            opened.merge(
                changed,
                f"t.app = {PROJECT} AND ({where}) AND t.uuid = s.uuid",
                source_alias="s",
                target_alias="t",
            )
            .when_matched_update({"revision": "s.revision"})
            .execute()
        )


def measure(layout: Layout, table: pa.Table) -> Iterator[tuple[str, float]]:
    began = time.perf_counter()
    layout.write(table)
    yield "write_year_seconds", time.perf_counter() - began
    opened = layout.open()
    actions = pa.table(opened.get_add_actions())
    yield "files", float(actions.num_rows)
    yield "megabytes", pc.sum(actions["size_bytes"]).as_py() / 1e6
    yield "open_seconds", statistics.median(timed(layout.open) for _ in range(REPEATS))
    first = datetime(2013, 7, 4, tzinfo=UTC)
    hours = [first + n * HOUR for n in range(READS)]
    yield "read_one_hour_seconds", statistics.median(timed(layout.read, opened, hour) for hour in hours)
    yield "scan_two_columns_seconds", statistics.median(timed(scan, layout) for _ in range(REPEATS))
    merges = []
    for repeat in range(REPEATS):
        day = datetime(2013, 8, 1 + repeat, 14, tzinfo=UTC)
        merges.append(timed(layout.merge, table, [day, day + 3 * HOUR]))
    yield "merge_two_hours_seconds", statistics.median(merges)


def scan(layout: Layout) -> None:
    dataset = layout.open().to_pyarrow_dataset(
        filesystem=layout.lake.table_filesystem(f"layout-{layout.name}")
    )
    with duckdb.connect() as connection:
        connection.register("events", dataset)
        connection.sql(
            "SELECT count(*), count(DISTINCT user_id) FROM events WHERE event_properties LIKE '%JFK%'"
        ).fetchall()


def timed(function, *arguments) -> float:
    began = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - began


def run() -> dict[str, float]:
    table = events()
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder, SeaweedFS(Path(folder)) as server:
        access = server.access
        access.client().create_bucket(Bucket="bench-layouts")
        store = S3Store.of(
            access_key=access.access_key,
            secret_key=access.secret_key,
            endpoint_url=access.endpoint_url,
            region=access.region,
        )
        lake = Lake("s3://bench-layouts", store.delta_options())
        return {
            f"layouts.{name}.{figure}": value
            for name in ("day", "hour")
            for figure, value in measure(Layout(name, lake), table)
        } | {"layouts.rows": float(table.num_rows), "layouts.repeats": float(REPEATS)}

"""Files of a web shop's events for the import benchmark: JSON lines, CSV and Parquet with the same rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from isal import isal_zlib

BLOCK_ROWS = 50_000
DAY_MS = 86_400_000
# 2013-01-01T00:00Z
BEGIN_MS = 1_356_998_400_000

_POOLS = {
    "city": ("Saint-Étienne ", 500),
    "country": ("Country ", 60),
    "region": ("Region ", 200),
    "language": ("Language ", 15),
    "carrier": ("Carrier ", 9),
    "device_model": ("Model X", 120),
    "os_name": ("OS ", 8),
    "os_version": ("17.", 40),
    "platform": ("Platform ", 3),
    "app_version": ("4.2.", 12),
    "page": ("/products/winter/shoes-", 5000),
    "referrer": ("https://search.example.com/?q=shoes+", 900),
    "campaign": ("campaign-", 70),
    "company": ("Company ", 3000),
    "plan": ("plan-", 4),
}
_EVENT_PROPERTIES = ("page", "referrer", "campaign", "price", "pieces", "position", "coupon")
_USER_PROPERTIES = ("plan", "age", "member", "newsletter")
_SAME_NAME = (
    "event_type", "time", "user_id", "device_id", "session_id", "city", "country", "region", "language",
    "carrier", "device_model", "os_name", "os_version", "platform", "app_version", "ip",
)  # fmt: skip


def converter(file_type: str, edition: str) -> dict[str, Any]:
    """Return a converter with 21 outputs, 3 of them objects; `edition` makes the insert_ids others."""
    numbers = {"price", "pieces", "position", "age"}

    def cell(name: str) -> Any:
        # A number that CSV gives as text becomes one.
        return ["add", name] if name in numbers else name

    return {
        "converterConfig": {
            "fileType": file_type,
            "compressionType": "none" if file_type == "parquet" else "gzip",
            "convertToAmplitudeFunc": {
                **{name: name for name in _SAME_NAME},
                "insert_id": ["concat", "insert_id", ["value", edition]],
                "event_properties": {name: cell(name) for name in _EVENT_PROPERTIES},
                "user_properties": {name: cell(name) for name in _USER_PROPERTIES},
                "groups": {"company": "company"},
            },
        },
        "keyValidatorConfig": {"filterPattern": ".*"},
    }


def rows(start: int, count: int) -> pa.RecordBatch:
    """Make rows `start` to `start + count`: the same whenever and in whatever blocks they are made."""
    random = np.random.default_rng(start)
    index = np.arange(start, start + count)
    users = random.lognormal(9, 1.5, count).astype(np.int64) % 100_000
    columns: dict[str, Any] = {
        name: pa.array([f"{text}{n}" for n in range(size)]).take(pa.array((users * 31 + index) % size))
        for name, (text, size) in _POOLS.items()
    }
    prices = random.integers(0, 100_000, count)
    columns |= {
        "event_type": pa.array([f"event type {n}" for n in range(50)]).take(
            pa.array(random.zipf(1.5, count) % 50)
        ),
        "time": pa.array(BEGIN_MS + index * 250 % (30 * DAY_MS)),
        "user_id": pa.array([f"user{user}@example.com" for user in users]),
        "device_id": pa.array([f"4289c8b4-7afe-49ed-8814-{user * 7919:012x}" for user in users]),
        "session_id": pa.array(BEGIN_MS + users * 1000),
        "ip": pa.array([f"203.0.{user % 256}.{user // 256}" for user in users]),
        "insert_id": pa.array([insert_id(n) for n in index]),
        "price": pa.array(prices / 100),
        "pieces": pa.array(prices % 7),
        "position": pa.array(prices % 300),
        "coupon": pa.array(
            [f"SAVE{price}" if price % 9 == 0 else None for price in prices.tolist()], pa.string()
        ),
        "age": pa.array(users % 90),
        "member": pa.array([f"since {2000 + user % 13}" for user in users]),
        "newsletter": pa.array(np.where(users % 3 == 0, "yes", "no")),
    }
    return pa.RecordBatch.from_pydict(columns)


def insert_id(row: int) -> str:
    """Return the insert_id that a row has in the file."""
    return f"f47ac10b-58cc-4372-a567-{row:012d}"


def write(path: Path, file_type: str, size: int) -> int:
    """Write a file of about `size` bytes, uncompressed, and return its rows.

    JSON lines and CSV are gzipped; the Parquet file has as many rows as the JSON lines of that size.
    """
    if file_type == "parquet":
        return _write_parquet(path, sum(block.num_rows for block, _ in _texts("json", size)))
    packer = isal_zlib.compressobj(2, isal_zlib.DEFLATED, 31)
    count = 0
    with path.open("wb") as file:
        for block, text in _texts(file_type, size):
            file.write(packer.compress(text))
            count += block.num_rows
        file.write(packer.flush())
    return count


def _texts(file_type: str, size: int) -> Iterator[tuple[pa.RecordBatch, bytes]]:
    start = done = 0
    while done < size:
        block = rows(start, BLOCK_ROWS)
        text = _json_lines(block) if file_type == "json" else _csv_lines(block, header=start == 0)
        if done + len(text) > size:
            # The last block is cut so that the file has the size that was asked for.
            block = block.slice(0, max(1, BLOCK_ROWS * (size - done) // len(text)))
            text = _json_lines(block) if file_type == "json" else _csv_lines(block, header=start == 0)
            done = size
        yield block, text
        start += block.num_rows
        done += len(text)


def _json_lines(block: pa.RecordBatch) -> bytes:
    with duckdb.connect() as connection:
        connection.register("block", block)
        names = ", ".join(f'"{name}" := "{name}"' for name in block.schema.names)
        lines = connection.sql(f"SELECT to_json(struct_pack({names}))::VARCHAR FROM block").fetchall()
    return ("\n".join(line for (line,) in lines) + "\n").encode()


def _csv_lines(block: pa.RecordBatch, *, header: bool) -> bytes:
    sink = pa.BufferOutputStream()
    pacsv.write_csv(block, sink, pacsv.WriteOptions(include_header=header, quoting_style="needed"))
    return bytes(sink.getvalue())


def _write_parquet(path: Path, count: int) -> int:
    with pq.ParquetWriter(path, rows(0, 1).schema, compression="zstd") as writer:
        for start in range(0, count, BLOCK_ROWS):
            writer.write_batch(rows(start, min(BLOCK_ROWS, count - start)))
    return count


def main() -> None:
    """Show what the files are like."""
    block = rows(0, 2)
    print(_json_lines(block).decode(), _csv_lines(block, header=True).decode())
    print(json.dumps(converter("json", "a"), indent=1))


if __name__ == "__main__":
    main()

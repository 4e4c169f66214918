"""How others would write an hour of events to S3: a function for each, run by name in a process of its own.

Each reads the same Parquet file, whose columns have the names and order of an exported line, times as text
and dictionary fields as JSON text, and writes one `.json.gz` of JSON lines with nested objects. The libraries
are imported before the clock starts.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

from bench._measure import clocked

_READ_ROWS = 10_000
# PostHog's own writer cuts its files here.
_PART_BYTES = 50 << 20

Order = dict[str, Any]
Peer = Callable[[Order], Callable[[], object]]


def _client(order: Order) -> Any:
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=order["endpoint_url"],
        aws_access_key_id=order["access_key"],
        aws_secret_access_key=order["secret_key"],
        region_name="us-east-1",
    )


def _fsspec(order: Order) -> dict[str, Any]:
    return {
        "key": order["access_key"],
        "secret": order["secret_key"],
        "client_kwargs": {"endpoint_url": order["endpoint_url"], "region_name": "us-east-1"},
    }


def _url(order: Order) -> str:
    return f"s3://{order['bucket']}/{order['key']}"


def _batches(order: Order) -> Iterator[list[dict[str, Any]]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(order["source"]) as file:
        for batch in file.iter_batches(_READ_ROWS):
            yield batch.to_pylist()


def _parsed(order: Order) -> Iterator[list[dict[str, Any]]]:
    for rows in _batches(order):
        for row in rows:
            for name in order["json_columns"]:
                if row[name] is not None:
                    row[name] = json.loads(row[name])
        yield rows


def _fragments(order: Order) -> Iterator[bytes]:
    """Yield lines with the stored JSON text passed through unparsed."""
    import orjson

    for rows in _batches(order):
        for row in rows:
            for name in order["json_columns"]:
                if row[name] is not None:
                    row[name] = orjson.Fragment(row[name])
        yield b"\n".join(map(orjson.dumps, rows)) + b"\n"


def json_gzip(order: Order) -> Callable[[], object]:
    """The standard library alone, and put_object."""
    client = _client(order)

    def work() -> None:
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb") as packed:
            for rows in _parsed(order):
                for row in rows:
                    packed.write((json.dumps(row) + "\n").encode())
        client.put_object(Bucket=order["bucket"], Key=order["key"], Body=buffer.getvalue())

    return work


def orjson_gzip(order: Order) -> Callable[[], object]:
    """Orjson, the standard library's gzip at level 6, put_object."""
    client = _client(order)

    def work() -> None:
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=6) as packed:
            for lines in _fragments(order):
                packed.write(lines)
        client.put_object(Bucket=order["bucket"], Key=order["key"], Body=buffer.getvalue())

    return work


def orjson_isal(order: Order) -> Callable[[], object]:
    """Orjson, isal at level 2, put_object."""
    from isal import igzip

    client = _client(order)

    def work() -> None:
        buffer = io.BytesIO()
        with igzip.IGzipFile(fileobj=buffer, mode="wb", compresslevel=2) as packed:
            for lines in _fragments(order):
                packed.write(lines)
        client.put_object(Bucket=order["bucket"], Key=order["key"], Body=buffer.getvalue())

    return work


def smart_open_orjson(order: Order) -> Callable[[], object]:
    """Orjson into smart_open, which streams parts and gzips by the key's ending."""
    import smart_open

    client = _client(order)

    def work() -> None:
        with smart_open.open(_url(order), "wb", transport_params={"client": client}) as file:
            for lines in _fragments(order):
                file.write(lines)

    return work


def posthog_shape(order: Order) -> Callable[[], object]:
    """A process pool of two, one gzip member per record, parts of 50 MB."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    client = _client(order)

    def work() -> None:
        upload = client.create_multipart_upload(Bucket=order["bucket"], Key=order["key"])["UploadId"]
        etags: list[str] = []
        part = bytearray()

        def send() -> None:
            answer = client.upload_part(
                Bucket=order["bucket"], Key=order["key"], UploadId=upload, PartNumber=len(etags) + 1,
                Body=bytes(part),
            )  # fmt: skip
            etags.append(answer["ETag"])
            part.clear()

        with ProcessPoolExecutor(2, get_context("spawn")) as pool:
            for members in pool.map(_members, _fragments(order)):
                part += members
                if len(part) >= _PART_BYTES:
                    send()
        send()
        parts: Any = [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, start=1)]
        client.complete_multipart_upload(
            Bucket=order["bucket"], Key=order["key"], UploadId=upload, MultipartUpload={"Parts": parts}
        )

    return work


def _members(lines: bytes) -> bytes:
    return b"".join(gzip.compress(line) for line in lines.splitlines(keepends=True))


def pandas_to_json(order: Order) -> Callable[[], object]:
    """DataFrame.to_json through s3fs, after the dictionary columns were parsed."""
    import pandas
    import s3fs  # noqa: F401

    def work() -> None:
        _frame(pandas, order).to_json(
            _url(order), orient="records", lines=True, compression="gzip", double_precision=15,
            storage_options=_fsspec(order),
        )  # fmt: skip

    return work


def awswrangler_to_json(order: Order) -> Callable[[], object]:
    """wr.s3.to_json, after the dictionary columns were parsed."""
    import awswrangler
    import boto3
    import pandas

    awswrangler.config.s3_endpoint_url = order["endpoint_url"]
    boto3.setup_default_session(
        aws_access_key_id=order["access_key"],
        aws_secret_access_key=order["secret_key"],
        region_name="us-east-1",
    )

    def work() -> None:
        awswrangler.s3.to_json(
            _frame(pandas, order), _url(order), orient="records", lines=True, compression="gzip",
            double_precision=15,
        )  # fmt: skip

    return work


def _frame(pandas: Any, order: Order) -> Any:
    frame = pandas.read_parquet(order["source"], dtype_backend="numpy_nullable")
    for name in order["json_columns"]:
        frame[name] = [json.loads(text) if isinstance(text, str) else None for text in frame[name]]
    return frame


def duckdb_file(order: Order) -> Callable[[], object]:
    """DuckDB's COPY to a file in memory, then upload_file."""
    import duckdb

    client = _client(order)

    def work() -> None:
        path = f"/dev/shm/{os.getpid()}.json.gz"
        try:
            with duckdb.connect() as connection:
                connection.execute(f"COPY ({_query(order)}) TO '{path}' (FORMAT json, COMPRESSION gzip)")
            client.upload_file(path, order["bucket"], order["key"])
        finally:
            if os.path.exists(path):
                os.unlink(path)

    return work


def duckdb_fsspec(order: Order) -> Callable[[], object]:
    """DuckDB's COPY to S3 through fsspec."""
    import duckdb
    import s3fs

    filesystem = s3fs.S3FileSystem(**_fsspec(order))

    def work() -> None:
        with duckdb.connect() as connection:
            connection.register_filesystem(filesystem)
            connection.execute(f"COPY ({_query(order)}) TO '{_url(order)}' (FORMAT json, COMPRESSION gzip)")

    return work


def _query(order: Order) -> str:
    nested = ", ".join(f'"{name}"::JSON AS "{name}"' for name in order["json_columns"])
    return f"SELECT * REPLACE ({nested}) FROM '{order['source']}'"


def chdb_s3(order: Order) -> Callable[[], object]:
    """ClickHouse in the process, writing to its s3() table function."""
    import chdb

    columns = [
        f'CAST("{name}", \'Nullable(JSON)\') AS "{name}"' if name in order["json_columns"] else f'"{name}"'
        for name in order["columns"]
    ]
    address = f"{order['endpoint_url']}/{order['bucket']}/{order['key'].replace('#', '%23')}"
    target = f"'{address}', '{order['access_key']}', '{order['secret_key']}', 'JSONEachRow'"
    statement = (
        f"INSERT INTO FUNCTION s3({target})"
        f" SELECT {', '.join(columns)} FROM file('{order['source']}', Parquet)"
        " SETTINGS max_threads=2, output_format_json_quote_64bit_integers=0, s3_truncate_on_insert=1"
    )
    return lambda: chdb.query(statement)


def dlt_filesystem(order: Order) -> Callable[[], object]:
    """A dlt pipeline with the filesystem destination and JSON lines."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["DLT_DATA_DIR"] = f"{order['folder']}/dlt"
    # Its own conventions would rename `$insert_id` and read text as times.
    os.environ["SCHEMA__NAMING"] = "direct"
    import dlt

    folder, _, name = order["key"].rpartition("/")
    destination = dlt.destinations.filesystem(
        bucket_url=f"s3://{order['bucket']}/{folder}",
        layout=f"{{table_name}}/{name.removesuffix('.json.gz')}.{{file_id}}.{{ext}}",
        credentials={
            "aws_access_key_id": order["access_key"],
            "aws_secret_access_key": order["secret_key"],
            "endpoint_url": order["endpoint_url"],
            "region_name": "us-east-1",
        },
    )

    def work() -> None:
        text = {name: {"data_type": "text"} for name in order["columns"] if name.endswith("time")}
        resource = dlt.resource(_parsed(order), name="events", max_table_nesting=0, columns=text)
        pipeline = dlt.pipeline("bench", destination=destination, dataset_name="bench")
        pipeline.run(resource, loader_file_format="jsonl")

    return work


def singer_target(order: Order) -> Callable[[], object]:
    """Singer's target-s3-jsonl, fed with messages; only the target's work is measured."""
    config = f"{order['folder']}/singer.json"
    messages = f"{order['folder']}/singer.messages"
    with open(config, "w") as file:
        json.dump(
            {
                "s3_bucket": order["bucket"],
                "aws_access_key_id": order["access_key"],
                "aws_secret_access_key": order["secret_key"],
                "aws_endpoint_url": order["endpoint_url"],
                "path_template": order["key"].removesuffix(".gz"),
                "compression": "gzip",
                "work_dir": f"{order['folder']}/singer",
            },
            file,
        )
    with open(messages, "w") as file:
        schema = {"type": "SCHEMA", "stream": "events", "schema": {"properties": {}}, "key_properties": []}
        file.write(json.dumps(schema) + "\n")
        for rows in _parsed(order):
            file.writelines(
                json.dumps({"type": "RECORD", "stream": "events", "record": row}) + "\n" for row in rows
            )

    def work() -> None:
        with open(messages) as file:
            subprocess.run(
                [order["singer"], "-c", config],
                stdin=file,
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=os.environ | {"AWS_DEFAULT_REGION": "us-east-1"},
            )

    return work


def airflow_sql_to_s3(order: Order) -> Callable[[], object]:
    """Airflow's SqlToS3Operator; the dictionary columns stay strings."""
    os.environ["AIRFLOW_HOME"] = f"{order['folder']}/airflow"
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
    extra = {"endpoint_url": order["endpoint_url"], "region_name": "us-east-1"}
    connection = {
        "conn_type": "aws",
        "login": order["access_key"],
        "password": order["secret_key"],
        "extra": extra,
    }
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = json.dumps(connection)
    database = f"{order['folder']}/events-{order['rows']}.db"
    _sqlite(order, database)
    os.environ["AIRFLOW_CONN_EVENTS"] = json.dumps({"conn_type": "sqlite", "host": database})
    from airflow.providers.amazon.aws.transfers.sql_to_s3 import SqlToS3Operator

    operator = SqlToS3Operator(
        task_id="write",
        query="SELECT * FROM events",
        sql_conn_id="events",
        s3_bucket=order["bucket"],
        s3_key=order["key"],
        replace=True,
        file_format="json",
        pd_kwargs={"orient": "records", "lines": True, "compression": "gzip", "double_precision": 15},
    )
    return lambda: operator.execute({})


def _sqlite(order: Order, path: str) -> None:
    import sqlite3

    if os.path.exists(path):
        return
    columns = ", ".join(f'"{name}"' for name in order["columns"])
    marks = ", ".join("?" * len(order["columns"]))
    with sqlite3.connect(path) as database:
        database.execute(f"CREATE TABLE events ({columns})")
        for rows in _batches(order):
            database.executemany(
                f"INSERT INTO events VALUES ({marks})", [tuple(row.values()) for row in rows]
            )


PEERS: dict[str, Peer] = {
    peer.__name__: peer
    for peer in (
        orjson_isal, smart_open_orjson, chdb_s3, duckdb_file, duckdb_fsspec, posthog_shape, orjson_gzip,
        singer_target, awswrangler_to_json, json_gzip, pandas_to_json, dlt_filesystem, airflow_sql_to_s3,
    )
}  # fmt: skip


def main() -> None:
    """Do what the order on standard input says, and print the figures."""
    order = json.loads(sys.stdin.read())
    work = PEERS[order["peer"]](order)
    figures: dict[str, float] = {}
    with clocked(figures):
        work()
    print()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

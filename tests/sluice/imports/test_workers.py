"""Several processes convert a file to the same rows, rejects and counts as one, and end with their parent."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice.converter import Converter
from sluice.imports.blocks import Block
from sluice.imports.csv_rows import CsvFormat, CsvRows
from sluice.imports.errors import FileError
from sluice.imports.identity import RowNames
from sluice.imports.json_rows import JsonRows
from sluice.imports.objects import SourceObject
from sluice.imports.parquet_rows import ParquetRows
from sluice.imports.records import FileReader, Piece
from sluice.imports.rows import RowPipeline
from sluice.imports.tally import Tally
from sluice.imports.times import EventTimes
from sluice.imports.workers import WorkerDied, Workers

READ_AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TIME = 1357034400000


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(2) as workers:
        yield workers


def pipeline(**config: object) -> RowPipeline:
    mapping = {
        "event_type": "event",
        "user_id": "user",
        "time": ["any", "time", ["value", TIME]],
        "insert_id": "id",
        "event_properties": {"note": "note", "n": "n"},
        "colour": "colour",
        "$skip": "skip",
    }
    document = {"fileType": "json", "compressionType": "none", "convertToAmplitudeFunc": mapping, **config}
    converter = Converter.from_config({"converterConfig": document | {"ignoreEventFlag": "$skip"}})
    times = EventTimes("event_time", READ_AT, date(2000, 1, 1), require_time=True)
    return RowPipeline(converter, RowNames("source", "bucket", "file"), times)


def numbered(reader: FileReader) -> Iterator[tuple[int, Piece]]:
    first = 0
    for piece in reader.pieces():
        yield first, piece
        first += piece.count


def no_wait() -> None:
    pass


def whole(blocks: Iterator[Block]) -> tuple[list[Any], list[Any], Tally]:
    events, rejects, tally = [], [], Tally()
    for block in blocks:
        events += [row for batch in block.events for row in batch.to_pylist()]
        rejects += [row for batch in block.rejects for row in batch.to_pylist()]
        tally.add(block.tally)
    return events, rejects, tally


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[i : i + size] for i in range(0, len(data), size))


def json_lines() -> bytes:
    lines = []
    for n in range(300):
        row: dict[str, Any] = {
            "event": f"e{n % 7}",
            "user": f"user-{n}",
            "time": TIME + n * 3_600_000,
            "n": n,
        }
        if n % 11 == 0:
            row |= {"time": "soon", "note": "rejected"}
        if n % 13 == 0:
            row |= {"skip": True}
        if n % 17 == 0:
            row |= {"note": "é" * 3000, "colour": "red", "n": 10**30}
        lines.append(json.dumps(row, ensure_ascii=False))
        if n % 19 == 0:
            lines += ["", " \t\r", '{"torn":', "[1]", '{"event":"\\ud800"}']
    return b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b'\n{"event":"\xff"}\n\n{"event":"last"'


def csv_rows() -> bytes:
    target = io.StringIO()
    target.write("event,user,time,note,n,colour,skip\n\n")
    for n in range(300):
        note = f'"two\r\nlines, ""{n}"""' if n % 5 == 0 and n > 150 else f"note {n}"
        note = "x" * 3000 if n % 23 == 0 else note
        moment = "soon" if n % 11 == 0 else TIME + n * 3_600_000
        target.write(f"e{n % 7},user-{n},{moment},{note},{n},,{'true' if n % 13 == 0 else ''}\n")
        if n % 19 == 0:
            target.write('\n\r\nonly,two\n"closed"too early\n')
    return target.getvalue().encode() + b'caf\xe9,user-1\ne,"not closed\nfor\never\n'


@pytest.mark.parametrize("size", [97, 1000, 1 << 20])
@pytest.mark.parametrize("file_type", ["json", "csv"])
def test_text_becomes_the_same_rows_in_any_process(workers: Workers, file_type: str, size: int) -> None:
    def reader() -> FileReader:
        if file_type == "json":
            return JsonRows(cut(json_lines(), size))
        return CsvRows(cut(csv_rows(), size), CsvFormat())

    alone = pipeline(fileType=file_type)
    expected = whole(alone.block(first, piece) for first, piece in numbered(reader()))
    events, rejects, tally = expected
    assert tally.read == len(events) + len(rejects) + tally.ignored
    assert min(len(events), len(rejects), tally.ignored, tally.rejected) > 10
    assert whole(workers.blocks(pipeline(fileType=file_type), numbered(reader()), no_wait)) == expected
    # The blocks have no part in it: row by row it is the same file.
    by_row = pipeline(fileType=file_type)
    by_row_reader = reader()
    rows = list(by_row(by_row_reader))
    assert len(rows) == len(events) + len(rejects)
    assert by_row.tally.read == tally.read
    assert by_row.tally.reasons == tally.reasons


def test_parquet_becomes_the_same_rows_in_any_process(workers: Workers, tmp_path: Path) -> None:
    count = 10_000
    table = pa.table(
        {
            "event": [f"e{n % 7}" for n in range(count)],
            "user": [f"user-{n}" for n in range(count)],
            "time": pa.array([None if n % 11 == 0 else TIME + n for n in range(count)]),
            "n": list(range(count)),
            "unused": [["a", str(n)] for n in range(count)],
            "skip": [n % 13 == 0 for n in range(count)],
        }
    )
    path = tmp_path / "file.parquet"
    pq.write_table(table, path, row_group_size=3000)

    class Client:
        def get_object(self, **request: Any) -> dict[str, Any]:
            begin, end = map(int, request["Range"].removeprefix("bytes=").split("-"))
            return {"Body": io.BytesIO(path.read_bytes()[begin : end + 1])}

    def pieces() -> Iterator[tuple[int, Piece]]:
        client: Any = Client()
        content = SourceObject(client, "bucket", "file", '"etag"', path.stat().st_size)
        return numbered(ParquetRows(content, ["event", "user", "time", "n", "skip"]))

    def own() -> RowPipeline:
        mapping = {name: name for name in ("time", "$skip")} | {"event_type": "event", "user_id": "user"}
        return pipeline(convertToAmplitudeFunc=mapping | {"$skip": "skip"})

    alone = own()
    expected = whole(alone.block(first, piece) for first, piece in pieces())
    assert len(expected[1]) == expected[2].rejected > 100
    assert "unused" in json.loads(expected[1][0]["raw"])
    assert whole(workers.blocks(own(), pieces(), no_wait)) == expected


def test_what_stops_the_reader_comes_after_the_blocks_before_and_the_processes_go_on(
    workers: Workers,
) -> None:
    def broken() -> Iterator[bytes]:
        yield from cut(json_lines(), 5000)
        raise FileError("cut off")

    taken = []
    with pytest.raises(FileError, match="cut off"):
        taken += workers.blocks(pipeline(), numbered(JsonRows(broken())), no_wait)
    good = JsonRows(cut(json_lines(), 5000))
    assert whole(workers.blocks(pipeline(), numbered(good), no_wait))[2].read > 300


def test_a_warning_of_the_converter_reaches_the_log_once(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    lines = b"".join(b'{"event":"e","user":"user-1","skip":"perhaps %d"}\n' % n for n in range(200))
    with caplog.at_level(logging.WARNING):
        list(workers.blocks(pipeline(), numbered(JsonRows(cut(lines, 1000))), no_wait))
    [record] = [one for one in caplog.records if "no boolean" in one.message]
    assert record.name == "sluice.converter.converter"


def test_a_process_that_is_killed_gives_an_error_that_a_retry_heals() -> None:
    lines = b"".join(b'{"event":"e","user":"user-%06d"}\n' % n for n in range(2000))

    others = set(psutil.Process().children())

    def pieces() -> Iterator[tuple[int, Piece]]:
        for number, (first, piece) in enumerate(numbered(JsonRows(cut(lines, 1000)))):
            if number == 10:
                [child] = set(psutil.Process().children()) - others
                child.kill()
            yield first, piece

    with Workers(1) as alone, pytest.raises(WorkerDied, match="was killed by signal 9"):
        list(alone.blocks(pipeline(), pieces(), no_wait))
    with Workers(1) as alone:
        again = numbered(JsonRows(cut(lines, 1000)))
        assert whole(alone.blocks(pipeline(), again, no_wait))[2].read == 2000


LIGHT = """
import sys
import sluice.imports.worker, sluice.imports.rows
import sluice.imports.json_rows, sluice.imports.csv_rows, sluice.imports.parquet_rows
print([name for name in ("deltalake", "duckdb", "sqlalchemy", "botocore", "pydantic") if name in sys.modules])
"""


def test_a_process_loads_nothing_that_it_does_not_need() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


PARENT = """
import sys, time
from sluice.imports.workers import Workers
workers = Workers(2)
workers._start()
import psutil
print(*[child.pid for child in psutil.Process().children()], flush=True)
time.sleep(600)
"""


def test_the_processes_end_with_a_parent_that_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    assert len(children) == 2
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


def test_waiting_for_a_long_block_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluice.imports.workers._TICK_SECONDS", 0.01)
    told: list[float] = []
    lines = b"".join(b'{"event":"e","user":"user-%06d"}\n' % n for n in range(20_000))
    with Workers(1) as alone:
        list(alone.blocks(pipeline(), numbered(JsonRows([lines])), lambda: told.append(time.monotonic())))
    assert told

"""Rejected rows out of the lake: as files to mend, and through the import again, each once."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fresh import fresh_lake, fresh_ledger
from loading import check_and_load

from sluice.access.storage import S3Store
from sluice.config import ImportConfig
from sluice.converter import Converter
from sluice.errors import SluiceError
from sluice.imports import rejects
from sluice.imports.again import NotAgain, Taken, import_again
from sluice.imports.convert import convert_batch
from sluice.imports.discovery import discover
from sluice.imports.identity import RowNames
from sluice.imports.rejected_files import export_rejects
from sluice.imports.rejects import rejected_rows
from sluice.imports.report import report_run
from sluice.imports.session import ImportRun
from sluice.ledger import files
from sluice.ledger.files import holder_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.integration

PROJECT = 187520
TIME = 1357034400000

Start = Callable[..., ImportRun]


@pytest.fixture
def converter(tmp_path: Path) -> Callable[..., Path]:
    """Write the converter; call it again to mend it."""
    path = tmp_path / "small.json"

    def write(file_type: str = "csv", event_type: object = "name", **settings: Any) -> Path:
        function = {"event_type": event_type, "user_id": "user", "time": "time"}
        config = {"fileType": file_type, "compressionType": "none", "convertToAmplitudeFunc": function}
        document = {"converterConfig": config | settings, "keyValidatorConfig": {"filterPattern": ".*"}}
        path.write_text(json.dumps(document))
        return path

    return write


@pytest.fixture
def start(s3_store: S3Store, bucket: str, tmp_path: Path, converter: Callable[..., Path]) -> Start:
    lake = fresh_lake(tmp_path / "lake")
    ledger = fresh_ledger(tmp_path / "ledger.db")

    def begin(run: str = "run-1", **settings: Any) -> ImportRun:
        keys = {
            "id": "small", "name": "Small", "owner": "data@example.com", "project": PROJECT, "bucket": bucket,
            "prefix": "in/", "region": "us-east-1", "account": "own", "converter": "small.json",
            "size_policy": "ignore", "error_budget": 0.9,
        }  # fmt: skip
        source = ImportConfig.model_validate(keys | settings)
        return ImportRun(source, run, s3_store, lake, ledger, tmp_path / "small.json")

    return begin


def put(s3: S3Client, bucket: str, name: str, content: str | bytes) -> None:
    s3.put_object(Bucket=bucket, Key=f"in/{name}", Body=content)


def convert(run: ImportRun) -> None:
    for batch in discover(run).batches:
        convert_batch(run, batch, holder_of(run.run, batch.number))


def go(run: ImportRun) -> None:
    convert(run)
    check_and_load(run)


def events(run: ImportRun) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = run.lake.events().to_pyarrow_table().to_pylist()
    return sorted(rows, key=lambda row: (row["object"], row["row"]))


def rejected(run: ImportRun) -> list[tuple[str, int]]:
    found = rejected_rows(run.lake, run.ledger, PROJECT, "small")
    return sorted((row.key, row.row) for row in found)


CSV = f"""name,user,time
open,user-0,{TIME}
open,user-1,noon
"a, b",na,{TIME}
open,user-3
open,"user
4",{TIME}
open,na,{TIME}
"""


def test_rows_keep_their_identity_and_what_is_still_bad_stays_open(
    start: Start, s3: S3Client, bucket: str, converter: Callable[..., Path]
) -> None:
    converter()
    put(s3, bucket, "a.csv", CSV)
    run = start()
    go(run)
    assert rejected(run) == [("in/a.csv", 1), ("in/a.csv", 2), ("in/a.csv", 3), ("in/a.csv", 5)]
    # The bucket is not asked again.
    s3.delete_object(Bucket=bucket, Key="in/a.csv")

    # The converter is mended: users that stand for nobody get an id of their own.
    user = ["ifelse", ["equals", "user", ["value", "na"]], ["value", "nobody"], "user"]
    path = converter(event_type="name")
    document = json.loads(path.read_text())
    document["converterConfig"]["convertToAmplitudeFunc"]["user_id"] = user
    path.write_text(json.dumps(document))
    assert import_again(run) == [Taken("in/a.csv", 4, new=True)]
    assert import_again(run) == [Taken("in/a.csv", 4, new=False)]
    second = start("run-2")
    go(second)

    assert [(row["row"], row["event_type"], row["user_id"]) for row in events(run)] == [
        (0, "open", "user-0"), (2, "a, b", "nobody"), (4, "open", "user\n4"), (5, "open", "nobody"),
    ]  # fmt: skip
    assert {row["object"] for row in events(run)} == {f"s3://{bucket}/in/a.csv"}
    names = RowNames("small", bucket, "in/a.csv")
    for row in events(run):
        assert (row["uuid"], row["$insert_id"]) == (names.uuid(row["row"]), names.insert_id(row["row"]))
    assert rejected(run) == [("in/a.csv", 1), ("in/a.csv", 3)]
    report = report_run(second)
    assert (
        report.totals() | {"rows_read": 4, "loaded": 2, "rejected": 2, "failed_files": 0} == report.totals()
    )
    assert "in/a.csv (its rejected rows, 1)" in "\n".join(report.lines())

    # Those that are still bad can be taken once more, now that the time may be missing and the row short.
    document["converterConfig"]["convertToAmplitudeFunc"]["time"] = ["value", TIME]
    path.write_text(json.dumps(document))
    assert import_again(run, ["in/a.csv"]) == [Taken("in/a.csv", 2, new=True)]
    go(start("run-3"))
    assert [row["row"] for row in events(run)] == [0, 1, 2, 4, 5]
    assert rejected(run) == [("in/a.csv", 3)]


def test_whatever_is_killed_each_row_comes_in_once(
    start: Start, s3: S3Client, bucket: str, converter: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    converter(event_type="kind")
    lines = "".join(f"open,user-{n},{TIME + n}\n" for n in range(50))
    put(s3, bucket, "a.csv", f"name,user,time\n{lines}")
    run = start(error_budget=1.0)
    go(run)
    assert (len(events(run)), len(rejected(run))) == (0, 50)
    converter()
    import_again(run)

    class Killed(BaseException):
        pass

    def die(*arguments: Any, **keywords: Any) -> None:
        raise Killed

    # Before the ledger knows the staged rows, and before it knows that they are loaded.
    for module, name in ((files, "stage"), (sys.modules["sluice.lake.load"], "catch_up")):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(module, name, die)
            go(start("run-2"))
    # A run that begins anew, and a second worker of the same run.
    for _ in range(2):
        go(start("run-2"))
    go(start("run-3"))
    rows = events(run)
    assert [row["row"] for row in rows] == list(range(50))
    assert len({row["uuid"] for row in rows}) == 50
    assert rejected(run) == []
    with pytest.raises(NotAgain, match=r"in/a\.csv has no rejected rows that are open"):
        import_again(run, ["in/a.csv"])
    assert import_again(run) == []


def test_a_file_that_failed_as_a_whole_is_retried_as_a_whole(
    start: Start, s3: S3Client, bucket: str, converter: Callable[..., Path]
) -> None:
    converter()
    put(s3, bucket, "a.csv", CSV)
    run = start(error_budget=0.1)
    go(run)
    assert len(rejected(run)) == 4
    with pytest.raises(NotAgain, match=r"`sluice import retry small in/a\.csv` takes all of it again"):
        import_again(run, ["in/a.csv"])
    assert import_again(run) == []


def test_json_lines_come_back_and_what_was_never_text_does_not(
    start: Start, s3: S3Client, bucket: str, converter: Callable[..., Path], tmp_path: Path
) -> None:
    converter("json", event_type="kind")
    good = {"name": "é", "user": "user-1", "time": TIME, "n": 10**30}
    content = "\n".join([json.dumps(good), json.dumps(good, ensure_ascii=False), "{broken"]).encode()
    content += b'\n{"name": "caf\xe9", "user": "user-1", "time": 1}\n' + b'{"name": "\0"}\n'
    content += json.dumps(good | {"name": "x" * 70_000}).encode() + b"\n"
    put(s3, bucket, "a.json", content)
    run = start(error_budget=1.0)
    go(run)
    assert len(rejected(run)) == 6
    exported = export_rejects(
        run.lake, run.ledger, run.source, Converter.from_file(converter("json")), tmp_path / "out"
    )
    [(path, count)] = exported.rows.items()
    assert count == 3
    assert path.read_bytes() == b"\n".join(content.split(b"\n")[:3]) + b"\n"
    assert [text.split(": ")[0] for text in exported.left_out] == [f"in/a.json, row {n}" for n in (3, 4, 5)]
    with pytest.raises(SluiceError, match="is there already"):
        export_rejects(
            run.lake, run.ledger, run.source, Converter.from_file(converter("json")), tmp_path / "out"
        )

    import_again(run)
    go(start("run-2"))
    assert [(row["row"], row["event_type"]) for row in events(run)] == [(0, "é"), (1, "é")]
    reasons = {row.row: row.reason for row in rejected_rows(run.lake, run.ledger, PROJECT, "small")}
    assert sorted(reasons) == [2, 3, 4, 5]
    assert "is not JSON" in reasons[2]
    assert "its bytes are kept as escapes only" in reasons[3]
    assert "its bytes are kept as escapes only" in reasons[4]
    assert "only its first 65,536 characters are kept" in reasons[5]


def test_rows_of_parquet_come_back_as_json(
    start: Start, s3: S3Client, bucket: str, converter: Callable[..., Path], tmp_path: Path
) -> None:
    converter("parquet", event_type="kind")
    table = pa.table({"name": ["open", "close"], "user": ["user-1", "user-2"], "time": [TIME, TIME + 1]})
    target = BytesIO()
    pq.write_table(table, target)
    put(s3, bucket, "a.parquet", target.getvalue())
    run = start(error_budget=1.0)
    go(run)
    assert len(rejected(run)) == 2
    mended = converter("parquet")
    exported = export_rejects(run.lake, run.ledger, run.source, Converter.from_file(mended), tmp_path / "out")
    [path] = exported.rows
    assert [json.loads(line) for line in path.read_text().splitlines()] == table.to_pylist()
    assert "says fileType json" in "\n".join(exported.lines(Converter.from_file(mended)))
    import_again(run)
    go(start("run-2"))
    assert [(row["row"], row["event_type"], row["user_id"]) for row in events(run)] == [
        (0, "open", "user-1"), (1, "close", "user-2"),
    ]  # fmt: skip


def test_mended_csv_can_be_uploaded_as_a_new_file(
    start: Start, s3: S3Client, bucket: str, converter: Callable[..., Path], tmp_path: Path
) -> None:
    settings = {"csvDelimiter": ";", "csvEscapeChar": "\\"}
    converter(**settings)
    put(s3, bucket, "a.csv", f'name;user;time\nopen;user-1;noon\n"a\\"; b";user-2;noon\nopen;user-3;{TIME}\n')
    put(s3, bucket, "b.csv", f"user;time;name\nuser-4;noon;open\nuser-5;{TIME};open\n")
    run = start()
    go(run)
    path = converter(**settings)
    out = tmp_path / "out"
    exported = export_rejects(run.lake, run.ledger, run.source, Converter.from_file(path), out)
    # Files with another header are files of their own.
    assert sorted(exported.rows.values()) == [1, 2]
    for file in exported.rows:
        text = file.read_text()
        with file.open(newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter=";", escapechar="\\", doublequote=False))
        assert {row["time"] for row in rows} == {"noon"}
        put(s3, bucket, f"mended-{file.name}", text.replace("noon", str(TIME)))
    go(start("run-2"))
    assert sorted(row["user_id"] for row in events(run)) == [f"user-{n}" for n in range(1, 6)]
    assert {row["event_type"] for row in events(run)} == {"open", 'a"; b'}


def test_a_header_that_the_ledger_lost_is_asked_for(
    start: Start, s3: S3Client, bucket: str, converter: Callable[..., Path]
) -> None:
    converter()
    put(s3, bucket, "a.csv", CSV)
    run = start()
    go(run)
    with run.ledger.begin() as connection:
        connection.execute(files.files.update().values(report=None))
    with pytest.raises(NotAgain, match=r"The header of in/a\.csv is not known"):
        import_again(run)


def test_the_rejects_of_many_rows_are_read_in_their_order(
    start: Start, s3: S3Client, bucket: str, converter: Callable[..., Path]
) -> None:
    """A compaction may put a load's rejects in any order; staged rows are in the file's.

    There are more rows than are read at once.
    """
    count = rejects._BATCH_ROWS + 200
    converter(event_type="kind")
    lines = "".join(f"open,user-{n},{TIME + n}\n" for n in range(count))
    put(s3, bucket, "a.csv", f"name,user,time\n{lines}")
    run = start(error_budget=1.0)
    go(run)
    table = run.lake.table("rejects")
    rows = table.to_pyarrow_table().sort_by([("row", "descending")])
    from deltalake import write_deltalake

    write_deltalake(table, rows, mode="overwrite")
    converter()
    import_again(run)
    go(start("run-2"))
    loaded = run.lake.events().to_pyarrow_table(columns=["row", "user_id"]).sort_by("row").to_pylist()
    assert [(row["row"], row["user_id"]) for row in loaded] == [(n, f"user-{n}") for n in range(count)]

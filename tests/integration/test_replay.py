"""Replay on a real S3 server: exported files load as they are, once per uuid, and export as they were."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from exporting import PROJECT, Destination
from lake_staging import stage
from loading import check_and_load

from sluice.access.storage import S3Store
from sluice.config import ImportConfig
from sluice.config.load import REPLAY_FILES
from sluice.converter import Converter
from sluice.event_columns import EVENT_COLUMNS
from sluice.exports.lines import Dialect
from sluice.imports.convert import convert_batch
from sluice.imports.discovery import discover
from sluice.imports.objects import list_objects
from sluice.imports.preview import sample_rows
from sluice.imports.report import Report, report_run
from sluice.imports.session import ImportRun
from sluice.lake import LoadRequest, hour_fingerprint, load
from sluice.ledger.files import holder_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.integration

FIVE = datetime(2020, 1, 25, 17, tzinfo=UTC)
TICK = timedelta(milliseconds=1)
HOURS = [FIVE, FIVE + timedelta(hours=9)]

# What is hard to keep: numbers beyond 64 bits and beyond a double's digits, nulls, all kinds of text.
HARD = (
    '{"big":123456789012345678901234567890,"decimal":1.10,"tiny":5e-324,"exact":0.1234567890123456789,'
    '"list":[1,1.0,null,{},[]],"text":"Zürich 🟦 \\u2028 \\"quoted\\" \\\\","":{"a.b":false},"nothing":null}'
)


def line(name: str, moment: datetime, extra: str = "", **given: Any) -> str:
    """A line as Amplitude writes it, whose uuid follows from its name."""
    text = moment.replace(tzinfo=None).isoformat(" ", "microseconds")
    members: dict[str, Any] = dict.fromkeys(EVENT_COLUMNS) | {
        "$insert_id": name,
        "amplitude_id": 45975551903,
        "app": PROJECT,
        "client_event_time": text,
        "data": {"path": "/2/httpapi", "group_ids": {}},
        "data_type": "event",
        "device_id": "4289c8b4-7afe-49ed-8814-51c5fc77c693",
        "event_properties": "HARD",
        "event_time": text,
        "event_type": name,
        "groups": {"org": ["Acme", "Blau 🟦"]},
        "location_lat": 51.75368,
        "plan": {},
        "processed_time": text,
        "server_received_time": text,
        "server_upload_time": text,
        "session_id": -1,
        "user_id": "jack@example.com",
        "user_properties": {},
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
        **given,
    }
    written = json.dumps(members, separators=(",", ":"), ensure_ascii=False).replace('"HARD"', HARD)
    return f"{written[:-1]}{extra}}}"


def lines_of_hours(each: int = 12) -> dict[datetime, list[str]]:
    kinds = [
        {},
        {"extra": ',"new_key":{"a": 1.10,"b":[12345678901234567890123]},"other":null'},
        {"user_id": None, "amplitude_id": 7, "city": "日本語", "event_properties": {}},
        {"amplitude_attribution_ids": ["x"], "paying": True, "sample_rate": 0.5, "location_lng": -0.0},
    ]
    return {
        hour: [line(f"{hour:%d %H} {n}", hour + n // 3 * TICK, **kinds[n % 4]) for n in range(each)]
        for hour in HOURS
    }  # fmt: skip


def put(
    s3: S3Client, bucket: str, prefix: str, hour: datetime, lines: Iterable[str], partition: int = 0
) -> str:
    stem = f"{prefix}{PROJECT}/{PROJECT}_{hour:%Y-%m-%d}_{hour.hour}"
    key = f"{stem}#{partition}.json.gz"
    s3.put_object(Bucket=bucket, Key=key, Body=gzip.compress("".join(f"{one}\n" for one in lines).encode()))
    # Amplitude's marker; not every writer leaves it empty.
    s3.put_object(Bucket=bucket, Key=f"{stem}_complete", Body=b"done")
    return key


class Place:
    """A lake with its ledger and a destination, which replays and exports."""

    def __init__(self, s3: S3Client, store: S3Store, bucket: str, folder: Path, name: str, **settings: Any):
        (folder / name).mkdir()
        self.out = Destination.make(s3, bucket, folder / name, prefix=f"out-{name}", **settings)
        self._s3, self._store, self._bucket = s3, store, bucket
        self._exports = 0

    def source(self, prefix: str, id: str = "again", run: str = "run-1", **settings: Any) -> ImportRun:
        source = ImportConfig.model_validate(
            {
                "id": id,
                "name": "Again",
                "owner": "data@example.com",
                "project": PROJECT,
                "bucket": self._bucket,
                "prefix": prefix,
                "region": "us-east-1",
                "account": "own",
                "replay": True,
                "size_policy": "ignore",
                **settings,
            }
        )
        return ImportRun(source, run, self._store, self.out.lake, self.out.ledger, REPLAY_FILES)

    def replay(self, prefix: str, **how: Any) -> Report:
        run = self.source(prefix, **how)
        for batch in discover(run).batches:
            convert_batch(run, batch, holder_of(run.run, batch.number))
        check_and_load(run)
        return report_run(run)

    def export(self, hours: Iterable[datetime] = HOURS) -> dict[str, bytes]:
        """Export hours; return every object by its name below the prefix, uncompressed."""
        for hour in hours:
            self._exports += 1
            self.out.run(f"export-{self._exports}", hour=hour)
        return self.objects()

    def objects(self) -> dict[str, bytes]:
        prefix = self.out.config.prefix
        return {key.removeprefix(prefix): self.out.body(key) for key in self.out.object_keys()}

    def uuids(self) -> list[str]:
        return sorted(self.out.lake.events().to_pyarrow_table(columns=["uuid"])["uuid"].to_pylist())


@pytest.fixture
def place(s3: S3Client, s3_store: S3Store, bucket: str, tmp_path: Path) -> Any:
    return lambda name, **settings: Place(s3, s3_store, bucket, tmp_path, name, **settings)


def parsed(objects: dict[str, bytes]) -> dict[str, list[Any]]:
    return {
        key: [json.loads(one) for one in gzip.decompress(body).splitlines()]
        for key, body in objects.items()
        if key.endswith(".json.gz")
    }


@pytest.mark.parametrize("dialect", ["observed", "documented"])
def test_export_and_replay_and_export_give_the_same_files(
    place: Any, s3: S3Client, bucket: str, dialect: Dialect
) -> None:
    """The lake holds Amplitude's rows and imported ones; each hour is several files, even of one instant."""
    settings = {"dialect": dialect, "partition_bytes": 8192}
    first, second = place("first", **settings), place("second", **settings)
    given = lines_of_hours()
    for hour, lines in given.items():
        for partition in range(0, 12, 4):
            put(s3, bucket, "amplitude/", hour, lines[partition : partition + 4], partition // 4)
    assert first.replay("amplitude/").totals()["loaded"] == 24
    imported = stage(first.out.lake, "f", [f"i{n}" for n in range(30)], at=lambda n: HOURS[n % 2])
    request = LoadRequest(PROJECT, "imported", [imported], upload_time="event_time")
    load(first.out.lake, first.out.ledger, request)

    exported = first.export()
    assert len(parsed(exported)) > 4
    lines = {one["uuid"]: one for of_file in parsed(exported).values() for one in of_file}
    if dialect == "observed":
        # Amplitude's own lines, to the last key.
        amplitudes = [json.loads(one) for of_hour in given.values() for one in of_hour]
        assert {one["uuid"]: one for one in amplitudes}.items() <= lines.items()
    assert len(lines) == 54

    report = second.replay(first.out.config.prefix)
    assert (report.totals()["loaded"], report.totals()["rejected"]) == (54, 0)
    again = second.export()
    assert parsed(again) == parsed(exported)
    # Same dialect, same settings: the same bytes, gzip and markers included.
    assert again == exported
    for hour in HOURS:
        assert hour_fingerprint(second.out.ledger, PROJECT, hour) == hour_fingerprint(
            first.out.ledger, PROJECT, hour
        )


def test_half_overlapping_files_load_each_uuid_once(place: Any, s3: S3Client, bucket: str) -> None:
    lines = lines_of_hours(20)[FIVE]
    lake = place("one")
    put(s3, bucket, "a/", FIVE, lines[:10])
    assert lake.replay("a/").totals()["loaded"] == 10
    # The same file under another name, and one that overlaps by half.
    put(s3, bucket, "a/", FIVE, lines[:10], partition=1)
    put(s3, bucket, "a/", FIVE, lines[5:], partition=2)
    totals = lake.replay("a/", run="run-2").totals()
    assert (totals["files"], totals["loaded"], totals["duplicate"]) == (2, 10, 15)
    assert lake.replay("a/", run="run-3").totals()["files"] == 0
    assert lake.uuids() == sorted(json.loads(one)["uuid"] for one in lines)


def test_two_sources_with_the_same_files_at_once(place: Any, s3: S3Client, bucket: str) -> None:
    lake = place("one")
    given = lines_of_hours()
    for hour, lines in given.items():
        put(s3, bucket, "a/", hour, lines)
    runs = [lake.source("a/", id=id, max_hours_per_load=1) for id in ("left", "right")]
    for run in runs:
        for batch in discover(run).batches:
            convert_batch(run, batch, holder_of(run.run, batch.number))
    together = Barrier(len(runs))

    def load_it(run: ImportRun) -> int:
        together.wait(60)
        return check_and_load(run).commits

    with ThreadPoolExecutor(len(runs)) as pool:
        assert list(pool.map(load_it, runs)) == [2, 2]
    totals = [report_run(run).totals() for run in runs]
    assert [sum(one[fate] for one in totals) for fate in ("loaded", "duplicate", "rejected")] == [24, 24, 0]
    assert lake.uuids() == sorted(json.loads(one)["uuid"] for lines in given.values() for one in lines)


def test_a_replay_into_an_exported_hour_is_exported_by_a_backfill(
    place: Any, s3: S3Client, bucket: str
) -> None:
    lake = place("one", start=FIVE)
    lines = lines_of_hours()[FIVE]
    put(s3, bucket, "a/", FIVE, lines[:6])
    lake.replay("a/")
    before = lake.export([FIVE])
    put(s3, bucket, "a/", FIVE, lines[6:], partition=1)
    lake.replay("a/", run="run-2")
    [left] = lake.out.run("schedule", kind="scheduled", hour=FIVE)[:1]
    assert (left.action, left.note[:7]) == ("left", "changed")
    assert lake.objects() == before
    [done] = lake.out.run("backfill", hour=FIVE)
    assert (done.action, done.rows) == ("published", 12)
    lake.out.assert_consistent(FIVE)
    assert lake.out.all_ids() == [json.loads(one)["$insert_id"] for one in lines]


def test_bad_rows_are_rejects_and_above_the_budget_the_file_fails(
    place: Any, s3: S3Client, bucket: str
) -> None:
    lines = lines_of_hours()[FIVE]
    other = line("other", FIVE, app=1)
    put(s3, bucket, "a/", FIVE, [*lines[:6], other])
    put(s3, bucket, "a/", HOURS[1], [lines[7], other, other])
    # Merged IDs lie beside the events, and are none.
    key = f"a/-1/-1_{FIVE:%Y-%m-%d}_{FIVE.hour}.json.gz"
    s3.put_object(Bucket=bucket, Key=key, Body=gzip.compress(b'{"scope":-1}\n'))
    lake = place("one")
    report = lake.replay("a/", error_budget=0.2)
    assert [(file.state, file.loaded, file.rejected) for file in report.files] == [
        ("done", 6, 1),
        ("failed", 0, 3),
    ]
    assert "2 × app: is 1, another project than the source's, …" in str(report.files[1].reason)
    assert len(lake.uuids()) == 6
    rejects = lake.out.lake.table("rejects").to_pyarrow_table().to_pylist()
    assert {(one["field"], one["raw"]) for one in rejects} == {("app", other)}


def test_the_preview_shows_rows_as_they_are(place: Any, s3: S3Client, bucket: str) -> None:
    lines = lines_of_hours()[FIVE]
    put(s3, bucket, "a/", FIVE, [lines[0], "{", line("other", FIVE, app=1), lines[1]])
    run = place("one").source("a/")
    [batch] = discover(run).batches
    items = [item for item in list_objects(run.store.client(), bucket, "a/") if item.key.endswith("gz")]
    assert batch.files == len(items) == 1
    samples = list(sample_rows(run.source, run.store, Converter.from_file(REPLAY_FILES), None, items))
    assert [sample.event for sample in samples] == [json.loads(lines[0]), None, None, json.loads(lines[1])]
    assert [str(sample.fault)[:8] for sample in samples] == ["None", "is not J", "app: is ", "None"]

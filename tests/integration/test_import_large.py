"""A large file on a real S3 server: several processes stage and report what one process does."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from fresh import fresh_lake, fresh_ledger

from sluice.access.storage import S3Store
from sluice.config import ImportConfig
from sluice.imports import workers
from sluice.imports.convert import convert_file
from sluice.imports.converters import remember
from sluice.imports.session import ImportRun
from sluice.imports.workers import Workers
from sluice.ledger import files

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.integration

KEY = "in/large.json.gz"
TIME = 1357034400000
HOLDER = "run-1#0"


def lines(count: int) -> bytes:
    rows = [
        {
            "name": f"event {n % 5}",
            "user": f"user-{n}",
            "time": "soon" if n % 500 == 0 else TIME + n * 1000,
            "colour": "red",
            "note": "x" * 1500 if n % 700 == 0 else "y" * 80,
        }
        for n in range(count)
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


class Import:
    """One lake, one ledger and one claimed file."""

    def __init__(self, folder: Path, s3: S3Client, store: S3Store, bucket: str) -> None:
        converter = folder / "converter.json"
        mapping = {"event_type": "name", "user_id": "user", "time": "time", "colour": "colour"}
        mapping |= {"event_properties": {"note": "note"}}
        config = {"fileType": "json", "compressionType": "gzip", "convertToAmplitudeFunc": mapping}
        converter.write_text(json.dumps({"converterConfig": config}))
        self.lake, self.ledger = fresh_lake(folder / "lake"), fresh_ledger(folder / "ledger.db")
        source = ImportConfig(
            id="large", name="Large", owner="data@example.com", project=187520, bucket=bucket, prefix="in/",
            region="us-east-1", converter="converter.json", upload_time="event_time",
        )  # fmt: skip
        self.run = ImportRun(source, "run-1", store, self.lake, self.ledger, converter)
        self.converter = remember(self.lake, converter)
        head = s3.head_object(Bucket=bucket, Key=KEY)
        found = files.NewFile(KEY, head["ETag"], head["ContentLength"], self.ledger.now())
        files.add_new(self.ledger, source.id, bucket, [found], self.converter.hash, self.run.run)

    def convert(self, processes: Workers | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Convert the file; return what is staged, and what the ledger has of it."""
        source = self.run.source.id
        file = files.claim(self.ledger, source, next(files.waiting(self.ledger, source)), HOLDER, 60)
        assert file is not None
        staged = convert_file(self.run, self.run.store.client(), file, self.converter, HOLDER, processes)
        with self.ledger.begin() as connection:
            [row] = connection.execute(files.files.select())
        return staged, dict(row.report)

    def rows(self, path: str | None) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = pq.read_table(path, filesystem=self.lake.filesystem()).to_pylist()
        return rows


@pytest.fixture
def imports(s3: S3Client, s3_store: S3Store, bucket: str, tmp_path: Path) -> tuple[Import, Import]:
    """The same import twice, of a file that is taken for a large one."""
    s3.put_object(Bucket=bucket, Key=KEY, Body=gzip.compress(lines(12_000), 1))
    for name in ("alone", "together"):
        (tmp_path / name).mkdir()
    return (
        Import(tmp_path / "alone", s3, s3_store, bucket),
        Import(tmp_path / "together", s3, s3_store, bucket),
    )


def test_a_large_file_is_staged_and_reported_as_by_one_process(
    imports: tuple[Import, Import], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, together = imports
    staged, report = alone.convert(None)
    monkeypatch.setattr(workers, "MIN_BYTES", 1)
    with Workers(2) as processes:
        others, other_report = together.convert(processes)
    assert staged["rows_read"] == 12_000
    assert staged["rejected"] == 24
    paths = ("events", "rejects")
    for name in staged.keys() - set(paths):
        assert others[name] == staged[name]
    for name in paths:
        assert together.rows(others[name]) == alone.rows(staged[name])
    assert other_report == report


def test_a_large_file_that_is_cut_off_fails_as_in_one_process(
    imports: tuple[Import, Import], s3: S3Client, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    alone, together = imports
    body = s3.get_object(Bucket=bucket, Key=KEY)["Body"].read()
    with alone.ledger.begin() as one, together.ledger.begin() as other:
        etag = s3.put_object(Bucket=bucket, Key=KEY, Body=body[:-100])["ETag"]
        for connection in (one, other):
            connection.execute(files.files.update().values(etag=etag, size=len(body) - 100))
    staged, _ = alone.convert(None)
    assert "ends early" in staged["failed"]
    monkeypatch.setattr(workers, "MIN_BYTES", 1)
    with Workers(2) as processes:
        others, _ = together.convert(processes)
    assert others == staged
    selector = together.lake.filesystem().get_file_info
    assert not [path for path in (others["events"], others["rejects"]) if path and selector(path)]

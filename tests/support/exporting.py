"""One destination on a real store with a real lake and ledger, and writers that can be stopped anywhere."""

from __future__ import annotations

import gzip
import hashlib
import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fresh import fresh_lake, fresh_ledger
from lake_staging import stage
from sqlalchemy import update

from sluice.config import ExportConfig
from sluice.exports.bucket import Bucket
from sluice.exports.gate import check_hours, raise_for_stopped
from sluice.exports.hour import Exporter, HourOutcome, Run
from sluice.lake import Lake, LoadRequest, load
from sluice.ledger import Ledger, exported
from sluice.ledger.exported import HourId
from sluice.ledger.quality import Gate
from sluice.ledger.tables import exported_files, exported_hours
from sluice.quality.gate import Override

PROJECT = 187520
HOUR = datetime(2013, 1, 2, 12, tzinfo=UTC)
MUTATIONS = ("create_upload", "upload_part", "complete", "put", "delete", "abort")


class Killed(BaseException):
    """The process is gone: nothing that it does after this reaches anybody."""


class ScriptedBucket(Bucket):
    """A bucket that counts the requests that change something, and runs code around them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.calls: list[tuple[str, str]] = []
        self.before: Callable[[int, str, str], None] = lambda n, request, key: None
        self.after: Callable[[int, str, str], None] = lambda n, request, key: None


def _scripted(request: str) -> Callable[..., Any]:
    def call(self: ScriptedBucket, key: str, *args: Any, **kwargs: Any) -> Any:
        n = len(self.calls)
        self.before(n, request, key)
        self.calls.append((request, key))
        answer = getattr(Bucket, request)(self, key, *args, **kwargs)
        self.after(n, request, key)
        return answer

    return call


for _request in MUTATIONS:
    setattr(ScriptedBucket, _request, _scripted(_request))


@dataclass
class Destination:
    """A destination under test. `client` reaches its store, `bucket` exists there."""

    client: Any
    bucket: str
    lake: Lake
    ledger: Ledger
    config: ExportConfig
    loads: int = field(default=0)

    @classmethod
    def make(cls, client: Any, bucket: str, folder: Path, **settings: Any) -> Destination:
        lake = fresh_lake(folder / "lake")
        ledger = fresh_ledger(folder / "ledger.db")
        return cls(client, bucket, lake, ledger, config_of(bucket, **settings))

    def configure(self, **settings: Any) -> None:
        self.config = ExportConfig(**self.config.model_dump(by_alias=True) | settings)

    def add_events(self, ids: Iterable[str], hour: datetime = HOUR, project: int = PROJECT) -> None:
        """Load events into an hour, one second after the other."""
        self.loads += 1
        ids = list(ids)
        file = stage(
            self.lake,
            f"load-{self.loads}.csv",
            ids,
            at=lambda n: hour + timedelta(seconds=n % 3600),
        )
        load(self.lake, self.ledger, LoadRequest(project, "test", [file], upload_time="event_time"))

    def scripted(self) -> ScriptedBucket:
        return ScriptedBucket.of(self.client, self.config)

    def exporter(self, run: str, kind: str = "backfill", bucket: Bucket | None = None) -> Exporter:
        return Exporter(
            self.config,
            lake=self.lake,
            ledger=self.ledger,
            bucket=bucket or self.scripted(),
            run=Run(run, kind),  # type: ignore[arg-type]
        )

    def run(
        self, run: str, kind: str = "backfill", hour: datetime = HOUR, bucket: Bucket | None = None
    ) -> list[HourOutcome]:
        """Export, check and publish like the tasks of a DAG run; return what publishing said."""
        self.exporter(run, kind, bucket).export(hour)
        return self.publish(run, kind, hour, bucket)

    def check(self, run: str, override: Override | None = None) -> list[Gate]:
        """Pass what a run has staged through its gates, as the task between the other two does."""
        return check_hours(self.config, lake=self.lake, ledger=self.ledger, run=run, override=override)

    def publish(
        self, run: str, kind: str = "backfill", hour: datetime = HOUR, bucket: Bucket | None = None
    ) -> list[HourOutcome]:
        """Check and publish what a run has staged; raises QualityStopped if a gate has stopped any of it."""
        self.check(run)
        outcomes = self.exporter(run, kind, bucket).publish(hour)
        raise_for_stopped(outcomes)
        return outcomes

    def expire_claims(self) -> None:
        """Let every lease run out, as if its writer had slept past it."""
        past = datetime(2000, 1, 1, tzinfo=UTC)
        with self.ledger.begin() as connection:
            connection.execute(
                update(exported_hours)
                .where(exported_hours.c.claimed_until.is_not(None))
                .values(claimed_until=past)
            )

    def record(self, hour: datetime = HOUR, project: int = PROJECT) -> Any:
        return exported.record(self.ledger, self.id(hour, project))

    def id(self, hour: datetime = HOUR, project: int = PROJECT) -> HourId:
        return HourId(self.config.id, project, hour)

    def record_file(self, key: str, body: bytes, etag: str) -> None:
        """Let the ledger say that this is what was published."""
        with self.ledger.begin() as connection:
            connection.execute(
                update(exported_files)
                .where(exported_files.c.destination == self.config.id, exported_files.c.key == key)
                .values(sha256=hashlib.sha256(body).hexdigest(), bytes=len(body), etag=etag)
            )

    def object_keys(self) -> list[str]:
        return sorted(self.listing())

    def data_keys(self) -> list[str]:
        """The data files in the order of their partitions."""
        keys = [key for key in self.listing() if key.endswith(".json.gz")]
        return sorted(keys, key=lambda key: int(key.rpartition("#")[2].split(".")[0]))

    def listing(self) -> dict[str, tuple[str, datetime]]:
        """ETag and time of every object."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.config.prefix
        )
        return {
            item["Key"]: (item["ETag"], item["LastModified"])
            for page in pages
            for item in page.get("Contents", [])
        }

    def open_uploads(self) -> list[str]:
        answer = self.client.list_multipart_uploads(Bucket=self.bucket, Prefix=self.config.prefix)
        return [item["Key"] for item in answer.get("Uploads", [])]

    def body(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def events(self, key: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in gzip.decompress(self.body(key)).splitlines()]

    def all_ids(self) -> list[str]:
        """The insert ids in all data files, in their order."""
        return [event["$insert_id"] for key in self.data_keys() for event in self.events(key)]

    def assert_consistent(self, hour: datetime = HOUR, project: int = PROJECT) -> None:
        """Bucket, marker and ledger say the same of a published hour, and nothing is left over."""
        record = self.record(hour, project)
        assert record.state == "published"
        assert record.staged is None
        files = exported.published_files(self.ledger, self.id(hour, project))
        folder = self.config.folder(project)
        stem = f"{folder}{project}_{hour:%Y-%m-%d}_{hour.hour}"
        listing = {
            key: etag for key, (etag, _) in self.listing().items() if key.startswith((f"{stem}#", f"{stem}_"))
        }
        marker = f"{stem}_complete"
        data = {key: etag for key, etag in listing.items() if key != marker}
        assert data == {file.key: file.etag for file in files}
        assert (marker in listing) == self.config.marker
        if self.config.marker:
            head = self.client.head_object(Bucket=self.bucket, Key=marker)
            assert head["Metadata"]["sluice-manifest"] == record.manifest_hash
            assert head["Metadata"]["sluice-partitions"] == str(len(files))
            for key in data:
                staging = self.client.head_object(Bucket=self.bucket, Key=key)["Metadata"]["sluice-staging"]
                assert staging == head["Metadata"]["sluice-staging"]
        assert [len(self.events(file.key)) for file in files] == [file.rows for file in files]
        assert self.open_uploads() == []


def config_of(bucket: str, **settings: Any) -> ExportConfig:
    return ExportConfig(
        **{
            "id": f"d{uuid.uuid4().hex[:12]}",
            "name": "Test",
            "owner": "owner@example.com",
            "projects": (PROJECT,),
            "bucket": bucket,
            "prefix": "events",
            "close_wait": 0,
        }
        | settings
    )

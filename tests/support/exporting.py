"""One destination on a real store with a real lake and ledger, and writers that can be stopped anywhere."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fresh import fresh_lake, fresh_ledger
from lake_staging import stage
from sqlalchemy import update

from sluice.config import ExportConfig
from sluice.exports.bucket import Bucket
from sluice.exports.form import config_hash
from sluice.exports.gate import check_hours, raise_for_stopped
from sluice.exports.hour import Exporter, HourOutcome, Run
from sluice.exports.keys import parse_key
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

    def record_marker(self, key: str, etag: str) -> None:
        """Let the ledger say that this is the marker that was published."""
        names = parse_key(self.config.prefix, key)
        assert names is not None
        id = self.id(names.hour, names.project)
        with self.ledger.begin() as connection:
            connection.execute(
                update(exported_hours)
                .where(
                    exported_hours.c.destination == id.destination,
                    exported_hours.c.project == id.project,
                    exported_hours.c.hour == id.hour,
                )
                .values(marker_etag=etag)
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

    def clear(self) -> None:
        """Leave neither objects nor uploads below the prefix."""
        if keys := [{"Key": key} for key in self.listing()]:
            self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": keys, "Quiet": True})
        uploads = self.client.list_multipart_uploads(Bucket=self.bucket, Prefix=self.config.prefix)
        for upload in uploads.get("Uploads", []):
            self.client.abort_multipart_upload(
                Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
            )

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


@dataclass(frozen=True)
class _Copied:
    """An object of a template's bucket."""

    body: bytes
    content_type: str
    metadata: dict[str, str]


@dataclass(frozen=True)
class Template:
    """What many tests begin with, made once and copied: loading and exporting took most of their time.

    It is a lake, its ledger and what was exported of it. A copy of a lake has its id, by which the keys of
    its rows are kept; so each copy keeps them in a folder of its own. The ledger of all copies, one after the
    other, is one file: each engine compiles every statement anew.
    """

    folder: Path
    settings: dict[str, Any]
    loads: int
    ledger: Ledger
    objects: dict[str, _Copied]

    @classmethod
    def make(
        cls,
        folder: Path,
        fill: Callable[[Destination], None] = lambda made: None,
        client: Any = None,
        **settings: Any,
    ) -> Template:
        """Let `fill` load and export; a template that exports needs a client of its store."""
        bucket = f"template-{uuid.uuid4().hex[:20]}"
        if client is not None:
            client.create_bucket(Bucket=bucket)
        settings = {"id": _new_id()} | settings
        (folder / "cache").mkdir()
        with _own_keys(folder):
            made = Destination.make(client, bucket, folder, **settings)
            fill(made)
        made.ledger.engine.dispose()
        shutil.copyfile(folder / "ledger.db", folder / "ledger-as-made.db")
        objects = {}
        for key in made.object_keys() if client is not None else ():
            answer = client.get_object(Bucket=bucket, Key=key)
            objects[key] = _Copied(answer["Body"].read(), answer["ContentType"], answer["Metadata"])
        return cls(folder, settings, made.loads, made.ledger, objects)

    @contextmanager
    def copy(self, client: Any, bucket: str, folder: Path, **settings: Any) -> Iterator[Destination]:
        """Give a destination that is as the template's, but for its bucket and these settings."""
        for name in ("lake", "cache"):
            shutil.copytree(self.folder / name, folder / name)
        shutil.copyfile(self.folder / "ledger-as-made.db", self.folder / "ledger.db")
        try:
            with _own_keys(folder):
                lake = Lake(str(folder / "lake"))
                config = config_of(bucket, **self.settings)
                made = Destination(client, bucket, lake, self.ledger, config, self.loads)
                self._exported(made)
                made.config = config_of(bucket, **self.settings | settings)
                yield made
        finally:
            self.ledger.engine.dispose()

    @contextmanager
    def maker(self, client: Any, bucket: str, folder: Path) -> Iterator[Callable[..., Destination]]:
        """Give what makes one copy, with the settings that it is called with."""
        with ExitStack() as copies:
            yield lambda **settings: copies.enter_context(self.copy(client, bucket, folder, **settings))

    def _exported(self, made: Destination) -> None:
        """Put the objects where the copy's ledger says that they are."""
        for key, item in self.objects.items():
            answer = made.client.put_object(
                Bucket=made.bucket,
                Key=key,
                Body=item.body,
                ContentType=item.content_type,
                Metadata=item.metadata,
            )
            # Written in one part, it has another ETag than an upload of one part.
            if key.endswith("_complete"):
                made.record_marker(key, answer["ETag"])
            else:
                made.record_file(key, item.body, answer["ETag"])
        if self.objects:
            with self.ledger.begin() as connection:
                # The bucket is part of it.
                connection.execute(update(exported_hours).values(config_hash=config_hash(made.config)))


@contextmanager
def _own_keys(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLUICE_CACHE", str(folder / "cache"))
        yield


def config_of(bucket: str, **settings: Any) -> ExportConfig:
    return ExportConfig(
        **{
            "id": _new_id(),
            "name": "Test",
            "owner": "owner@example.com",
            "projects": (PROJECT,),
            "bucket": bucket,
            "prefix": "events",
            "close_wait": 0,
        }
        | settings
    )


def _new_id() -> str:
    return f"d{uuid.uuid4().hex[:12]}"

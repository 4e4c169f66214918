"""Imports of small files of every type by workers that can be killed anywhere or run beside each other.

Workers are forked from a server that has imported everything once, so that a test may start many.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import duckdb
import loading
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from deltalake import CommitProperties
from fresh import fresh_ledger_url
from sqlalchemy import select

import sluice.imports.load
import sluice.imports.report
from sluice.access.storage import S3Store
from sluice.config import ImportConfig
from sluice.errors import SluiceError
from sluice.imports.convert import convert_batch
from sluice.imports.discovery import discover
from sluice.imports.session import ImportRun
from sluice.lake import Fingerprint, Lake
from sluice.lake.commits import METADATA_KEY
from sluice.lake.fingerprint import SUMS_SQL
from sluice.lake.snapshot import Snapshot
from sluice.lake.store import SCHEMAS
from sluice.ledger import Ledger, files
from sluice.ledger.files import holder_of
from sluice.ledger.tables import hours, loads

PROJECT = 187520
COLUMNS = ("id", "user", "device", "time", "skip")
NOON = 1357128000000
# botocore reads its description of S3 once for each session, a tenth of a second: this session has it before
# the workers are forked. Each sets the credentials that it needs.
BOTOCORE = botocore.session.get_session()
BOTOCORE.set_credentials("nobody", "nothing")
SESSION = boto3.Session(botocore_session=BOTOCORE, region_name="us-east-1")
S3Store(SESSION).client().get_paginator("list_objects_v2")
# What becomes of the rows of each of the two files of a source: read, loaded, duplicate, ignored, rejected.
FATES = [(6, 3, 1, 1, 1), (6, 3, 1, 1, 1)]
FAILED = 70


def rows_of(name: str, events: str) -> list[tuple[str, str, str, str, str]]:
    """The rows of file `a` or `b`: new events, one that was there before, one to ignore, one to reject.

    `events` begins the insert ids and names: files with the same hold the same events.
    """

    def row(id: str, user: str, time: object = NOON, skip: str = "") -> tuple[str, str, str, str, str]:
        return f"{events}-{id}", user and f"{events}-{user}", "device", str(time), skip

    again, skipped, bad = row("a1", "ann"), row("skipped", "ann", skip="true"), row("bad", "ann", "never")
    return [row(f"{name}1", "ann"), again, row(f"{name}2", f"new-{name}"), skipped, bad, row(f"{name}3", "")]


def expected_ids(events: str) -> set[str]:
    return {f"{events}-{name}{n}" for name in "ab" for n in (1, 2, 3)}


def content(file_type: str, rows: Sequence[tuple[str, ...]]) -> bytes:
    if file_type == "csv":
        return "\n".join([",".join(COLUMNS), *(",".join(row) for row in rows), ""]).encode()
    if file_type == "json":
        return "".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in rows).encode()
    sink = io.BytesIO()
    pq.write_table(pa.table(dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True))), sink)
    return sink.getvalue()


def converter(file_type: str) -> dict[str, Any]:
    """Map the columns; an empty user is none."""
    function = {
        "event_type": ["value", "tested"],
        "insert_id": "id",
        "device_id": "device",
        "user_id": ["cond", ["not", ["equals", "user", ["value", ""]]], "user"],
        "time": "time",
        "$ignore": ["cond", ["equals", "skip", ["value", "true"]], ["bool", True]],
    }
    config = {"fileType": file_type, "compressionType": "none", "convertToAmplitudeFunc": function}
    return {"converterConfig": config | {"ignoreEventFlag": "$ignore"}}


@dataclass(frozen=True)
class Point:
    """A moment in a worker: before or after the n-th call of what `at` names as `module:attribute`."""

    at: str
    when: str = "before"
    call: int = 1


@dataclass(frozen=True)
class Job:
    """One run of one source in a process of its own."""

    source: str
    run: str = "run-1"
    die: Point | None = None
    # Where it waits for the other workers.
    meet: tuple[Point, ...] = ()
    # What is taken out, to show that a test fails without it: fence, claim.
    without: str | None = None
    # Tells two jobs of one run apart.
    notes: str = ""


@dataclass
class World:
    """A bucket with two files for each source, a lake and a ledger; all sources are of one project."""

    store: dict[str, str]
    bucket: str
    lake_uri: str
    lake_options: dict[str, str]
    ledger_url: str
    folder: str

    @classmethod
    def make(cls, access: Any, bucket: str, folder: Path, lake_uri: str | None = None) -> World:
        """Make a world; its lake is a local folder, or on the store at `lake_uri`."""
        store = {
            "access_key": access.access_key,
            "secret_key": access.secret_key,
            "endpoint_url": access.endpoint_url,
            "region": access.region,
        }
        options = _store(store).delta_options() if lake_uri else {}
        world = cls(
            store,
            bucket,
            lake_uri or str(folder / "lake"),
            options,
            fresh_ledger_url(folder / "ledger.db"),
            str(folder),
        )
        world.lake.create()
        return world

    def put(self, client: Any, source: str, file_type: str, events: str) -> None:
        """Put the two files of a source, with the events of that name."""
        Path(self.folder, f"{source}.json").write_text(json.dumps(converter(file_type)))
        for name in "ab":
            body = content(file_type, rows_of(name, events))
            client.put_object(Bucket=self.bucket, Key=f"{source}/{name}.{file_type}", Body=body)

    @property
    def lake(self) -> Lake:
        return Lake(self.lake_uri, self.lake_options)

    @property
    def ledger(self) -> Ledger:
        return Ledger.open(self.ledger_url)

    def start(self, job: Job, barrier: Any = None) -> BaseProcess:
        process = forks().Process(target=_work, args=(self, job, barrier))
        process.start()
        return process

    def work(self, *jobs: Job) -> list[int | None]:
        """Run jobs side by side, each in its process; return how they ended."""
        barrier = forks().Barrier(len(jobs)) if len(jobs) > 1 else None
        workers = [self.start(job, barrier) for job in jobs]
        for worker in workers:
            worker.join(120)
        return [worker.exitcode for worker in workers]

    def said(self, job: Job) -> dict[str, Any]:
        """What a job has done, or the error with which it ended."""
        said: dict[str, Any] = json.loads(self._notes(job).read_text())
        return said

    def _notes(self, job: Job) -> Path:
        return Path(self.folder, f"{job.source}-{job.run}{job.notes}.said")

    def import_run(self, source: str, run: str) -> ImportRun:
        config = {
            "id": source,
            "name": source,
            "owner": "data@example.com",
            "project": PROJECT,
            "bucket": self.bucket,
            "prefix": f"{source}/",
            "region": "us-east-1",
            "account": "own",
            "converter": f"{source}.json",
            "size_policy": "ignore",
            # Of the five rows of a file that are not left out one is rejected.
            "error_budget": 0.5,
            "upload_time": "event_time",
        }
        return ImportRun(
            ImportConfig.model_validate(config),
            run,
            _store(self.store),
            self.lake,
            Ledger.open(self.ledger_url, migrate=False),
            Path(self.folder, f"{source}.json"),
        )

    # --- What is there afterwards ---

    def insert_ids(self) -> Counter[str]:
        table = self.lake.events().to_pyarrow_table(columns=["$insert_id"])
        return Counter(table.column(0).to_pylist())

    def fates(self, source: str) -> list[tuple[int, ...]]:
        """The counts of each file of a source, which must be done."""
        table = files.files
        names = ("rows_read", "loaded", "duplicate", "ignored", "rejected")
        with self.ledger.begin() as connection:
            rows = connection.execute(
                select(table.c.state, *(table.c[name] for name in names))
                .where(table.c.source == source)
                .order_by(table.c.key)
            ).all()
        assert [row.state for row in rows] == ["done"] * len(rows)
        return [tuple(row[1:]) for row in rows]

    def committed(self, table: str) -> list[dict[str, Any]]:
        """The rows of a side table that count."""
        with self.ledger.begin() as connection:
            known = {
                (row.number, row.attempt)
                for row in connection.execute(
                    select(loads.c.number, loads.c.attempt).where(loads.c.project == PROJECT)
                )
            }
        rows = self.lake.table(table).to_pyarrow_table().to_pylist()
        return [row for row in rows if (row["n"], row["attempt"]) in known]

    def staged(self) -> list[str]:
        selector = pafs.FileSelector("_staging", recursive=True, allow_not_found=True)
        infos = self.lake.filesystem().get_file_info(selector)
        return [info.path for info in infos if info.type == pafs.FileType.File]

    def assert_each_once(self, sources: Sequence[str], fates: Sequence[tuple[int, ...]] = FATES) -> None:
        """Every row of the sources, each with its own events, has one fate, and all tables agree."""
        ids = self.insert_ids()
        assert set(ids) == set().union(*(expected_ids(source) for source in sources))
        assert set(ids.values()) == {1}
        for source in sources:
            assert self.fates(source) == list(fates), source
        self.assert_tables_agree()
        for table in ("rejects", "duplicates"):
            named = Counter((row["source"], row["key"], row["row"]) for row in self.committed(table))
            assert set(named.values()) == {1}, table
            assert len(named) == 2 * len(sources), table
        assert self.staged() == []

    def assert_tables_agree(self) -> None:
        """Users and devices have the ids that their events have, each once; hours are what the rows say."""
        columns = ["user_id", "device_id", "amplitude_id", "uuid", "revision", "server_upload_time"]
        events = self.lake.events().to_pyarrow_table(columns=columns)
        rows = events.to_pylist()
        assert len({row["uuid"] for row in rows}) == len(rows)
        users = {(row["user_id"], row["amplitude_id"]) for row in rows if row["user_id"]}
        devices = {(row["device_id"], row["amplitude_id"]) for row in rows if not row["user_id"]}
        for table, key, seen in (("users", "user_id", users), ("devices", "device_id", devices)):
            assert sorted((row[key], row["amplitude_id"]) for row in self.committed(table)) == sorted(seen)
            assert len({name for name, _ in seen}) == len(seen)
        with duckdb.connect() as connection:
            connection.register("rows", events)
            [(count, high, low)] = connection.sql(f"SELECT count(*), {SUMS_SQL} FROM rows").fetchall()
        with self.ledger.begin() as connection:
            held = [Fingerprint(row.rows, row.digest) for row in connection.execute(select(hours))]
        assert sum(held, Fingerprint()) == Fingerprint.from_sums(count, high, low)


def _store(store: dict[str, str]) -> S3Store:
    BOTOCORE.set_credentials(store["access_key"], store["secret_key"])
    return S3Store(SESSION, store["endpoint_url"], store["region"])


def forks() -> ForkServerContext:
    """Return the context that forks processes from one server, in which all modules are imported already."""
    context = get_context("forkserver")
    # The last two are imported only when they are needed; pandas by Arrow, at its first array.
    libraries = ["hypothesis", "pyarrow.dataset", "pandas"]
    context.set_forkserver_preload(["importing", "sluice.lake.maintenance", *libraries])
    # The server finds modules by the environment alone.
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    try:
        forkserver.ensure_running()
    finally:
        if path is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = path
    return context


# --- In the worker ---


def _work(world: World, job: Job, barrier: Any) -> None:
    # What the server imported is no garbage: a collection need not look at it.
    gc.freeze()
    done: dict[str, Any] = {}
    try:
        _prepare(job, barrier)
        run = world.import_run(job.source, job.run)
        found = discover(run)
        converted = [convert_batch(run, batch, holder_of(job.run, batch.number)) for batch in found.batches]
        done["staged"] = sum(batch.staged for batch in converted)
        done["loaded"] = asdict(loading.check_and_load(run))
        done["files"] = sluice.imports.report.report_run(run).totals()
    except (SluiceError, OSError) as error:
        # What a task may end with, as when the store does not answer; Airflow tries it again.
        done["error"] = f"{type(error).__name__}: {error}"
    except BaseException:
        done["error"] = traceback.format_exc()
        raise
    finally:
        world._notes(job).write_text(json.dumps(done, default=str))
    os._exit(FAILED if "error" in done else 0)


def _prepare(job: Job, barrier: Any) -> None:
    if job.without == "fence":
        Snapshot._commit = _unfenced  # type: ignore[method-assign]
    if job.without == "claim":
        files.claim = _unclaimed
    for point in job.meet:
        _patch(point, lambda: barrier.wait(60))
    if job.die:
        _patch(job.die, _die)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _patch(point: Point, act: Callable[[], object]) -> None:
    module, _, path = point.at.partition(":")
    owner: Any = importlib.import_module(module)
    *owners, name = path.split(".")
    for part in owners:
        owner = getattr(owner, part)
    real, calls = getattr(owner, name), []

    def watched(*arguments: Any, **keywords: Any) -> Any:
        calls.append(1)
        mine = len(calls) == point.call
        if mine and point.when == "before":
            act()
        result = real(*arguments, **keywords)
        if mine and point.when == "after":
            act()
        return result

    setattr(owner, name, watched)


def _unfenced(self: Snapshot, name: str, actions: Any, entry: Any) -> None:
    """Commit as a writer without the load protocol would: under no application id."""
    table = self.tables[name]
    table.create_write_transaction(
        actions=list(actions),
        mode="append",
        schema=SCHEMAS[name],
        partition_by=table.metadata().partition_columns,
        commit_properties=CommitProperties(custom_metadata={METADATA_KEY: entry.to_json()}),
    )


def _unclaimed(ledger: Ledger, source: str, file: Any, holder: str, seconds: float) -> Any:
    """Take a file whoever has it."""
    until = ledger.now() + timedelta(seconds=seconds)
    with ledger.begin() as connection:
        connection.execute(
            files.files.update()
            .where(files.files.c.source == source, files.files.c.key == file.key)
            .values(state="processing", claimed_by=holder, claimed_until=until)
        )
    return file

"""A source whose bucket tells of its files: on the AWS stand-in, as the local S3 server sends no events."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pyarrow.dataset import field

from sluice.access.connections import EnvironmentAccess
from sluice.access.queues import SqsQueue
from sluice.access.storage import S3Store
from sluice.config import Config, ImportConfig, load_config
from sluice.demo.airflow_api import AirflowApi
from sluice.errors import SluiceError
from sluice.imports.enabling import enable
from sluice.imports.notifications import enable_notifications
from sluice.ledger import files
from sluice.local.airflow_settings import REPOSITORY

if TYPE_CHECKING:
    from sluice.local.stack import LocalStack

T = TypeVar("T")

SOURCE = "flights_notified"
DAG = f"import_s3__{SOURCE}"
PROJECT = 187521
BUCKET = "sluice-notified"
# The stand-in knows a queue by its name: whichever port it answers at, the connection says.
QUEUE = f"http://127.0.0.1/123456789012/{BUCKET}"

# What a data engineer knows of this file: a converter cannot tell an airline from an aircraft.
EXPECTATIONS = [
    {
        "type": "expect_column_values_to_match_regex",
        "kwargs": {"column": "event_properties.carrier", "regex": "^[0-9A-Z]{2}$"},
        "notes": "An airline has two characters.",
    },
    {
        "type": "expect_column_values_to_not_be_null",
        "kwargs": {"column": "user_id", "mostly": 0.9},
        "notes": "Nearly every flight names its aircraft.",
    },
]


def write_config(folder: Path) -> Path:
    """Write the repository's configuration and one source more, for a project of its own, to `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(REPOSITORY / "include" / "config", folder)
    projects = yaml.safe_load((folder / "projects.yaml").read_text())
    projects["projects"].append(projects["projects"][0] | {"id": PROJECT, "name": "Flights as they come"})
    (folder / "projects.yaml").write_text(yaml.safe_dump(projects))
    source = yaml.safe_load((folder / "imports" / "flights.yaml").read_text())
    del source["scan_every"]
    source |= {
        "id": SOURCE,
        "name": "Flights as they come",
        "project": PROJECT,
        "bucket": BUCKET,
        "connection": "sluice_moto",
        "discovery": "notifications",
        "queue": QUEUE,
        "quality": {"expectations": EXPECTATIONS},
    }
    (folder / "imports" / f"{SOURCE}.yaml").write_text(yaml.safe_dump(source))
    return folder


@dataclass(frozen=True)
class Notified:
    """The source of `write_config` on a running stack."""

    stack: LocalStack
    api: AirflowApi

    @cached_property
    def config(self) -> Config:
        """The configuration that the stack runs with."""
        return load_config(self.stack.folders.config)

    @cached_property
    def source(self) -> ImportConfig:
        """The source."""
        return self.config.source(SOURCE)

    @cached_property
    def access(self) -> EnvironmentAccess:
        """The stack's lake, ledger and stores."""
        return EnvironmentAccess(self.stack.folders.config, environ=self.stack.environment, makes_ledger=True)

    @cached_property
    def store(self) -> S3Store:
        """The stand-in's S3."""
        return self.access.store(self.source.connection, self.source.region)

    @cached_property
    def queue(self) -> SqsQueue:
        """The queue."""
        return self.access.queue(self.source.connection, QUEUE, self.source.region)

    @cached_property
    def client(self) -> Any:
        """A client of the bucket's store."""
        return self.store.client()

    def open(self, first: bytes) -> None:
        """Make the bucket with file 0 and the queue, and do what `sluice import enable` does."""
        self.client.create_bucket(Bucket=BUCKET)
        self.put(0, first)
        _make_queue(self.queue)
        enable(self.access, SOURCE)
        enable_notifications(self.source, self.store, self.access.ledger, self.queue)

    def key(self, number: int) -> str:
        """Name a file, below 100, as the flights' converter takes it."""
        return f"{self.source.prefix}flights-2013-{number:02d}.csv.gz"

    def put(self, number: int, content: bytes) -> datetime:
        """Upload a file, and return when that was done."""
        self.client.put_object(Bucket=BUCKET, Key=self.key(number), Body=content)
        return datetime.now(UTC)

    def taken_messages(self) -> int:
        """Return how many messages of the queue somebody has received and not deleted yet."""
        name = "ApproximateNumberOfMessagesNotVisible"
        answer: Any = self.queue.client().get_queue_attributes(QueueUrl=QUEUE, AttributeNames=[name])
        return int(answer["Attributes"][name])

    def wait_loaded(self, number: int, seconds: float = 240) -> int:
        """Wait until a file's rows are in the lake, and return how many there are.

        Raises SluiceError if the file fails, or when the time is over.
        """
        key = self.key(number)

        def state() -> str | None:
            file = files.find(self.access.ledger, SOURCE, BUCKET, key)
            if file is not None and file.state == "failed":
                raise SluiceError(f"{key} failed: {file.reason}")
            return "done" if file is not None and file.state == "done" else None

        self.wait(state, f"{key} was not loaded", seconds)
        return self.rows(field("object") == f"s3://{BUCKET}/{key}")

    def rows(self, of: Any = True) -> int:
        """Count the rows of the source's project in the lake, all of them or those of a condition."""
        events = self.access.lake.events().to_pyarrow_dataset()
        count: int = events.count_rows(filter=(field("app") == PROJECT) & of)
        return count

    def wait_idle(self, seconds: float = 240) -> None:
        """Wait until all runs of the DAG are over, and there was one."""
        self.wait(lambda: self._idle() or None, f"{DAG} did not come to rest", seconds)

    def _idle(self) -> bool:
        runs = list(self.api.runs(DAG))
        return bool(runs) and all(run.ended for run in runs)

    def seconds_to_start(self, put: datetime, seconds: float = 60) -> float:
        """Wait for the first run that started after a file was put, and return how long after."""

        def started() -> datetime | None:
            return min(
                (run.started for run in self.api.runs(DAG) if run.started and run.started > put), default=None
            )

        return (self.wait(started, f"no run of {DAG} started", seconds) - put).total_seconds()

    def wait(self, look: Callable[[], T | None], failure: str, seconds: float) -> T:
        """Poll until `look` gives something. Raises SluiceError when the time is over."""
        deadline = time.monotonic() + seconds
        while (seen := look()) is None:
            self.stack.check()
            if time.monotonic() > deadline:
                raise SluiceError(f"{failure} in {seconds:.0f} s.")
            time.sleep(0.2)
        return seen


@dataclass(frozen=True)
class NotifiedFile:
    """What became of the file that the demo imports by notification."""

    seconds_to_start: float
    rows: int
    expected: int

    @property
    def holds(self) -> bool:
        """Whether every row of the file is in the lake once."""
        return self.rows == self.expected


def _make_queue(queue: SqsQueue) -> None:
    client = queue.client()
    client.create_queue(QueueName=BUCKET)
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue.arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{BUCKET}"}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    client.set_queue_attributes(QueueUrl=queue.url, Attributes={"Policy": policy})

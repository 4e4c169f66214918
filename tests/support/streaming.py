"""A sync to a stream for tests: its configuration, its lists of values, the messages that come of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq

from sluice.access.streams import KinesisStream
from sluice.cohorts.diff import Before, Lists
from sluice.cohorts.list_files import VALUE, property_column
from sluice.cohorts.messages import Messages, write_messages
from sluice.config.cohort_destinations import KinesisCohortDestination
from sluice.config.cohorts import CohortConfig, SyncConfig
from sluice.config.syncs import Sync
from sluice.ledger.syncs import TurnFile

REGION = "us-east-1"


class WaitingTime:
    """A clock that only waiting moves, in place of the module `time`."""

    now = 0.0

    def monotonic(self) -> float:
        """Return the seconds that have been waited."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Wait without waiting."""
        self.now += seconds


@dataclass(frozen=True)
class Turn:
    computed_time: int = 1685748245


def kinesis_sync(
    stream: str = "audiences",
    *,
    sync_id: str = "vips_stream",
    cohort_id: str = "gs72ns",
    cohort_name: str = "Test Cohort",
    properties: Sequence[str] = (),
    **settings: Any,
) -> Sync:
    """Return a sync; `settings` are those of its destination."""
    destination = KinesisCohortDestination(
        **{
            "id": "crm",
            "name": "CRM",
            "owner": "data@example.com",
            "projects": [187520],
            "region": REGION,
            "kind": "kinesis",
            "stream": stream,
            **settings,
        }
    )
    config = SyncConfig(id=sync_id, destination="crm", cadence="hourly", user_properties=list(properties))
    cohort = CohortConfig(
        id=cohort_id,
        name=cohort_name,
        owner="data@example.com",
        project=187520,
        ids_file="vips.csv",
        properties=list(properties),
        syncs=[config],
    )
    return Sync(config, cohort, destination)


def value_lists(
    folder: Path,
    entering: Mapping[str, Sequence[Any]],
    exiting: Mapping[str, Sequence[Any]],
    types: Mapping[str, pa.DataType] | None = None,
) -> Lists:
    """Write the two files of values, each given as columns, and return the lists that they belong to."""
    names = [name for name in entering if name != "value"]
    lists = Lists(folder, tuple(names), Before(), 0, 0, 0, 0)
    for path, columns in ((lists.enter_values_path, entering), (lists.exit_values_path, exiting)):
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {VALUE: _array(columns.get("value", []), pa.string())} | {
            property_column(name): _array(columns.get(name, []), (types or {}).get(name, pa.string()))
            for name in names
        }
        pq.write_table(pa.table(arrays), path)
    return lists


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if isinstance(kind, pa.JsonType):
        return pa.ExtensionArray.from_storage(kind, pa.array(values, pa.string()))
    return pa.array(values, kind)


def users_messages(
    folder: Path, sync: Sync, entering: Sequence[str], exiting: Sequence[str] = (), turn: Turn | None = None
) -> Messages:
    """Write the messages of users without properties."""
    lists = value_lists(folder, {"value": entering}, {"value": exiting})
    return write_messages(lists, sync, sync.destination, turn or Turn(), folder)


def read_messages(folder: Path) -> list[dict[str, Any]]:
    """Return the messages of a folder, parsed by the standard library."""
    return [json.loads(line) for line in message_lines(folder)]


def message_lines(folder: Path) -> list[bytes]:
    """Return the exact bytes of the messages of a folder."""
    return (folder / "messages.jsonl").read_bytes().split(b"\n")[:-1]


@dataclass(frozen=True)
class Folder:
    """Reads staged files as the lake does: in chunks, which end anywhere."""

    path: Path
    chunk_bytes: int = 1_000

    def __call__(self, file: TurnFile) -> Iterator[bytes]:
        with (self.path / file.name).open("rb") as source:
            while chunk := source.read(self.chunk_bytes):
                yield chunk


def reach(stream: str, endpoint: str, access_key: str = "testing", secret: str = "testing") -> KinesisStream:
    """Return a stream behind an endpoint."""
    session = boto3.Session(access_key, secret, region_name=REGION)
    return KinesisStream(stream, REGION, session, endpoint)

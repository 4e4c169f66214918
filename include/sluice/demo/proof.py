"""Proves the demo's result: what is in the bucket against an independent count of the raw file.

The count uses pandas on the package's CSV and nothing of Sluice, so that no mistake can cancel itself out.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pandas as pd

from sluice.demo.flights import source_path
from sluice.lake.schema import EXPORT_KEYS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def independent_counts(first: datetime, last: datetime) -> dict[datetime, int]:
    """Count the flights due in each hour from `first` to `last`, both inclusive, in the raw CSV."""
    flights = pd.read_csv(source_path(), usecols=["time_hour", "minute"])
    due = pd.to_datetime(flights["time_hour"], utc=True) + pd.to_timedelta(flights["minute"], unit="min")
    counts = due.dt.floor("h").value_counts()
    hours = (first + timedelta(hours=n) for n in range(int((last - first) / timedelta(hours=1)) + 1))
    return {hour: int(counts.get(pd.Timestamp(hour), 0)) for hour in hours}


@dataclass
class ExportedHour:
    """What the bucket holds of one hour."""

    hour: datetime
    lines: int = 0
    files: int = 0
    bytes: int = 0
    marker: bool = False
    # Lines of the hour after the replay of its files into an empty lake and the export of that one.
    again: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass
class Proof:
    """The hours as exported, what was expected of each, and which uuids occur more than once."""

    hours: list[ExportedHour]
    expected: dict[datetime, int]
    doubled: list[str]
    sample: str | None

    @property
    def problems(self) -> list[str]:
        """Everything that is wrong, each as one sentence."""
        return [
            *(f"{hour.hour:%Y-%m-%d %H}h {problem}" for hour in self.hours for problem in hour.problems),
            *self.doubled,
        ]

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def prove(client: S3Client, bucket: str, project: int, first: datetime, last: datetime) -> Proof:
    """Read back every object of the hours from `first` to `last` and compare with the raw file."""
    expected = independent_counts(first, last)
    sizes = _listing(client, bucket, f"{project}/")
    uuids: Counter[str] = Counter()
    hours, sample = [], None
    for hour in expected:
        name = f"{project}/{project}_{hour:%Y-%m-%d}_{hour.hour}"
        exported = ExportedHour(hour, marker=f"{name}_complete" in sizes)
        hours.append(exported)
        if not exported.marker:
            exported.problems.append("has no complete marker")
        for key in sorted(key for key in sizes if key.startswith(f"{name}#")):
            exported.files += 1
            exported.bytes += sizes[key]
            body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
            lines = gzip.decompress(body).decode().splitlines()
            exported.lines += len(lines)
            exported.problems += _line_problems(key, lines, hour, uuids)
            sample = sample or lines[0]
        if exported.lines != expected[hour]:
            exported.problems.append(f"has {exported.lines} lines, the raw file {expected[hour]} flights")
    doubled = [f"uuid {uuid} occurs {count} times" for uuid, count in uuids.items() if count > 1]
    return Proof(hours, expected, doubled, sample)


def prove_again(client: S3Client, bucket: str, again: str, project: int, hours: list[ExportedHour]) -> None:
    """Compare the hours with what their replay exported, object by object and line by line, key order apart.

    What differs becomes a problem of its hour.
    """
    first, second = (_listing(client, name, f"{project}/") for name in (bucket, again))
    for hour in hours:
        stem = f"{project}/{project}_{hour.hour:%Y-%m-%d}_{hour.hour.hour}"
        here, there = (
            {key for key in sizes if key.startswith((f"{stem}#", f"{stem}_"))} for sizes in (first, second)
        )
        hour.problems += [f"has {key} only before or only after its replay" for key in sorted(here ^ there)]
        for key in sorted(key for key in here & there if key.endswith(".gz")):
            lines, replayed = _lines(client, bucket, key), _lines(client, again, key)
            hour.again += len(replayed)
            if lines != replayed:
                hour.problems.append(f"has other lines in {key} after its replay")


def _lines(client: S3Client, bucket: str, key: str) -> list[object]:
    body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    return [json.loads(line) for line in gzip.decompress(body).splitlines()]


def _listing(client: S3Client, bucket: str, prefix: str) -> dict[str, int]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", ())}


def _line_problems(key: str, lines: Iterable[str], hour: datetime, uuids: Counter[str]) -> list[str]:
    problems = []
    for number, line in enumerate(lines):
        try:
            event = json.loads(line)
        except ValueError as error:
            problems.append(f"{key} line {number} does not parse: {error}")
            continue
        if list(event) != list(EXPORT_KEYS):
            problems.append(f"{key} line {number} has other keys than the 55")
            continue
        uuids[event["uuid"]] += 1
        if not event["server_upload_time"].startswith(f"{hour:%Y-%m-%d %H}:"):
            problems.append(f"{key} line {number} is of {event['server_upload_time']}")
    return problems

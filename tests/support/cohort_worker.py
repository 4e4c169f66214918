"""A process of its own that fixes and delivers one turn, and may be killed on its way.

Killed means SIGKILL: nothing of it runs any more.
"""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import boto3
from cohort_turns import Syncs, hour, kinesis_sync, s3_sync
from importing import forks

from sluice.access.streams import KinesisStream
from sluice.lake import Lake
from sluice.ledger import Ledger


@dataclass(frozen=True)
class Ends:
    """How a process reaches the lake, the ledger, and both destinations."""

    lake: str
    lake_options: dict[str, str] = field(repr=False)
    ledger: str
    s3: dict[str, str] = field(repr=False)
    bucket: str
    kinesis: str
    stream: str

    def open(self) -> Syncs:
        """Open them; the members are still to be said."""
        session = boto3.Session("test", "test", region_name="us-east-1")
        return Syncs(
            Lake(self.lake, self.lake_options),
            Ledger.open(self.ledger),
            bucket=boto3.client("s3", **self.s3),
            stream=KinesisStream(self.stream, "us-east-1", session, self.kinesis),
        )

    def sync(self, kind: str) -> Any:
        """Return the sync to the bucket (`s3`) or to the stream (`kinesis`)."""
        if kind == "s3":
            return s3_sync(destination={"bucket": self.bucket})
        return kinesis_sync(destination={"stream": self.stream})


@dataclass(frozen=True)
class Work:
    """One try of a run: `die` is the call `module:attribute`, `before` or `after`, and the how manieth."""

    kind: str
    number: int
    run: str
    members: list[tuple[int, str | None]]
    die: tuple[str, str, int] | None = None

    def start(self, ends: Ends) -> int | None:
        """Do the work in a process of its own; return its code, negative for a signal."""
        process = forks().Process(target=_work, args=(self, ends))
        process.start()
        process.join(120)
        return process.exitcode


def _work(work: Work, ends: Ends) -> None:
    there = ends.open()
    there.members = list(work.members)
    snapshot: Any = importlib.import_module("sluice.cohorts.snapshot")
    snapshot.take_snapshot = there.take_snapshot
    if work.die is not None:
        _arm(*work.die)
    there.turn(ends.sync(work.kind), hour(work.number), work.run)


def _arm(at: str, when: str, call: int) -> None:
    module, _, attribute = at.partition(":")
    *path, name = attribute.split(".")
    owner: Any = importlib.import_module(module)
    for part in path:
        owner = getattr(owner, part)
    setattr(owner, name, _deadly(getattr(owner, name), when, call))


def _deadly(original: Callable[..., Any], when: str, call: int) -> Callable[..., Any]:
    calls = 0

    def deadly(*args: Any, **keys: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **keys)
        if calls == call and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return deadly

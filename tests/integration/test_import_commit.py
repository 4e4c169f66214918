"""Inside a Delta commit: the worker dies, or the answer is lost, around the PUT that makes it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from importing import FAILED, Job, World
from store_proxy import StoreProxy

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def proxy(s3_endpoint: str) -> Iterator[StoreProxy]:
    with StoreProxy(s3_endpoint) as server:
        yield server


@pytest.fixture
def world(proxy: StoreProxy, s3: S3Client, s3_access: Any, bucket: str, tmp_path: Path) -> World:
    """A source of CSV files; the lake is on the store, and everybody reaches it through the proxy."""
    world = World.make(replace(s3_access, endpoint_url=proxy.url), bucket, tmp_path, f"s3://{bucket}/lake")
    world.put(s3, "csv", "csv", events="csv")
    return world


def commit_of(table: str) -> str:
    """Match the PUT of the first commit to a table after its creation."""
    return rf"^PUT /[^?]*/lake/{table}/_delta_log/0*1\.json"


@pytest.mark.parametrize(("when", "table"), [("before", "users"), ("after", "events")])
def test_a_worker_killed_around_the_put(world: World, proxy: StoreProxy, table: str, when: str) -> None:
    proxy.cut(commit_of(table), when, kill=True)
    worker = world.start(Job("csv"))
    proxy.victim(worker.pid or 0)
    worker.join(120)
    assert worker.exitcode == -signal.SIGKILL
    assert proxy.was_cut().endswith("not passed on" if when == "before" else "200")
    committed = (table, when) == ("events", "after")
    assert world.lake.events().version() == int(committed)

    assert world.work(Job("csv")) == [0], world.said(Job("csv"))
    # What the log has is not loaded again, what it has not is.
    assert world.said(Job("csv"))["loaded"]["commits"] == int(not committed)
    world.assert_each_once(["csv"])
    assert world.lake.events().version() == 1


@pytest.mark.parametrize(("when", "table"), [("before", "events"), ("after", "events")])
def test_an_answer_that_is_lost(world: World, proxy: StoreProxy, table: str, when: str) -> None:
    """The connection is reset, with the commit done or not: the task fails, and is tried again."""
    proxy.cut(commit_of(table), when)
    assert world.work(Job("csv")) == [FAILED]
    assert proxy.was_cut().endswith("not passed on" if when == "before" else "200")
    committed = (table, when) == ("events", "after")
    assert world.lake.events().version() == int(committed)
    assert world.work(Job("csv")) == [0], world.said(Job("csv"))
    assert world.said(Job("csv"))["loaded"]["commits"] == int(not committed)
    world.assert_each_once(["csv"])
    assert world.lake.events().version() == 1

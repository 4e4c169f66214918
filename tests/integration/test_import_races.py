"""Workers side by side: on the same files, in one run and in two, and on files with the same events.

They meet where it matters: when both have decided that the rows are new, and neither has committed anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from importing import FAILED, FATES, Job, Point, World, expected_ids

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.integration

DECIDED = Point("sluice.lake.snapshot:Snapshot.append_side_rows")
LISTED = Point("sluice.ledger.files:take_back", "after")
# What a gate checks must be what both of them load.
STAGED = Point("loading:check_and_load")


@pytest.fixture
def world(s3: S3Client, s3_access: Any, bucket: str, tmp_path: Path) -> World:
    world = World.make(s3_access, bucket, tmp_path)
    world.put(s3, "first", "csv", events="same")
    return world


def sum_of(world: World, jobs: list[Job], what: str) -> int:
    return sum(world.said(job).get(what) or 0 for job in jobs)


def test_two_tries_of_one_run_at_once_load_each_row_once(world: World) -> None:
    """Airflow may take a worker for dead that is not: the second try has the same name and the same files."""
    twice = [Job("first", meet=(LISTED, STAGED, DECIDED), notes=name) for name in ("one", "two")]
    ends = world.work(*twice)
    # The one that came second may find the staged rows gone: then it says so, and is tried again.
    assert 0 in ends, [world.said(job) for job in twice]
    assert set(ends) <= {0, FAILED}, [world.said(job) for job in twice]
    assert world.work(Job("first")) == [0]
    assert set(world.insert_ids()) == expected_ids("same")
    assert set(world.insert_ids().values()) == {1}
    assert world.fates("first") == FATES
    world.assert_tables_agree()
    assert world.lake.events().version() == 1
    assert world.staged() == []


def test_without_the_fence_two_tries_of_one_run_double_the_rows(world: World) -> None:
    """The test above proves something only if it fails without the fence."""
    meet = (LISTED, STAGED, DECIDED)
    world.work(*(Job("first", meet=meet, without="fence", notes=n) for n in ("one", "two")))
    assert set(world.insert_ids().values()) == {2}


def test_two_runs_at_once_share_the_files(world: World) -> None:
    runs = [Job("first", f"run-{n}", meet=(LISTED,)) for n in (1, 2)]
    assert world.work(*runs) == [0, 0], [world.said(job) for job in runs]
    # Each file was converted by one of them.
    assert sum_of(world, runs, "staged") == 2
    assert set(world.insert_ids()) == expected_ids("same")
    assert set(world.insert_ids().values()) == {1}
    assert sum(loaded for _, loaded, *_ in world.fates("first")) == 6
    assert [sum(rest) for _, *rest in world.fates("first")] == [6, 6]
    world.assert_tables_agree()
    assert world.staged() == []


def test_without_the_claim_two_runs_convert_in_vain_and_still_load_each_row_once(world: World) -> None:
    """The test above proves something only if it fails without the claim; rows rest on the fence alone."""
    runs = [Job("first", f"run-{n}", meet=(LISTED,), without="claim") for n in (1, 2)]
    ends = world.work(*runs)
    assert ends != [0, 0] or sum_of(world, runs, "staged") > 2, [world.said(job) for job in runs]
    for run in ("run-1", "run-2"):
        assert world.work(Job("first", run)) == [0]
    assert set(world.insert_ids()) == expected_ids("same")
    assert set(world.insert_ids().values()) == {1}


def test_the_same_events_from_two_sources_at_once_are_loaded_once(world: World, s3: S3Client) -> None:
    world.put(s3, "second", "json", events="same")
    both = [Job(source, meet=(DECIDED,)) for source in ("first", "second")]
    assert world.work(*both) == [0, 0], [world.said(job) for job in both]
    assert set(world.insert_ids()) == expected_ids("same")
    assert set(world.insert_ids().values()) == {1}
    # Whoever came later has all its events counted as duplicates.
    later = [(6, 0, 4, 1, 1)] * 2
    assert sorted([world.fates("first"), world.fates("second")]) == sorted([FATES, later])
    world.assert_tables_agree()
    assert len(world.committed("rejects")) == 4


def test_without_the_fence_two_sources_double_the_events(world: World, s3: S3Client) -> None:
    world.put(s3, "second", "json", events="same")
    world.work(*(Job(source, meet=(DECIDED,), without="fence") for source in ("first", "second")))
    assert set(world.insert_ids().values()) == {2}

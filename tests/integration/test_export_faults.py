"""Export and verification through a proxy that throttles, breaks off and answers late, and on a full disk."""

import random
import resource
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import boto3
import pytest
from deltalake import write_deltalake
from exporting import HOUR, PROJECT, Destination, Template
from fault_proxy import FaultProxy

from sluice.access.errors import BucketUnavailable
from sluice.access.storage import S3Store
from sluice.disk import DiskFull
from sluice.exports.bucket import Bucket
from sluice.exports.errors import LakeFileError, LakeSchemaError
from sluice.exports.left_open import abort_left_open
from sluice.exports.ranges import HourRange
from sluice.exports.verify import Verifier
from sluice.lake import close_until, reorder
from sluice.lake.projection import catch_up

pytestmark = pytest.mark.integration

IDS = [f"id-{n}-{random.Random(n).randbytes(200).hex()}" for n in range(60)]


@pytest.fixture
def proxy(s3_endpoint) -> Iterator[FaultProxy]:
    with FaultProxy(s3_endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loaded")
    return Template.make(folder, lambda made: made.add_events(IDS), partition_bytes=40_000)


@pytest.fixture
def destination(loaded, proxy, s3_access, bucket, tmp_path):
    """One whose store is behind the proxy; its own eyes look past it."""
    store = S3Store.of(
        access_key=s3_access.access_key,
        secret_key=s3_access.secret_key,
        endpoint_url=proxy.url,
        region="us-east-1",
    )
    with loaded.copy(store.client(), bucket, tmp_path / "copy") as destination:
        yield destination


@pytest.fixture
def direct(destination, s3):
    """The same destination, reached without the proxy."""
    return Destination(s3, destination.bucket, destination.lake, destination.ledger, destination.config)


def impatient(destination, seconds, attempts=3):
    """Let the client wait less and try less often, as the test has no minutes."""
    client = destination.client
    config = client.meta.config.merge(
        type(client.meta.config)(read_timeout=seconds, retries={"mode": "standard", "max_attempts": attempts})
    )
    credentials = client._request_signer._credentials.get_frozen_credentials()
    destination.client = boto3.client(
        "s3",
        endpoint_url=client.meta.endpoint_url,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        region_name="us-east-1",
        config=config,
    )


def test_throttling_backs_off_and_goes_on(proxy, destination, direct):
    """Each kind of request is throttled the first time that it comes."""
    seen = set()

    def throttle(kind, path, before):
        new = kind not in seen
        seen.add(kind)
        return "slow down" if new else None

    proxy.choose = throttle
    destination.run("run")
    assert set(proxy.faults("slow down")) >= {"list", "list uploads", "create", "part", "head", "complete"}
    direct.assert_consistent()
    assert sorted(direct.all_ids()) == sorted(IDS)


def test_connections_that_break_within_a_part_lose_and_double_nothing(proxy, destination, direct):
    proxy.choose = lambda kind, path, before: "reset" if kind == "part" and before < 1 else None
    destination.run("run")
    assert len(proxy.faults("reset")) >= len(direct.data_keys())
    direct.assert_consistent()
    assert sorted(direct.all_ids()) == sorted(IDS)


def test_an_answer_that_comes_too_late_was_a_success_all_the_same(proxy, destination, direct):
    """The store has completed the upload; the client, which did not hear of it, asks again."""
    impatient(destination, 0.5)
    proxy.late_seconds = 1.5
    proxy.choose = lambda kind, path, before: "late" if kind == "complete" and before == 0 else None
    destination.run("run")
    assert proxy.faults("late")
    direct.assert_consistent()
    assert sorted(direct.all_ids()) == sorted(IDS)


def test_a_store_that_throttles_for_good_is_an_error_to_retry_and_leaves_nothing_visible(
    proxy, destination, direct
):
    impatient(destination, 5, attempts=2)
    proxy.choose = lambda kind, path, before: "slow down" if kind == "part" else None
    with pytest.raises(BucketUnavailable, match="SlowDown"):
        destination.exporter("run").export(HOUR)
    assert direct.object_keys() == []
    assert direct.open_uploads() == []
    proxy.choose = lambda kind, path, before: None
    destination.run("run")
    direct.assert_consistent()


def test_what_a_dead_run_left_open_is_aborted_by_the_next(proxy, destination, direct):
    impatient(destination, 5, attempts=1)
    proxy.choose = lambda kind, path, before: "reset" if kind in ("part", "abort") else None
    with pytest.raises(BucketUnavailable):
        destination.exporter("dead").export(HOUR)
    assert direct.open_uploads()
    direct.expire_claims()
    direct.run("next")
    direct.assert_consistent()


def test_maintenance_aborts_what_was_left_open_by_hours_that_nobody_holds(proxy, destination, direct):
    impatient(destination, 5, attempts=1)
    proxy.choose = lambda kind, path, before: "reset" if kind in ("part", "abort") else None
    with pytest.raises(BucketUnavailable):
        destination.exporter("dead").export(HOUR)
    bucket = Bucket.of(direct.client, direct.config)

    def abort(older_than, **how):
        return abort_left_open(direct.config, direct.ledger, bucket, older_than, **how)

    left = len(direct.open_uploads())
    assert left > 0
    # The dead run's claim has not run out yet.
    assert abort(timedelta(0)) == 0
    direct.expire_claims()
    assert abort(timedelta(hours=24)) == 0
    assert abort(timedelta(0), dry_run=True) == left == len(direct.open_uploads())
    assert abort(timedelta(0)) == left
    assert direct.open_uploads() == []


def test_verification_goes_on_where_a_download_broke(proxy, destination, direct):
    direct.run("run")
    proxy.choose = lambda kind, path, before: "cut" if kind == "read" and before < 2 else None
    verifier = Verifier(
        destination.config,
        lake=destination.lake,
        ledger=destination.ledger,
        bucket=Bucket.of(destination.client, destination.config),
    )
    (report,) = verifier.verify(HourRange(HOUR, HOUR))
    assert len(proxy.faults("cut")) == 2 * len(direct.data_keys())
    assert report.whole
    assert report.bucket_events == len(IDS)


def test_a_full_disk_is_named_and_publishes_nothing(destination, direct, monkeypatch):
    """Two loads that overlap in time are put in order on disk; the process may write only so much."""
    monkeypatch.setattr(reorder, "BUCKET_ROWS", 2_000)
    ids = [random.Random(n).randbytes(400).hex() for n in range(5_000)]
    destination.add_events(ids)
    direct.configure(partition_bytes=1 << 30)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    # More than the ledger takes, less than a part of the hour.
    resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, limit[1]))
    try:
        with pytest.raises(DiskFull, match=r"set TMPDIR to a larger disk"):
            direct.exporter("run").export(HOUR)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert direct.object_keys() == []
    assert direct.open_uploads() == []
    direct.run("run")
    direct.assert_consistent()


def test_a_changed_schema_of_the_lake_names_the_columns(direct):
    close_until(direct.lake, direct.ledger, PROJECT, HOUR + timedelta(hours=1), 0)
    events = direct.lake.events()
    table = events.to_pyarrow_table().drop_columns(["city"])
    write_deltalake(events, table, mode="overwrite", schema_mode="overwrite")
    catch_up(direct.lake, direct.ledger, direct.lake.events())
    with pytest.raises(LakeSchemaError, match="no column city"):
        direct.exporter("run").export(HOUR)


def test_a_data_file_of_the_lake_that_is_gone_is_named(direct):
    for path in direct.lake.events().file_uris():
        Path(path).unlink()
    with pytest.raises(LakeFileError, match=rf"data file of the lake is gone: .*app={PROJECT}"):
        direct.exporter("run").export(HOUR)

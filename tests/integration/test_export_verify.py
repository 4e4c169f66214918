"""Verification finds what was done to a bucket behind the export's back, and what is not its fault."""

import gzip
from datetime import timedelta

import pytest
from exporting import HOUR, PROJECT, Template

from sluice.exports.bucket import Bucket
from sluice.exports.errors import WindowError
from sluice.exports.ranges import HourRange
from sluice.exports.repair import repair_commands
from sluice.exports.verify import Verifier
from sluice.lake import close_until
from sluice.ledger.verifications import last_verification

pytestmark = pytest.mark.integration

STEM = "events/187520/187520_2013-01-02_12"
NEXT = HOUR + timedelta(hours=1)
IDS = [f"id-{n}" for n in range(120)]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loaded")
    return Template.make(folder, lambda made: made.add_events(IDS), partition_bytes=40_000)


@pytest.fixture
def make(loaded, s3, bucket, tmp_path):
    """A destination with events in the hour, not exported yet."""
    with loaded.maker(s3, bucket, tmp_path / "copy") as make:
        yield make


@pytest.fixture(scope="module")
def one_hour(s3, tmp_path_factory):
    def fill(made):
        made.add_events(IDS)
        made.run("run")
        assert len(made.data_keys()) > 3

    return Template.make(tmp_path_factory.mktemp("exported"), fill, s3, partition_bytes=40_000)


@pytest.fixture
def exported(one_hour, s3, bucket, tmp_path):
    """One hour in several files, as it was exported."""
    with one_hour.copy(s3, bucket, tmp_path / "copy") as destination:
        yield destination


def verify(destination, first=HOUR, last=None):
    verifier = Verifier(
        destination.config,
        lake=destination.lake,
        ledger=destination.ledger,
        bucket=Bucket.of(destination.client, destination.config),
    )
    return list(verifier.verify(HourRange(first, last or first)))


def of_one(destination):
    (report,) = verify(destination)
    return report


def counts(report):
    return (report.lake_events, report.bucket_events, report.missing, report.doubled, report.unknown)


def repaired(destination, report):
    """Whether the command that is named, which backfills the hour, makes it whole."""
    (line,) = repair_commands(destination.config, [report])
    assert f'export_backfill --conf \'{{"destination": "{destination.config.id}", "first":' in line
    assert "force" not in line
    destination.run("repair")
    return of_one(destination).whole


def overwrite(destination, key, body):
    destination.client.put_object(Bucket=destination.bucket, Key=key, Body=body)


@pytest.mark.parametrize(
    "settings",
    [{}, {"dialect": "documented", "prefix": ""}, {"marker": False}],
    ids=["observed", "documented", "without markers"],
)
def test_an_hour_as_it_was_exported_is_proved(make, settings):
    destination = make(**settings)
    destination.run("run")
    report = of_one(destination)
    assert report.whole
    assert counts(report) == (120, 120, 0, 0, 0)
    assert report.bytes == destination.record().bytes


def test_only_events_under_the_filter_are_expected(make):
    destination = make(filter={"where": [{"column": "$insert_id", "matches": "^id-1"}]})
    destination.run("run")
    report = of_one(destination)
    assert report.whole
    assert counts(report)[:2] == (31, 31)


def test_each_project_and_hour_is_looked_at_and_the_result_is_kept(make):
    destination = make(projects=(PROJECT, 1))
    destination.add_events(["x", "y"], NEXT)
    destination.add_events(["z"], project=1)
    destination.run("run")
    destination.run("run next", hour=NEXT)
    reports = verify(destination, HOUR, NEXT)
    assert [(r.project, r.hour, r.lake_events, r.whole) for r in reports] == [
        (PROJECT, HOUR, 120, True),
        (PROJECT, NEXT, 2, True),
        (1, HOUR, 1, True),
        (1, NEXT, 0, True),
    ]
    _, kept = last_verification(destination.ledger, destination.config.id)
    assert (kept.hours, kept.differing, kept.lake_events, kept.bucket_events) == (4, 0, 123, 123)


def test_a_deleted_partition(exported):
    key = exported.data_keys()[1]
    lost = len(exported.events(key))
    exported.client.delete_object(Bucket=exported.bucket, Key=key)
    report = of_one(exported)
    assert counts(report) == (120, 120 - lost, lost, 0, 0)
    assert report.findings == (f"partition 1 is missing: {key}",)
    _, kept = last_verification(exported.ledger, exported.config.id)
    assert kept.differing == 1
    assert kept.differing_hours == [
        {"project": PROJECT, "hour": "2013-01-02T12", "findings": list(report.findings)}
    ]
    assert repaired(exported, report)


def test_a_truncated_gzip(exported):
    key = exported.data_keys()[0]
    body = exported.body(key)
    overwrite(exported, key, body[: len(body) // 2])
    report = of_one(exported)
    assert report.unreadable >= 1
    assert report.missing == 120 - report.bucket_events > 0
    assert f"its gzip data end too early: {key}" in report.findings
    assert f"it was overwritten since it was exported: {key}" in report.findings
    assert repaired(exported, report)


def test_an_object_overwritten_by_hand_with_the_same_events(exported):
    key = exported.data_keys()[0]
    text = gzip.decompress(exported.body(key)).replace(b'"event_type":"tested"', b'"event_type":"forged"')
    overwrite(exported, key, gzip.compress(text))
    report = of_one(exported)
    assert counts(report) == (120, 120, 0, 0, 0)
    assert report.findings == (f"it was overwritten since it was exported: {key}",)
    assert repaired(exported, report)


def test_lines_that_are_no_events(exported):
    key = exported.data_keys()[0]
    text = gzip.decompress(exported.body(key))
    overwrite(exported, key, gzip.compress(b"not JSON\n" + text + b'{"uuid":null}\n'))
    report = of_one(exported)
    assert report.unreadable == 2
    assert counts(report) == (120, 120, 0, 0, 0)
    assert f"2 lines are no events: {key}" in report.findings


def test_a_stray_file(exported):
    first = exported.data_keys()[0]
    twice = len(exported.events(first))
    body = exported.body(first) + gzip.compress(b'{"uuid":"nobody\'s"}\n')
    # Padded and in another place, as another program would name it.
    stray = "events/187520_2013-01-02_12#99.json.gz"
    overwrite(exported, stray, body)
    report = of_one(exported)
    assert counts(report) == (120, 121 + twice, 0, twice, 1)
    assert report.findings == (f"a file that the ledger does not know: {stray}",)
    assert repaired(exported, report)


def test_a_missing_marker(exported):
    exported.client.delete_object(Bucket=exported.bucket, Key=f"{STEM}_complete")
    report = of_one(exported)
    assert counts(report) == (120, 120, 0, 0, 0)
    assert report.findings == (f"the marker is missing: {STEM}_complete",)
    assert repaired(exported, report)


def test_a_marker_that_somebody_else_wrote(exported):
    overwrite(exported, f"{STEM}_complete", b"")
    report = of_one(exported)
    assert f"a marker that the ledger does not know: {STEM}_complete" in report.findings
    assert repaired(exported, report)


def test_an_hour_that_the_lake_has_changed_since(exported):
    exported.add_events(["late-1", "late-2"])
    report = of_one(exported)
    # The bucket has what the lake had when it was exported: nothing is missing of that.
    assert counts(report) == (120, 120, 0, 0, 0)
    assert report.findings == ("the lake's hour was changed since it was exported: 120 events then, 122 now",)
    assert repaired(exported, report)
    assert of_one(exported).lake_events == 122


def test_the_newest_events_are_compared_when_a_vacuum_took_the_older_files(exported):
    exported.add_events(["late"])
    exported.lake.events().optimize.compact()
    exported.lake.events().vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    report = of_one(exported)
    assert counts(report) == (121, 120, 1, 0, 0)
    assert any("was changed since" in finding for finding in report.findings)


def test_hours_that_were_never_exported(make):
    destination = make()
    (report,) = verify(destination)
    assert report.findings == ("the hour is not closed yet, so it cannot have been exported",)
    assert not list(repair_commands(destination.config, [report]))
    close_until(destination.lake, destination.ledger, PROJECT, NEXT, 0)
    report = of_one(destination)
    assert report.findings == ("it was not exported",)
    assert counts(report) == (120, 0, 120, 0, 0)
    assert repaired(destination, report)


def test_events_that_lake_and_ledger_lost_together_need_force(exported):
    """The files are the recorded ones, so that a backfill would leave them alone."""
    key = exported.data_keys()[0]
    text = gzip.decompress(exported.body(key))
    lines = text.splitlines(keepends=True)
    overwrite(exported, key, gzip.compress(b"".join(lines[1:])))
    head = exported.client.head_object(Bucket=exported.bucket, Key=key)
    exported.record_file(key, exported.body(key), head["ETag"])
    report = of_one(exported)
    assert counts(report) == (120, 119, 1, 0, 0)
    assert report.as_recorded
    (line,) = repair_commands(exported.config, [report])
    assert "export_backfill" in line
    assert '"force": true' in line


def test_a_future_hour_is_refused(exported):
    with pytest.raises(WindowError, match="is not over"):
        verify(exported, HOUR, exported.ledger.now() + timedelta(hours=1))

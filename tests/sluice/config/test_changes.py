import pytest

from sluice.config import (
    CohortConfig,
    ExportConfig,
    ImportConfig,
    KinesisCohortDestination,
    S3CohortDestination,
    Sync,
    SyncConfig,
)
from sluice.config import changes as module
from sluice.config.changes import changes_of_export, changes_of_import, changes_of_sync

EXPORT = {"id": "a", "name": "A", "owner": "a@b.example", "projects": [10], "bucket": "out-bucket"}
IMPORT = {
    "id": "a",
    "name": "A",
    "owner": "a@b.example",
    "project": 10,
    "bucket": "in-bucket",
    "region": "us-east-1",
    "converter": "c.json",
}

SYNC = {"id": "a", "destination": "d", "cadence": "hourly"}
COHORT = {
    "id": "c",
    "name": "C",
    "owner": "a@b.example",
    "project": 10,
    "sql": "SELECT 1",
    "properties": ["city"],
}
S3 = {
    "id": "d",
    "name": "D",
    "owner": "a@b.example",
    "kind": "s3",
    "projects": [10],
    "bucket": "people-bucket",
}


def sync(of_sync=None, cohort=None, destination=None):
    return Sync(
        SyncConfig.model_validate(SYNC | (of_sync or {})),
        CohortConfig.model_validate(COHORT | (cohort or {})),
        S3CohortDestination.model_validate(S3 | (destination or {})),
    )


def of_export(**keys):
    return changes_of_export(
        ExportConfig.model_validate(EXPORT).as_json(), ExportConfig.model_validate(EXPORT | keys)
    )


def of_import(has_imported, **keys):
    recorded = ImportConfig.model_validate(IMPORT).as_json()
    return changes_of_import(recorded, ImportConfig.model_validate(IMPORT | keys), has_imported=has_imported)


def test_nothing_changed_is_nothing_to_say():
    assert of_export() == []
    assert of_import(True) == []


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"bucket": "new-bucket"}, "only by a backfill"),
        ({"prefix": "x"}, "stays where it is"),
        ({"dialect": "documented"}, "keep their form"),
        ({"projects": [10, 11]}, "its earlier hours by a backfill"),
        ({"name": "B"}, "Nothing that is written or loaded changes"),
        ({"enabled": False}, "backfills are possible"),
    ],
)
def test_each_change_of_an_export_says_what_follows(keys, words):
    changes = of_export(**keys)
    key, new = next(iter(keys.items()))
    change = next(change for change in changes if change.key == key)
    assert change.new == (f"{new}/" if key == "prefix" else new)
    assert words in change.consequence
    assert not any(change.refused for change in changes)


@pytest.mark.parametrize(
    "keys", [{"bucket": "new-bucket"}, {"prefix": "x"}, {"region": "eu-west-1"}, {"connection": "c"}]
)
def test_the_place_of_a_source_is_fixed_by_its_first_import(keys):
    (before,) = of_import(False, **keys)
    (after,) = of_import(True, **keys)
    assert not before.refused
    assert after.refused
    assert "make a new source" in after.consequence


def test_a_new_converter_is_for_files_discovered_once_it_is_tested():
    (change,) = of_import(True, converter="d.json")
    assert (change.old, change.new, change.refused) == ("c.json", "d.json", False)
    assert "discovered once it has passed" in change.consequence


def test_a_key_that_came_with_a_newer_version_is_no_change():
    recorded = ExportConfig.model_validate(EXPORT).as_json()
    del recorded["late_after"]
    assert changes_of_export(recorded, ExportConfig.model_validate(EXPORT)) == []


def test_every_key_but_the_identity_has_its_consequence():
    """A key added later must say what its change does, or be harmless on purpose."""
    harmless = {"id", "name", "description", "owner"}
    assert set(ExportConfig.model_fields) == set(module._OF_EXPORTS) | harmless
    assert set(ImportConfig.model_fields) == set(module._OF_IMPORTS) | harmless | ImportConfig.FIXED


def test_every_key_of_a_sync_has_its_consequence_or_is_harmless_on_purpose():
    models = (
        ("", SyncConfig),
        ("cohort.", CohortConfig),
        ("destination.", S3CohortDestination),
        ("destination.", KinesisCohortDestination),
    )
    keys = {f"{prefix}{key}" for prefix, model in models for key in model.model_fields}
    harmless = {
        *("id", "cohort.description", "cohort.owner", "cohort.kind", "cohort.syncs"),
        *("destination.id", "destination.description", "destination.owner"),
    }
    assert keys == set(module._OF_SYNCS) | harmless


@pytest.mark.parametrize(
    ("parts", "key", "words"),
    [
        ({"of_sync": {"cadence": "daily"}}, "cadence", "goes on with its baseline at the new cadence"),
        ({"of_sync": {"enabled": False}}, "enabled", "backfills are possible"),
        ({"of_sync": {"user_properties": ["city"]}}, "user_properties", "sent again only in the `existing`"),
        ({"of_sync": {"routing_key": "k"}}, "routing_key", "those that were sent stay"),
        ({"cohort": {"id": "other"}}, "cohort.id", "Begins with an empty baseline: all members enter"),
        ({"cohort": {"sql": "SELECT 2"}}, "cohort.sql", "The next sync sends the difference"),
        ({"cohort": {"owner": "c@d.example"}}, "cohort.owner", "Nothing that is sent changes."),
        ({"destination": {"name": "New"}}, "destination.name", "no exits either"),
        (
            {"destination": {"bucket": "new-bucket"}},
            "destination.bucket",
            "The baseline stays, since it hangs",
        ),
        ({"destination": {"match_by": "city"}}, "destination.match_by", "all leave with the old one"),
    ],
)
def test_each_change_of_a_sync_says_what_follows(parts, key, words):
    (change,) = changes_of_sync(sync().as_json(), sync(**parts))
    assert change.key == key
    assert words in change.consequence
    assert not change.refused


def test_a_destination_made_again_under_its_name_keeps_the_baseline():
    """Decisions K-17: what hangs on the name goes on, whatever the id and the file are."""
    changes = changes_of_sync(sync().as_json(), sync({"destination": "again"}, destination={"id": "again"}))
    assert [change.key for change in changes] == ["destination", "destination.id"]
    assert not any("empty baseline" in change.consequence for change in changes)


def test_beside_a_new_name_nothing_is_a_difference_to_the_members_of_before():
    changes = changes_of_sync(
        sync().as_json(),
        sync(cohort={"sql": "SELECT 2"}, destination={"name": "New", "bucket": "new-bucket"}),
    )
    consequences = {change.key: change.consequence for change in changes}
    assert consequences["destination.name"].startswith("Begins with an empty baseline")
    assert (
        consequences["destination.bucket"] == consequences["cohort.sql"] == "Takes effect at the next sync."
    )


def test_a_sync_without_changes_has_nothing_to_say():
    assert changes_of_sync(sync().as_json(), sync()) == []


def test_a_bucket_that_becomes_a_stream_is_another_place():
    stream = {key: value for key, value in S3.items() if key != "bucket"} | {"kind": "kinesis", "stream": "s"}
    made = Sync(
        SyncConfig.model_validate(SYNC),
        CohortConfig.model_validate(COHORT),
        KinesisCohortDestination.model_validate(stream),
    )
    (change,) = changes_of_sync(sync().as_json(), made)
    assert (change.key, change.old, change.new) == ("destination.kind", "s3", "kinesis")
    assert "The baseline stays" in change.consequence

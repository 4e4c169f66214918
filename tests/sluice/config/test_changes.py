import pytest

from sluice.config import ExportConfig, ImportConfig
from sluice.config import changes as module
from sluice.config.changes import changes_of_export, changes_of_import

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

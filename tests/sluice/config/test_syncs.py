"""A sync as the rooms that send it see it: columns and hash."""

from __future__ import annotations

import pytest


def sync(folder, sync=None, destination=None, cohort=None):
    folder.s3(**(destination or {}))
    folder.cohort(sync or {}, **(cohort or {}))
    config = folder.load()
    assert config.problems == ()
    return config.syncs[0]


@pytest.mark.parametrize(
    ("of_destination", "of_sync", "columns"),
    [
        (None, [], ()),
        ("city", [], ("city",)),
        (None, ["visits", "city"], ("visits", "city")),
        ("city", ["visits", "city"], ("city", "visits")),
    ],
)
def test_the_destination_s_property_comes_first_and_doubles_once(folder, of_destination, of_sync, columns):
    made = sync(folder, {"user_properties": of_sync}, {"user_property": of_destination})
    assert made.properties == columns


def test_the_hash_follows_who_is_sent_and_in_which_form_and_nothing_else(folder):
    base = sync(folder).hash
    for of_sync, of_destination, of_cohort in (
        ({"enabled": False}, {"enabled": False}, {"owner": "c@d.example"}),
        ({"max_exit_share": 0.1, "max_entering": 5}, {"description": "d"}, {"description": "d"}),
        ({"approval_hours": 1, "row_log_days": 1}, {"projects": [10, 11]}, {}),
    ):
        assert sync(folder, of_sync, of_destination, of_cohort).hash == base
    different = {
        sync(folder, {"routing_key": "k"}).hash,
        sync(folder, {"user_properties": ["city"]}).hash,
        sync(folder, {}, {"path": "elsewhere"}).hash,
        sync(folder, {}, {"csv_safe": True}).hash,
        sync(folder, {}, {"name": "Other"}).hash,
        sync(folder, {}, {}, {"name": "Other"}).hash,
        sync(folder, {}, {}, {"sql": "SELECT 1"}).hash,
        base,
    }
    assert len(different) == 8


def test_the_record_holds_the_three_parts_without_the_cohort_s_other_syncs(folder):
    record = sync(folder).as_json()
    assert set(record) == {"sync", "cohort", "destination"}
    assert record["sync"]["id"] == "delayed_crm"
    assert record["cohort"]["sql"].startswith("SELECT")
    assert "syncs" not in record["cohort"]
    assert record["destination"]["bucket"] == "people-bucket"

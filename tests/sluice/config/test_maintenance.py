"""The keys below `maintenance:` in lake.yaml: defaults, and mistakes named where they are."""

from datetime import timedelta

LAKE = {"uri": "s3://lake-bucket/lake"}


def test_the_defaults_hold_without_the_keys(folder):
    keys = folder.load().lake.maintenance
    assert keys.target_file_bytes == 128 * 1024 * 1024
    assert keys.retention == timedelta(days=7)


def test_a_retention_shorter_than_a_run_may_take_is_refused_by_its_own_key(folder):
    folder.write("lake.yaml", LAKE | {"maintenance": {"retention_days": 3}})
    assert folder.only_problem() == (
        "lake.yaml, line 3: maintenance.retention_days: wrong value. Found: 3 (a number)."
        " Allowed: days, from 7 to 3650."
    )


def test_an_unknown_key_is_compared_with_the_keys_of_its_place(folder):
    folder.write("lake.yaml", LAKE | {"maintenance": {"retntion_days": 30}})
    assert "did you mean retention_days? Allowed: target_file_mb, retention_days" in folder.only_problem()

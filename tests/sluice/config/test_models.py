"""What the models mean beyond single values: defaults by dialect, places, hashes, records."""

from datetime import UTC, date, datetime

import pytest

from sluice.config import ExportConfig, ImportConfig


def export(**keys):
    base = {"id": "a", "name": "A", "owner": "a@b.example", "projects": [10], "bucket": "out-bucket"}
    return ExportConfig.model_validate(base | keys)


def source(**keys):
    base = {"id": "a", "name": "A", "owner": "a@b.example", "project": 10, "bucket": "in-bucket"}
    return ImportConfig.model_validate(base | {"region": "us-east-1", "converter": "c.json"} | keys)


@pytest.mark.parametrize(
    ("keys", "first", "folder"),
    [
        ({}, 0, "10/"),
        ({"dialect": "documented"}, 1, ""),
        ({"dialect": "documented", "first_partition": 0, "flat_layout": False}, 0, "10/"),
        ({"prefix": "a/b"}, 0, "a/b/10/"),
        ({"prefix": "/a/b//".rstrip("/"), "flat_layout": True}, 0, "a/b/"),
    ],
)
def test_the_dialect_gives_the_form_unless_the_file_does(keys, first, folder):
    made = export(**keys)
    assert (made.first_partition, made.folder(10)) == (first, folder)


@pytest.mark.parametrize(
    ("start", "hour"),
    [
        (None, datetime(2026, 3, 4, tzinfo=UTC)),
        (date(2013, 1, 1), datetime(2013, 1, 1, tzinfo=UTC)),
        (datetime(2013, 1, 1, 5), datetime(2013, 1, 1, 5, tzinfo=UTC)),
        ("2013-01-01T05:00:00+02:00", datetime(2013, 1, 1, 3, tzinfo=UTC)),
    ],
)
def test_an_export_begins_at_its_start_or_at_midnight_of_the_first_day(start, hour):
    assert export(start=start).first_hour(datetime(2026, 3, 4, 17, 5, tzinfo=UTC)) == hour


def test_the_hash_follows_what_is_written_and_nothing_else():
    base = export()
    for same in (
        {"name": "B"},
        {"description": "d"},
        {"owner": "c@d.example"},
        {"enabled": False},
        {"close_wait": 1},
        {"first_partition": 0},
    ):
        assert export(**same).hash == base.hash, same
    different = [
        {"bucket": "other"},
        {"prefix": "x"},
        {"projects": [11]},
        {"dialect": "documented"},
        {"marker": False},
        {"partition_bytes": 2048},
        {"compression_level": 2},
    ]
    assert len({export(**keys).hash for keys in different} | {base.hash}) == len(different) + 1
    assert source(scan_every=5).hash == source().hash != source(upload_time="event_time").hash


def test_a_record_in_the_ledger_is_read_back_as_the_same_model():
    made = export(start="2013-01-01", prefix="x")
    assert ExportConfig.model_validate(made.as_json()) == made
    kept = source(not_before=date(2010, 1, 1))
    assert ImportConfig.model_validate(kept.as_json()) == kept


def test_a_model_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        export().bucket = "other"


@pytest.mark.parametrize(
    "key",
    [
        "alias/exports",
        "1234abcd-12ab-34cd-56ef-1234567890ab",
        "arn:aws:kms:eu-central-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
        "arn:aws-cn:kms:cn-north-1:111122223333:alias/exports",
    ],
)
def test_a_kms_key_may_be_named_in_every_way(key):
    made = export(encryption="sse-kms", kms_key=key)
    assert made.kms_key == key


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encryption": "sse-kms"}, "missing: encryption is sse-kms"),
        ({"kms_key": "alias/x"}, "a key without a use: encryption is none"),
        ({"encryption": "sse-s3", "kms_key": "alias/x"}, "a key without a use: encryption is sse-s3"),
        ({"encryption": "sse-kms", "kms_key": "my key"}, "not a KMS key"),
        ({"encryption": "aws:kms"}, "'none', 'sse-s3' or 'sse-kms'"),
    ],
)
def test_encryption_and_key_belong_together(settings, message):
    with pytest.raises(ValueError, match=message):
        export(**settings)

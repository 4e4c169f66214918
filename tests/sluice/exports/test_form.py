"""What makes an hour's objects other objects, and what does not."""

import pytest
from exporting import config_of

from sluice.exports.form import config_hash, filter_hash


@pytest.mark.parametrize(
    "change",
    [
        {"bucket": "another-bucket"},
        {"prefix": "other"},
        {"dialect": "documented"},
        {"first_partition": 1},
        {"flat_layout": True},
        {"marker": False},
        {"partition_bytes": 2048},
        {"compression_level": 2},
        {"encryption": "sse-s3"},
        {"encryption": "sse-kms", "kms_key": "alias/exports"},
    ],
)
def test_settings_that_shape_the_objects_change_the_hash(change):
    assert config_hash(config_of("bucket")) != config_hash(config_of(**{"bucket": "bucket"} | change))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Other"},
        {"owner": "other@example.com"},
        {"projects": (187520, 5)},
        {"connection": "other"},
        {"enabled": False},
        {"catch_up_hours": 3},
    ],
)
def test_settings_that_do_not_leave_an_hour_unchanged(change):
    assert config_hash(config_of("bucket")) == config_hash(config_of(**{"bucket": "bucket"} | change))


def test_no_filter_has_a_hash_too():
    everything, some = (
        filter_hash(config_of("bucket", filter=chosen))
        for chosen in (None, {"event_types": {"include": ["a"]}})
    )
    assert len(everything) == 64
    assert everything != some

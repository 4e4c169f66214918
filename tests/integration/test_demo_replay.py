"""The demo's replay of an export, and that its proof sees what is wrong with one."""

from __future__ import annotations

import gzip
from datetime import timedelta

import pytest
from exporting import HOUR, PROJECT, Destination

from sluice.demo.again import replay_and_export
from sluice.demo.proof import ExportedHour, prove_again

pytestmark = pytest.mark.integration

NEXT = HOUR + timedelta(hours=1)


def test_the_replayed_export_is_the_same_and_any_difference_is_seen(s3, s3_store, bucket, tmp_path):
    destination = Destination.make(s3, bucket, tmp_path, prefix="")
    destination.add_events(["a", "b", "c"])
    for hour in (HOUR, NEXT):
        destination.run(f"{hour:%H}", hour=hour)
    again = f"{bucket}-again"
    s3.create_bucket(Bucket=again)
    try:
        loaded = replay_and_export(s3_store, destination.config, PROJECT, again, [HOUR, NEXT])
        assert loaded == 3

        def compared() -> list[ExportedHour]:
            hours = [ExportedHour(HOUR), ExportedHour(NEXT)]
            prove_again(s3, bucket, again, PROJECT, hours)
            return hours

        assert [(hour.again, hour.problems) for hour in compared()] == [(3, []), (0, [])]
        [key] = destination.data_keys()
        lines = gzip.decompress(s3.get_object(Bucket=again, Key=key)["Body"].read())
        s3.put_object(Bucket=again, Key=key, Body=gzip.compress(lines.replace(b'"b"', b'"x"', 1)))
        assert compared()[0].problems == [f"has other lines in {key} after its replay"]
        s3.delete_object(Bucket=again, Key=key)
        assert compared()[0].problems == [f"has {key} only before or only after its replay"]
    finally:
        for item in s3.list_objects_v2(Bucket=again).get("Contents", []):
            s3.delete_object(Bucket=again, Key=item["Key"])
        s3.delete_bucket(Bucket=again)

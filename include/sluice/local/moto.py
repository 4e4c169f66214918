"""Stand-in for the AWS services other than S3 (SQS, Kinesis, STS, IAM, KMS, SES, …): the moto server."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from sluice.local.ports import HOST, free_port
from sluice.local.process import Service
from sluice.local.programs import require_module


class Moto(Service):
    """One moto server; it keeps everything in memory and knows no wrong key."""

    name = "moto"
    grace_seconds = 3.0

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.port = 0

    @property
    def endpoint(self) -> str:
        """The URL at which every emulated service answers."""
        return f"http://{HOST}:{self.port}"

    def prepare(self) -> None:
        """Check the wheel and choose the port."""
        require_module("moto.server", "moto[server]")
        self.port = free_port()

    def command(self) -> Sequence[str]:
        """Run the server with this Python."""
        return (sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(self.port))

    def probe(self) -> None:
        """Ask for its own state page."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"{self.endpoint}/moto-api/data.json", timeout=5) as answer:
            answer.read()

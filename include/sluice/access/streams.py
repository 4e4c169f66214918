"""One Kinesis data stream with the credentials and the endpoint that reach it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config


@dataclass(frozen=True)
class KinesisStream:
    """A data stream by its name and region; `endpoint_url` is None for AWS itself."""

    name: str
    region: str
    session: boto3.Session = field(repr=False)
    endpoint_url: str | None = None

    def client(self, timeout_seconds: float = 10.0) -> Any:
        """Return a boto3 client that tries each request once and gives it up after `timeout_seconds`."""
        config = Config(
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=timeout_seconds / 3,
            read_timeout=timeout_seconds * 2 / 3,
        )
        return self.session.client(
            "kinesis", endpoint_url=self.endpoint_url, region_name=self.region, config=config
        )
